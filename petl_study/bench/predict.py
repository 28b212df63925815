"""``petl-study bench predict``: prediction of a batch beside its own matrix products."""

from __future__ import annotations

import argparse

from petl_study.bench import steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps.add_arguments(parser, steps.PREDICT)


def run(options: argparse.Namespace) -> int:
    return steps.run(options, steps.PREDICT)
