"""Effective robustness: accuracy under shift beyond what accuracy without it leads one to expect.

On many shifts, models fall on a line when both accuracies are drawn on a logit scale (Taori et al., arXiv 2007.00644;
Miller et al., arXiv 2107.04649). A method that is merely more accurate moves along that line; one that is more robust
rises above it:

    logit(expected) = slope logit(accuracy) + intercept        fitted over reference models, by least squares
    effective robustness = shift accuracy - expected           as fractions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from analysis.intervals import require_level
from analysis.over_seeds import kind_of_interval, over_seeds
from analysis.shift import shifted
from petl_study.errors import InputError, unknown


def effective_robustness(
    accuracies: pd.DataFrame, *, line: Sequence[str] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """How far every method is above the line of the reference models.

    Parameters
    ----------
    accuracies : DataFrame
        From `load_accuracies`, or by hand: `task`, `method`, `seed`, `set`, `accuracy`, `examples`. The shift
        accuracy is the mean over the task's shift sets; for one shift give its rows and those of ``test`` alone.
    line : sequence of str, optional
        Methods whose runs (a point a seed) the line is fitted over. By default all: then some are above it because
        others are below, and the values are of this company only.

    Returns
    -------
    DataFrame
        A row for each `task` and `method`: `seeds`, `accuracy`, `shift_accuracy`, `expected`, `effective_robustness`,
        `low`, `high`, `residual` (the same on the logit scale), `in_line`, `slope`, `intercept`, `line_points`,
        `level`, `interval`: over seeds, the line taken as it is. An accuracy of 0 or 1, whose logit is infinite, counts
        as half an example right or wrong.

    Raises
    ------
    InputError
        No such method; fewer than two reference models of different accuracy.
    """
    require_level(level)
    points = shifted(accuracies)
    for name in line or ():
        if name not in set(points["method"]):
            raise unknown("method", name, set(points["method"]), where="line")
    points = points.assign(in_line=points["method"].isin(list(line)) if line is not None else True)
    table = []
    for task, of_task in points.groupby("task", sort=True):
        x, y = (_logit(of_task[name], accuracies, str(task)) for name in ("accuracy", "shift_accuracy"))
        on_line = of_task["in_line"].to_numpy()
        slope, intercept = _fit(x[on_line], y[on_line], str(task))
        expected = expit(slope * x + intercept)
        measured = of_task.assign(
            expected=expected,
            effective=of_task["shift_accuracy"].to_numpy() - expected,
            residual=y - slope * x - intercept,
        )
        for method, some in measured.groupby("method", sort=True):
            row: dict[str, Any] = {"task": task, "method": method, "seeds": len(some)}
            row |= {name: some[name].mean() for name in ("accuracy", "shift_accuracy", "expected")}
            row |= over_seeds(some["effective"], "effective_robustness", level=level, bounds=(-1.0, 1.0))
            row |= {"residual": some["residual"].mean(), "in_line": bool(some["in_line"].iloc[0])}
            fitted = {"slope": slope, "intercept": intercept, "line_points": int(on_line.sum())}
            table.append({**row, **fitted, "level": level, "interval": kind_of_interval(len(some))})
    return pd.DataFrame(table)


def _fit(x: np.ndarray, y: np.ndarray, task: str) -> tuple[float, float]:
    if len(np.unique(x.round(9))) < 2:
        raise InputError(
            f"task {task!r}: a line needs at least two reference models of different test accuracy; got {len(x)} points"
            f" with {len(np.unique(x.round(9)))}. Name more methods in `line`."
        )
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def _logit(values: pd.Series, accuracies: pd.DataFrame, task: str) -> np.ndarray:
    """Log odds; at 0 and 1 those of half an example."""
    fractions = values.to_numpy(dtype=np.float64)
    if ((fractions <= 0) | (fractions >= 1)).any():
        if "examples" not in accuracies:
            raise InputError(f"task {task!r} has accuracies of 0 or 1, and no column 'examples' to say of how many")
        half = 0.5 / float(accuracies.loc[accuracies["task"] == task, "examples"].min())
        fractions = fractions.clip(half, 1 - half)
    return np.asarray(logit(fractions))
