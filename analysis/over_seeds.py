"""A mean over seeds with its interval, as columns of a row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analysis.intervals import t_interval


def over_seeds(
    values: Iterable[float], name: str, prefix: str = "", *, level: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> dict[str, float]:
    """`name`: the mean of a value a seed; `prefix` low and high: Student's t interval, cut at `bounds`.

    NaN for one seed, or where a seed has no value.
    """
    each = np.asarray(list(values), dtype=np.float64)
    whole = len(each) >= 2 and not np.isnan(each).any()
    low, high = np.clip(t_interval(each, level), *bounds) if whole else (np.nan, np.nan)
    return {name: float(each.mean()), f"{prefix}low": float(low), f"{prefix}high": float(high)}


def kind_of_interval(seeds: int) -> str:
    """What such an interval is of, for the column `interval`."""
    return "t over seeds" if seeds >= 2 else "none"
