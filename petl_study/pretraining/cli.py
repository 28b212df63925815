"""``petl-study pretrain``: its arguments, and what it does with them."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from petl_study.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/pretrain"), help="folder of checkpoint, weights and card"
    )
    parser.add_argument("--steps", type=int, default=10_000, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=256, help="images a step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of initialisation and images (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--examine",
        choices=("val", "test"),
        default="test",
        help="split of `digits` for the card's figures; val while you change the source (default: %(default)s)",
    )
    parser.add_argument("--install", action="store_true", help="put the result in place of the shipped weights")


def run(args: argparse.Namespace) -> int:
    """Train, or go on where a former call with the same arguments stopped; 0 when done."""
    for name in ("steps", "batch", "threads"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: give a whole number of 1 or more")
    import torch

    from petl_study.pretraining.train import Recipe, install, pretrain

    torch.set_num_threads(args.threads)
    recipe = Recipe(steps=args.steps, batch=args.batch, seed=args.seed)
    command = shlex.join(
        ["petl-study", "pretrain"]
        + [word for name in ("steps", "batch", "seed", "threads") for word in (f"--{name}", str(getattr(args, name)))]
    )
    pretrain(args.out, recipe, command=command, examine=args.examine, report=_say)
    if args.install:
        for path in install(args.out):
            _say(f"installed {path}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
