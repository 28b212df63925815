"""``petl-study bench analysis``: the tables over R runs' logits, mapped from a file, beside scikit-learn's way."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

import analysis
from petl_study.bench import machine
from petl_study.bench.measured import Measured, measured
from petl_study.console import console
from petl_study.errors import InputError

DRAWS, STEPS, TOP = 1000, 10, 0.1  # of the bootstrap, of greedy selection, and the share that counts as confident
TOGETHER = "all of these"  # what the pairwise tables and the bootstrap take, from opening the file on


@dataclass(frozen=True)
class Size:
    runs: int
    examples: int
    classes: int

    @property
    def bytes(self) -> int:
        """Of the logits in float16."""
        return 2 * self.runs * self.examples * self.classes

    def __str__(self) -> str:
        return f"{self.runs} runs x {self.examples:,} examples x {self.classes:,} classes"


SCALES = {"small": Size(20, 2_000, 100), "imagenet": Size(20, 50_000, 1_000)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scales = "; ".join(f"{name}: {size}" for name, size in SCALES.items())
    parser.add_argument("--scale", choices=SCALES, default="small", help=f"{scales} (default: %(default)s)")
    for name in ("runs", "examples", "classes"):
        parser.add_argument(f"--{name}", type=int, help=f"other than the scale's number of {name}")
    parser.add_argument("--directory", type=Path, help="where the logits go for the time being (default: /tmp)")
    parser.add_argument("--out", type=Path, help="write the measurements to this file as JSON")


def run(options: argparse.Namespace) -> int:
    chosen = {name: getattr(options, name) for name in ("runs", "examples", "classes")}
    size = Size(**{**asdict(SCALES[options.scale]), **{name: n for name, n in chosen.items() if n is not None}})
    _require(size)
    result = measure(size, options.directory)
    show(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def measure(size: Size, directory: Path | None = None) -> dict[str, Any]:
    """Seconds and peak memory of every step, ours and the plain way's, on logits drawn for the purpose.

    Parameters
    ----------
    directory : Path, optional
        Where the file of logits lies while it is needed.
    """
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-", dir=directory) as place:
        free = shutil.disk_usage(place).free
        if free < 1.1 * size.bytes:
            raise InputError(
                f"{place} has {free / 1e9:.1f} GB free and the logits take {size.bytes / 1e9:.1f}."
                " Give --directory, or a smaller --scale."
            )
        labels = _draw(Path(place) / "logits.npy", size)
        steps, tables = _ours(Path(place) / "logits.npy", labels, size)
        naive, difference = _naive(Path(place) / "logits.npy", labels, size, tables["disagreement"])
    return {
        "size": {**asdict(size), "bytes": size.bytes},
        "steps": [asdict(step) for step in steps],
        "naive": naive,
        "largest_difference_of_kappa": difference,
        "environment": {
            **machine.computer(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "versions": {name: version(name) for name in ("petl_study", "numpy", "pandas", "scipy", "scikit-learn")},
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    size = result["size"]
    out = console()
    shown = Size(size["runs"], size["examples"], size["classes"])
    out.print(f"{shown}: {size['bytes'] / 1e9:.2f} GB of float16 in a file", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(("step", "seconds", "peak memory (GB)", "plain way (seconds)")):
        table.add_column(column, justify="right" if i else "left")
    plain = {row["name"]: f"{'~' if row['share'] < 1 else ''}{row['seconds']:,.2f}" for row in result["naive"]}
    for step in result["steps"]:
        figures = f"{step['seconds']:,.2f}", f"{step['peak_bytes'] / 1e9:.2f}", plain.get(step["name"], "")
        table.add_row(step["name"], *figures, style="bold" if step["name"] == TOGETHER else "")
    out.print(table)
    for row in result["naive"]:
        measured_on = "measured whole" if row["share"] == 1 else f"~ from {row['share']:.2%} of the work"
        out.print(f"plain way, {row['name']}: {row['way']}; {measured_on}", highlight=False, soft_wrap=True)
    out.print(f"largest difference of a kappa from scikit-learn's: {result['largest_difference_of_kappa']:.1e}")
    out.print("peak memory: resident in this process, the mapped file's pages included", highlight=False)


# -------------------------------------------------------------------------------------------------------------- parts


def _require(size: Size) -> None:
    for name, least in (("runs", 2), ("examples", 10), ("classes", 2)):
        if getattr(size, name) < least:
            raise InputError(f"--{name} must be a whole number of at least {least}, got {getattr(size, name)}.")


def _draw(path: Path, size: Size) -> NDArray[np.int64]:
    """Write the logits (R, N, C) of runs that agree in part, and return the labels (N,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(size.classes, size=size.examples)
    shape = size.runs, size.examples, size.classes
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        )
        for own in range(1, size.runs + 1):
            shared = np.random.default_rng(0)  # the same for every run: what makes an example hard
            chance = np.random.default_rng(own)
            for start in range(0, size.examples, 1000):
                labelled = labels[start : start + 1000]
                logits = shared.standard_normal((len(labelled), size.classes), np.float32)
                logits += chance.standard_normal(logits.shape, np.float32)
                logits[np.arange(len(labelled)), labelled] += 4.0
                logits.astype(np.float16).tofile(file)
    return labels


def _ours(path: Path, labels: NDArray[np.int64], size: Size) -> tuple[list[Measured], dict[str, pd.DataFrame]]:
    runs = pd.DataFrame({"method": [f"method_{i}" for i in range(size.runs)], "seed": 0})
    rng = np.random.default_rng(0)
    with measured("open and check") as opened:
        preds = analysis.Predictions(labels, np.load(path, mmap_mode="r"), runs)
    work: dict[str, Callable[[], pd.DataFrame]] = {
        "disagreement": partial(analysis.disagreement, preds),
        "confidence overlap": partial(analysis.confidence_overlap, preds, TOP),
        "bootstrap of accuracies": partial(analysis.accuracy_intervals, preds, rng=rng, draws=DRAWS),
        "greedy selection": partial(analysis.greedy_selection, preds, steps=STEPS),
    }
    steps, tables = [opened], {}
    for name, table in work.items():
        with measured(name) as step:
            tables[name] = table()
        steps.append(step)
    first = steps[:-1]
    together = Measured(TOGETHER, sum(step.seconds for step in first), max(step.peak_bytes for step in first))
    return [*first, together, steps[-1]], tables


def _naive(path: Path, labels: NDArray[np.int64], size: Size, ours: pd.DataFrame) -> tuple[list[dict[str, Any]], float]:
    """The same by scikit-learn and SciPy on whole arrays; where that takes long, on a part, scaled up and said so."""
    from scipy.special import softmax
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    logits = np.load(path, mmap_mode="r")
    with measured("argmax") as one_argmax:
        first = logits[0].argmax(axis=1)
    predicted = np.stack([first, *(logits[run].astype(np.float32).argmax(axis=1) for run in range(1, size.runs))])
    pairs = list(zip(ours["run_a"], ours["run_b"], strict=True))
    some = pairs[: max(1, min(len(pairs), 2_000_000 // size.examples))]
    with measured("disagreement") as kappas:
        theirs = [
            (cohen_kappa_score(predicted[a], predicted[b]), np.mean(predicted[a] != predicted[b])) for a, b in some
        ]
    difference = float(np.abs(np.array(theirs)[:, 0] - ours["kappa"].to_numpy()[: len(some)]).max())
    part = min(size.examples, max(10, 10_000_000 // size.classes))
    with measured("confidence overlap") as confidence:
        softmax(logits[0, :part].astype(np.float64), axis=1).max(axis=1)
    draws = min(DRAWS, 20)
    rng = np.random.default_rng(0)
    with measured("bootstrap of accuracies") as bootstrap:
        for _ in range(draws):
            picks = rng.integers(size.examples, size=size.examples)
            for said in predicted:
                accuracy_score(labels[picks], said[picks])

    def row(work: Measured, share: float, way: str, more: float = 0.0) -> dict[str, Any]:
        return {"name": work.name, "seconds": work.seconds / share + more, "share": share, "way": way}

    argmax = one_argmax.seconds * size.runs
    share = part / (size.runs * size.examples)
    kappa_way = "argmax of float16 (one run measured) and cohen_kappa_score pair by pair"
    return [
        row(kappas, len(some) / len(pairs), kappa_way, argmax),
        row(confidence, share, f"scipy softmax in float64, which at once would need {4 * size.bytes / 1e9:.1f} GB"),
        row(bootstrap, draws / DRAWS, "accuracy_score of every run in every resample"),
    ], difference
