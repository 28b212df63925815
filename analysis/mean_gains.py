"""Gains averaged over tasks, seeds or methods."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.comparable import require_columns, require_some
from analysis.intervals import require_level, t_interval


def mean_gains(
    gains: pd.DataFrame,
    *,
    by: Sequence[str],
    over: Sequence[str] = ("task",),
    columns: Sequence[str] = ("gain",),
    level: float = 0.95,
) -> pd.DataFrame:
    """The mean of gains over several tasks, seeds or methods, with Student's t interval over them.

    Parameters
    ----------
    gains : DataFrame
        Tables of `soup_gain`, `wise_gain` or `ensemble_gain` put together, with columns that tell them apart.
    by : sequence of str
        What is kept apart: ``["soup", "against"]``, ``["method", "choice"]``.
    over : sequence of str
        What is averaged over. Values of equal `by` and `over` are averaged first.
    columns : sequence of str
        Which gains: names that end in ``gain``. ``shift_gain`` has the interval `shift_low`, `shift_high`.

    Returns
    -------
    DataFrame
        `by`, `count` (how many of `over`), each of `columns` with its interval (missing for one), `level`, `interval`.
        NaN where a gain is: a mean of the others would be of other tasks.
    """
    require_level(level)
    require_columns(gains, [*by, *over, *columns])
    require_some(gains, "gains")
    table = []
    for values, some in gains.groupby(list(by), sort=False, dropna=False):
        each = some.groupby(list(over))[list(columns)].agg(_mean)
        row = {**dict(zip(by, values, strict=True)), "count": len(each)}
        for name in columns:
            low, high = t_interval(each[name], level) if len(each) >= 2 else (float("nan"), float("nan"))
            prefix = name.removesuffix("gain")
            row |= {name: _mean(each[name]), f"{prefix}low": low, f"{prefix}high": high}
        table.append({**row, "level": level, "interval": f"t over {', '.join(over)}" if len(each) >= 2 else "none"})
    return pd.DataFrame(table)


def _mean(values: pd.Series) -> float:
    """NaN where one of them is."""
    return float(values.mean(skipna=False))
