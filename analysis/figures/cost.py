"""What every method costs, cost by cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas, rows
from analysis.figures.parameters import logarithmic
from analysis.palette import style
from petl_study.errors import InputError


class _Panel(NamedTuple):
    """A column, what it is called, the ends of its bars, and in which unit it is drawn."""

    column: str
    label: str
    low: str = ""
    high: str = ""
    unit: float = 1.0


_PANELS = (
    _Panel("tuned_parameters", "tuned parameters", "fewest_parameters", "most_parameters"),
    _Panel("bytes", "stored (kB)", unit=1e3),
    _Panel("ratio", "training time (times that of {baseline})", "low", "high"),
    _Panel("search_seconds", "search (s a task)"),
    _Panel("peak_memory_bytes", "peak memory (MB)", unit=1e6),
    _Panel("before", "prediction (times the plain model)", "before_low", "before_high"),
)
_WIDE = 20  # from the least to the most: beyond that the axis is logarithmic


def costs(table: pd.DataFrame) -> Figure:
    """A line a method, the smallest on top; a panel a cost. What was never recorded has no panel.

    Parameters
    ----------
    table : DataFrame
        From `analysis.costs`: its scope ``all tasks`` is drawn, or the only one it has; of one machine.
    """
    canvas.require_single(table, "scope", "machine", "method", "baseline", *(panel.column for panel in _PANELS))
    table = table[table["scope"] == "all tasks"] if "all tasks" in set(table["scope"]) else table
    for column in ("scope", "machine"):
        if len(several := sorted(set(table[column]))) > 1:
            raise InputError(f"the costs are of more than one {column}: {'; '.join(several)}. Draw one at a time.")
    drawn = [panel for panel in _PANELS if table[panel.column].notna().any()]
    canvas.require_rows(table if drawn else table.iloc[:0])
    methods = table["method"].tolist()
    figure, axes = rows.sheet(methods, panels=len(drawn), width=1.75)
    for ax, panel in zip(axes, drawn, strict=True):
        label = panel.label.format(baseline=table["baseline"].iloc[0])
        canvas.label(ax, x=canvas.wrapped(label, 1.5, canvas.NORMAL))
        _draw(ax, table.reset_index(drop=True), panel)
    lacking = [panel.label.partition(" (")[0] for panel in _PANELS if panel not in drawn]
    canvas.note(figure, " ".join([_note(table, drawn), *([f"Not recorded: {', '.join(lacking)}."] if lacking else [])]))
    return figure


def _draw(ax: Axes, table: pd.DataFrame, panel: _Panel) -> None:
    values = table[panel.column].astype(float) / panel.unit
    merged = table["after"].astype(float) if panel.column == "before" else pd.Series(np.nan, table.index)
    positive = values[values > 0]
    wide = len(positive) > 0 and values.max() > _WIDE * positive.min()
    zero_at = 10 ** np.floor(np.log10(positive.min()) - 0.5) if wide else 0.0
    for y, (method, value) in enumerate(zip(table["method"], values, strict=True)):
        looks = canvas.look(style(method))
        if panel.low:
            ends = np.maximum(table.loc[y, [panel.low, panel.high]].astype(float) / panel.unit, zero_at)
            ax.plot(ends, [y, y], color=looks["color"], linewidth=1.2)
        if pd.notna(merged[y]):
            ax.plot([value, merged[y]], [y, y], color="#BBBBBB", linewidth=0.8, zorder=1)
            ax.plot(merged[y], y, linestyle="", marker="|", markersize=8, color="#333333", zorder=4)
        ax.plot(max(value, zero_at), y, **looks)
    if panel.column in ("ratio", "before"):
        ax.axvline(1.0, color="#333333", linewidth=0.8)
    _axis(ax, pd.concat([values, merged]), zero_at)


def _axis(ax: Axes, values: pd.Series, zero_at: float) -> None:
    """An axis for the marks: bars that reach far beyond them are cut off at its ends."""
    if zero_at:
        logarithmic(ax, zero_at, values.max(), bool((values == 0).any()))
        return
    room = 0.25 * (values.max() - values.min()) or 0.1 * values.max()
    ax.set_xlim(max(0.0, values.min() - room), values.max() + room)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4))


def _note(table: pd.DataFrame, drawn: list[_Panel]) -> str:
    machine = str(table["machine"].iloc[0])
    where = "On which machine is not recorded" if machine == "not recorded" else f"Measured on {machine}"
    said = [f"{where}. Parameters without the classifier, bytes with it."]
    names = {panel.column for panel in drawn}
    if "tuned_parameters" in names:
        said.append("Bars: parameters, range over tasks;")
    if "ratio" in names and table["low"].notna().any():
        kinds = " or ".join(sorted(set(table.loc[table["low"].notna(), "interval"])))
        said.append(f"training time, {table['level'].iloc[0]:.0%} interval, {kinds} (at the edge: it goes on);")
    if "before" in names:
        said.append("prediction, quartiles. Upright stroke: merged.")
    return " ".join(said).removesuffix(";") + ("" if said[-1].endswith(".") else ".")
