"""More examples and larger modules: accuracy against both, and where full fine-tuning overtakes.

A *series* is one method (of one size) over training sets of one data set, or one method over its sizes on one training
set. Overtaking is where the accuracy of a series and that of the baseline cross, by straight lines on a logarithmic
scale between what was measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import seed_columns
from analysis.comparable import require_columns, require_comparable, require_known, require_some
from analysis.intervals import require_draws, require_level, summarise
from analysis.resampling import redrawn
from petl_study.errors import InputError, unknown

BY = ("train_examples", "tuned_parameters", "size")


def accuracy_by_size(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Test accuracy of every method at every size on every training set.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`, with a column `size` where a method was run at several; or ``load_published("manyshot")``. A
        `task` is one training set; those of one `dataset` differ in nothing but their number of `train_examples` (by
        default every task is a data set of its own).

    Returns
    -------
    DataFrame
        `dataset`, (`group`,) `task`, `train_examples`, `method`, `size` (NaN: it has none), `tuned_parameters` (NaN:
        not known), `seeds`, `examples`, `accuracy`, `low`, `high`, `level`, `interval` (see
        `analysis.intervals.summarise`).
    """
    require_level(level)
    runs = _described(runs)
    keys = ["dataset", *(["group"] if "group" in runs else []), "task", "train_examples", "method", "size"]
    tuned = runs.groupby(keys, dropna=False)["tuned_parameters"].mean().reset_index()
    table = summarise(runs, keys, accuracy="test_accuracy", examples="test_examples", level=level)
    table.insert(len(keys), "tuned_parameters", table[keys].merge(tuned, on=keys, how="left")["tuned_parameters"])
    return table


def overtaking(
    runs: pd.DataFrame,
    by: str = "train_examples",
    *,
    baseline: str = "full",
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
) -> pd.DataFrame:
    """Where the baseline, such as full fine-tuning, becomes more accurate than a method, or less.

    Parameters
    ----------
    runs : DataFrame
        As for `accuracy_by_size`.
    by : str
        Along what: ``train_examples``, for every method and size; or ``tuned_parameters`` or ``size``, for every method
        and training set. Runs whose `by` is not known, or 0, which has no place on a logarithmic scale, are left out
        and counted in `unknown`.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the seeds of every point, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        `dataset`, `task` (none along ``train_examples``), `method`, `size` (none along the other two), `baseline`,
        `by`, `points` (how many were measured), `unknown`, `fewest_seeds` and `most_seeds` (of either at a point),
        `first` and `last` (the method's accuracy minus the baseline's at either end), `outcome`: ``method ahead``,
        ``baseline ahead``, ``tied``, ``baseline overtakes``, ``method overtakes``, ``several crossings`` or ``not
        measured``; `crossing` (the first; NaN where they do not cross), `low`, `high`, `level`, `interval` and
        `crosses` (the share of draws that cross at all). Between few points the crossing is a guess; with one seed it
        has no interval, and `interval` is ``none``.
    """
    require_level(level)
    require_draws(draws)
    if by not in BY:
        raise unknown("axis", by, BY)
    runs = _described(runs)
    if baseline not in set(runs["method"]):
        raise unknown("baseline", baseline, set(runs["method"]), where="methods of these runs")
    if (runs["method"] == baseline).all():
        raise InputError(f"there is nothing to compare with the baseline {baseline!r}. Load more methods.")
    along_examples = by == "train_examples"
    of_series = ["dataset", "method", "size"] if along_examples else ["dataset", "task", "method"]
    table = []
    for values, series in runs[runs["method"] != baseline].groupby(of_series, dropna=False, sort=True):
        cell = dict(zip(of_series, values, strict=True))
        known = series[series[by] > 0]
        base = runs[(runs["method"] == baseline) & (runs["dataset"] == cell["dataset"])]
        points = [
            (float(str(x)), some["test_accuracy"].to_numpy(dtype=float), _at(base, some["task"].iloc[0]))
            for x, some in known.groupby(by, sort=True)
        ]
        points = [point for point in points if len(point[2])]
        row = {"dataset": cell["dataset"], "task": cell.get("task"), "method": cell["method"], "size": cell.get("size")}
        row |= {"baseline": baseline, "by": by, "points": len(points), "unknown": len(series) - len(known)}
        table.append({**row, **_crossing(points, rng, level, draws)})
    return pd.DataFrame(table)


Point = tuple[float, NDArray[np.float64], NDArray[np.float64]]  # where, the method's seeds, the baseline's


def _crossing(points: list[Point], rng: np.random.Generator, level: float, draws: int) -> dict[str, Any]:
    """What became of the series; empty where there is nothing to compare."""
    nothing = {"crossing": np.nan, "low": np.nan, "high": np.nan, "level": level, "interval": "none", "crosses": np.nan}
    if not points:
        none = {"fewest_seeds": 0, "most_seeds": 0, "first": np.nan, "last": np.nan, "outcome": "not measured"}
        return {**none, **nothing}
    x = np.log([point[0] for point in points])
    ahead = np.array([one.mean() - other.mean() for _, one, other in points]).round(12)
    where = crossings(x, ahead)
    seeds = np.array([len(one) for point in points for one in point[1:]])
    found = {**seed_columns(seeds), "first": ahead[0], "last": ahead[-1]}
    found |= {"outcome": _outcome(ahead, len(where)), **nothing}
    if len(where):
        found["crossing"] = float(np.exp(where[0]))
    if seeds.min() < 2:
        return found
    again = _trained_again(rng, draws)
    drawn = np.stack([again(one) - again(other) for _, one, other in points], axis=1)  # (draws, points)
    firsts = [places[0] for row in drawn if len(places := crossings(x, row))]
    found |= {"interval": "bootstrap over seeds", "crosses": len(firsts) / draws}
    if firsts:
        found["low"], found["high"] = np.exp(np.quantile(firsts, [(1 - level) / 2, (1 + level) / 2]))
    return found


def _trained_again(rng: np.random.Generator, draws: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda seeds: seeds[redrawn(len(seeds), rng=rng, draws=draws)].mean(axis=1)


def crossings(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where straight lines through (x, y), x ascending, change sign.

    Touching 0 and turning back is no change; of points at 0 between two signs, the middle is where it changes.
    """
    places = []
    for i, j in itertools.pairwise(np.flatnonzero(y)):
        if y[i] * y[j] < 0:
            places.append(x[i] + (x[j] - x[i]) * y[i] / (y[i] - y[j]) if j == i + 1 else x[i + 1 : j].mean())
    return np.array(places, dtype=float)


def _outcome(ahead: NDArray[np.float64], count: int) -> str:
    signs = np.sign(ahead[ahead != 0])
    if count == 0:
        return "tied" if not len(signs) else "method ahead" if signs[0] > 0 else "baseline ahead"
    if count > 1:
        return "several crossings"
    return "baseline overtakes" if signs[0] > 0 else "method overtakes"


def _at(base: pd.DataFrame, task: str) -> NDArray[np.float64]:
    return base.loc[base["task"] == task, "test_accuracy"].to_numpy(dtype=float)


def _described(runs: pd.DataFrame) -> pd.DataFrame:
    require_columns(runs, ["task", "method", "seed", "test_accuracy"])
    require_some(runs)
    require_known(runs, "test_accuracy")
    require_comparable(runs)
    if "train_examples" not in runs:
        raise InputError(
            "the runs have no column 'train_examples', which says how many each task is trained on."
            " Add it: runs.assign(train_examples=runs.task.map({'TASK': NUMBER, ...}))."
        )
    runs = runs.assign(
        **{name: np.nan for name in ("size", "tuned_parameters") if name not in runs},
        dataset=runs["dataset"] if "dataset" in runs else runs["task"],
    )
    twice = runs.duplicated(["task", "method", "size", "seed"])
    if twice.any():
        task, method, size = runs[twice].iloc[0][["task", "method", "size"]]
        raise InputError(
            f"method {method!r} has two results on task {task!r} at size {size} with the same seed."
            " Say which size each is of in a column 'size', or keep one."
        )
    return runs
