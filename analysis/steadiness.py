"""Trainings whose loss jumped: they ended, and say nothing of it in their accuracy but that it is what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.loading import TRAINED, Paths, _records
from analysis.rows import read_row
from petl_study.store import Record

FACTOR = 2.0  # times the lowest loss before
LEAST = 0.1  # nats above it: of a loss near zero, twice is still nothing
UNSTEADY = [
    *("kind", "task", "method", "seed", "hyperparameters", "lr", "weight_decay"),
    *("epoch", "lowest_before", "loss", "last_loss", "epochs", "status", "key", "study"),
]


def load_unsteady(path: Paths, *, factor: float = FACTOR, least: float = LEAST) -> pd.DataFrame:
    """A row for every trial and run, failed ones included, whose training loss jumped from one epoch to a later one.

    Parameters
    ----------
    factor, least : float
        A jump is to more than `factor` times the lowest loss before it, and to `least` nats above that.

    Returns
    -------
    DataFrame
        What it was, and of its largest jump `epoch` (from 1), `lowest_before` and `loss` (nats; NaN where the record
        has none, as of a loss that was no number), with `last_loss`, of the last of its `epochs`.
    """
    found = [
        row
        for kind in TRAINED
        for record in _records(path, kind)
        if (row := read_row(record, lambda record: _row(record, factor, least)))
    ]
    order = ["task", "method", "seed"]
    return pd.DataFrame(found, columns=UNSTEADY).sort_values(order, kind="stable", ignore_index=True)


def jump(losses: Sequence[float | None], factor: float = FACTOR, least: float = LEAST) -> int | None:
    """Where in `losses` the largest jump above what was lowest before leads to; None where there is none.

    >>> jump([2.0, 1.0, 0.5, 3.0, 0.6]), jump([2.0, 1.0, 0.5, 0.6, 0.4]), jump([2.0, None])
    (3, None, 1)
    """
    lowest, largest, found = float("inf"), 0.0, None
    for epoch, loss in enumerate(losses):
        if loss is None:
            return epoch
        if loss > factor * lowest and loss - lowest > max(least, largest):
            largest, found = loss - lowest, epoch
        lowest = min(lowest, loss)
    return found


def _row(record: Record, factor: float, least: float) -> dict[str, Any] | None:
    curve = record.header.get("curve") or []
    losses = [row.get("train_loss") for row in curve]
    if (at := jump(losses, factor, least)) is None:
        return None
    spec = record.spec
    return {
        "kind": record.header["kind"],
        "task": spec["task"],
        "method": spec["method"],
        "seed": spec["seeds"]["init"],
        "hyperparameters": spec["hyperparameters"],
        "lr": spec["lr"],
        "weight_decay": spec["weight_decay"],
        "epoch": at + 1,
        "lowest_before": min((loss for loss in losses[:at] if loss is not None), default=None),
        "loss": losses[at],
        "last_loss": losses[-1],
        "epochs": len(losses),
        "status": record.header["status"],
        "key": record.key,
        "study": record.header["study"]["name"],
    }
