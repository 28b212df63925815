"""Effective robustness: accuracy under shift beyond what accuracy without it leads one to expect.

On many shifts, models fall on a line when both accuracies are drawn on a logit scale (Taori et al., arXiv 2007.00644;
Miller et al., arXiv 2107.04649). A method that is merely more accurate moves along that line; one that is more robust
rises above it:

    logit(expected) = slope logit(accuracy) + intercept        fitted over reference models, by least squares
    effective robustness = shift accuracy - expected           as fractions

A line expects something only where the reference models determine it, and where more accuracy goes with more accuracy
under shift. Through two models goes a line whatever they are; through models that are equally accurate goes any; and
above a falling line the *less* accurate model is expected to be the more robust.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from analysis.intervals import require_level
from analysis.one_seed import over_seeds_or_examples
from analysis.shift import shifted
from petl_study.errors import InputError, unknown

_LEAST_METHODS = 3  # that determine a line and can contradict it
_LEAST_SPREAD = 0.1  # of their test accuracies, on the logit scale


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
        `line_methods` (how many points and methods it is fitted to), `line_doubt`; `level`, `interval`: ``t over
        seeds``, for one seed ``conservative over examples`` (see `analysis.one_seed`) or ``none``, the line taken as it
        is. An accuracy of 0 or 1, whose logit is infinite, counts as half an example right or wrong.

        `line_doubt` says why nothing on this task means anything, and is empty where there is no such reason: ``fewer
        than 3 methods``; ``accuracies too alike`` (the methods' mean test accuracies lie within 0.1 on the logit scale:
        2.5 percentage points at 50 %, 0.9 at 90 %); ``falling line`` (a slope of 0 or less).

    Raises
    ------
    InputError
        No such method; fewer than two reference models of different accuracy.
    """
    require_level(level)
    points = shifted(accuracies, level=level)
    for name in line or ():
        if name not in set(points["method"]):
            raise unknown("method", name, set(points["method"]), where="line")
    points = points.assign(in_line=points["method"].isin(list(line)) if line is not None else True)
    table = []
    for task, of_task in points.groupby("task", sort=True):
        x, y = (_logit(of_task[name], accuracies, str(task)) for name in ("accuracy", "shift_accuracy"))
        on_line = of_task["in_line"].to_numpy()
        slope, intercept = _fit(x[on_line], y[on_line], str(task))
        spread = pd.Series(x[on_line]).groupby(of_task.loc[on_line, "method"].to_numpy()).mean()
        fitted: dict[str, Any] = {"slope": slope, "intercept": intercept, "line_points": int(on_line.sum())}
        fitted |= {"line_methods": len(spread), "line_doubt": _doubt(spread, slope)}
        expected, *ends = (expit(slope * at + intercept) for at in (x, *_ends(of_task)))
        measured = of_task.assign(
            expected=expected,
            effective_robustness=of_task["shift_accuracy"].to_numpy() - expected,
            effective_robustness_low=of_task["shift_accuracy_low"].to_numpy() - np.maximum(*ends),
            effective_robustness_high=of_task["shift_accuracy_high"].to_numpy() - np.minimum(*ends),
            residual=y - slope * x - intercept,
        )
        for method, some in measured.groupby("method", sort=True):
            row: dict[str, Any] = {"task": task, "method": method, "seeds": len(some)}
            row |= {name: some[name].mean() for name in ("accuracy", "shift_accuracy", "expected")}
            own = over_seeds_or_examples(some, {"effective_robustness": ""}, level=level, bounds=(-1.0, 1.0))
            row |= {name: own.pop(name) for name in ("effective_robustness", "low", "high")}
            row |= {"residual": some["residual"].mean(), "in_line": bool(some["in_line"].iloc[0])}
            table.append({**row, **fitted, **own})
    return pd.DataFrame(table)


def _doubt(spread: pd.Series, slope: float) -> str:
    """Why the line is none to go by: `spread` is the mean test accuracy, as a logit, of every reference model."""
    if len(spread) < _LEAST_METHODS:
        return f"fewer than {_LEAST_METHODS} methods"
    if spread.max() - spread.min() < _LEAST_SPREAD:
        return "accuracies too alike"
    return "falling line" if slope <= 0 else ""


def _ends(points: pd.DataFrame) -> Iterator[NDArray[np.float64]]:
    """Both ends of the test accuracies' intervals, as logits; where one is 0 or 1, far out."""
    for end in ("low", "high"):
        yield logit(points[f"accuracy_{end}"].to_numpy(dtype=np.float64).clip(1e-12, 1 - 1e-12))


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
        of_task = accuracies[accuracies["task"] == task]
        if "examples" not in of_task or of_task["examples"].isna().all():
            raise InputError(f"task {task!r} has accuracies of 0 or 1, and no column 'examples' to say of how many")
        half = 0.5 / float(of_task["examples"].min())
        fractions = fractions.clip(half, 1 - half)
    return np.asarray(logit(fractions))
