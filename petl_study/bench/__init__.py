"""``petl-study bench``: how long it takes and how much memory, beside the plain way of doing the same."""

from __future__ import annotations

import argparse
import importlib

# Each module defines its own options and is imported only when it is asked for: what is loaded counts as memory.
_PARTS = {
    "analysis": (
        "petl_study.bench.analysis",
        "the tables of disagreement, confidence and ensembles, on drawn logits in a file",
    ),
    "engines": (
        "petl_study.bench.engines",
        "what a trial costs beside its training, on every engine: whole studies whose trials train nothing",
    ),
    "halving": (
        "petl_study.bench.halving",
        "what stopping trials early saves, and loses in accuracy, against a finished grid",
    ),
    "merged": (
        "petl_study.bench.merged",
        "prediction with a method beside the model and folded into it, against the plain model",
    ),
    "train": (
        "petl_study.bench.train",
        "a step of training: images/s, time outside matrix products, memory against the least that it takes",
    ),
    "predict": ("petl_study.bench.predict", "prediction: images/s, time outside matrix products, memory"),
    "search": (
        "petl_study.bench.search",
        "a search: what a trial spends its time on, linear probing's grid against the whole way, an epoch",
    ),
    "store": ("petl_study.bench.store", "writing, reading and listing small records"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = "; ".join(f"{name}: {summary}" for name, (_, summary) in _PARTS.items())
    parser.add_argument("what", choices=_PARTS, metavar="WHAT", help=what)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of its own: petl-study bench WHAT --help")


def run(options: argparse.Namespace) -> int:
    module, summary = _PARTS[options.what]
    part = importlib.import_module(module)
    parser = argparse.ArgumentParser(prog=f"petl-study bench {options.what}", description=f"Measure {summary}.")
    part.add_arguments(parser)
    code: int = part.run(parser.parse_args(options.options))
    return code
