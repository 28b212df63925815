"""Intervals of an accuracy: over seeds where there are several, over the examples where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from petl_study.errors import InputError


class Interval(NamedTuple):
    """The ends of an interval, and what it is of; by default there is none."""

    low: float = float("nan")
    high: float = float("nan")
    of: str = "none"


def require_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95; got {level!r}")


def require_draws(draws: int) -> None:
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"draws must be a whole number of at least 1, such as 1000; got {draws!r}")


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of n >= 2 values."""
    values = np.asarray(values, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return float(values.mean() - half), float(values.mean() + half)


def wilson_interval(accuracy: float, examples: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion: stays inside 0 to 1 and has a width even at 0 and 1."""
    low, high = wilson_ends(np.float64(accuracy), np.float64(examples), level)
    return float(low), float(high)


def wilson_ends(
    accuracy: ArrayLike, examples: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's interval of many proportions at once; NaN where one, or its number of examples, is."""
    p, n = np.asarray(accuracy, dtype=np.float64), np.asarray(examples, dtype=np.float64)
    z = stats.norm.ppf((1 + level) / 2)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)  # at 0 and 1 rounding would step over


def welch_interval(one: ArrayLike, other: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Welch's t interval of the difference of two means, of n >= 2 values each with variances of their own.

    Two sets of constants have no spread to go by: the interval is the difference itself.
    """
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    difference = float(one.mean() - other.mean())
    if one.std() + other.std() < 1e-12:
        return difference, difference
    # By hand: scipy's test warns of "catastrophic cancellation" where one of the two sets is constant.
    errors = np.array([values.var(ddof=1) / len(values) for values in (one, other)])
    freedom = errors.sum() ** 2 / (errors**2 / [len(one) - 1, len(other) - 1]).sum()
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(errors.sum()))
    return difference - half, difference + half


def newcombe_interval(one: float, other: float, n_one: int, n_other: int, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's interval of the difference of two proportions (1998, method 10): both Wilson intervals, combined.

    As if the two were measured on different examples: where they were measured on the same it is too wide.
    """
    low, high = wilson_interval(one, n_one, level)
    other_low, other_high = wilson_interval(other, n_other, level)
    below, above = np.hypot(one - low, other_high - other), np.hypot(high - one, other - other_low)
    return float(one - other - below), float(one - other + above)


def wilson_mean_interval(
    accuracies: NDArray[np.float64], examples: NDArray[np.float64], weights: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Interval of a weighted mean of proportions: their Wilson intervals combined, as Newcombe's are of a difference.

        low = sum w p - sqrt(sum w^2 (p - l)^2)        l: the low end of p's own interval; high likewise

    (MOVER: Zou and Donner, 2008.) It has a width even where all are 0 or 1, and is Wilson's own for a single one.

    Parameters
    ----------
    accuracies, examples, weights : (T,)
        The weights sum to 1. NaN ends where a number of examples is not known.
    """
    mean, ends = weights @ accuracies, wilson_ends(accuracies, examples, level)
    below, above = (np.linalg.norm(weights * (accuracies - end)) for end in ends)
    return float(np.maximum(0.0, mean - below)), float(np.minimum(1.0, mean + above))


def nan_interval(drawn: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Percentile interval of the draws in which the statistic is defined; NaN where that is none of them."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarise(
    rows: pd.DataFrame, keys: Sequence[str], *, accuracy: str, examples: str, level: float = 0.95
) -> pd.DataFrame:
    """Mean accuracy and its interval for every group of rows with equal `keys`; a row of a group is a seed.

    Returns
    -------
    DataFrame
        `keys`, `seeds` (how many), `examples`, `accuracy`, `low`, `high`, `level`, and `interval`, which says what
        the interval is of:

        - ``t over seeds``: training the method again (at least two seeds), on these examples. Wide for two seeds: they
          say little. Cut at 0 and 1;
        - ``Wilson over examples``: this one model on other examples; says nothing of another seed;
        - ``none``: one seed, and the number of examples is not known.
    """
    require_level(level)
    table = []
    for values, some in rows.groupby(list(keys), sort=True, dropna=False):
        accuracies = some[accuracy].to_numpy(dtype=np.float64)
        n = some[examples].iloc[0] if examples in some else pd.NA
        if len(some) >= 2:
            low, high = np.clip(t_interval(accuracies, level), 0.0, 1.0)
            interval = "t over seeds"
        elif pd.notna(n):
            low, high = wilson_interval(float(accuracies[0]), int(n), level)
            interval = "Wilson over examples"
        else:
            low, high, interval = np.nan, np.nan, "none"
        measured = {"seeds": len(some), "examples": n, "accuracy": accuracies.mean(), "low": low, "high": high}
        table.append({**dict(zip(keys, values, strict=True)), **measured, "level": level, "interval": interval})
    columns = [*keys, "seeds", "examples", "accuracy", "low", "high", "level", "interval"]
    return pd.DataFrame(table, columns=columns)
