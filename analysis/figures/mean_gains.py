"""Gains averaged over tasks, seeds or methods."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import dots


def mean_gains(table: pd.DataFrame, gain: str = "gain") -> Figure:
    """A line a method (or what else was kept apart), a panel a value of the rest: mean gain and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_gains`.
    gain : str
        The column to draw, such as ``shift_gain``.
    """
    prefix = gain.removesuffix("gain")
    canvas.require_single(table, "count", gain, f"{prefix}low", f"{prefix}high", "level", "interval")
    kept = list(table.columns[: table.columns.get_loc("count")])
    rows = "method" if "method" in kept else kept[-1]
    rest = [name for name in kept if name != rows]
    titled = table.assign(
        panel=[", ".join(map(str, values)) for values in table[rest].itertuples(index=False, name=None)],
        low=table[f"{prefix}low"],
        high=table[f"{prefix}high"],
        **{rows: table[rows].astype(str)},
    )
    return dots(
        titled,
        gain,
        rows=rows,
        panel="panel" if rest else None,
        unit=100,
        label=f"mean {gain.replace('_', ' ')} (percentage points)",
        reference=0.0,
        note=canvas.what_bars_are(titled),
    )
