"""``petl-study bench train``: a step of training beside its own matrix products, and the least memory that it takes."""

from __future__ import annotations

import argparse

from petl_study.bench import steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps.add_arguments(parser, steps.TRAIN)


def run(options: argparse.Namespace) -> int:
    return steps.run(options, steps.TRAIN)
