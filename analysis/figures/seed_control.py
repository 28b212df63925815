"""Whether methods differ by more than seeds do."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import canvas
from analysis.figures.agreement import MEASURES
from petl_study.errors import unknown

_BETWEEN, _WITHIN = "#0072B2", "#6F6F6F"


def methods_against_seeds(table: pd.DataFrame, measure: str = "disagreement") -> Figure:
    """A row a task: the measure within methods and between them; and beside it the difference, with its test.

    Parameters
    ----------
    table : DataFrame
        From `analysis.methods_against_seeds`.
    measure : str
        The one of its measures to draw.
    """
    canvas.require_rows(table, "measure", "within", "between", "difference", "low", "high", "p_value", "level")
    if measure not in set(table["measure"]):
        raise unknown("measure", measure, table["measure"])
    text, scale = MEASURES[measure]
    rows = (table if "task" in table else table.assign(task="")).query("measure == @measure")
    tasks = rows["task"].tolist()
    figure, (both, gap) = canvas.panels(
        2, columns=2, width=2.9, height=1.15 + 0.22 * len(tasks), left=canvas.text_width(tasks), right=0.7
    )
    for y, row in enumerate(rows.to_dict("records")):
        within, between, difference, low, high = (
            scale * row[name] for name in ("within", "between", "difference", "low", "high")
        )
        both.plot([within, between], [y, y], color="#BBBBBB", linewidth=1.0)
        both.plot(within, y, "o", color=_WITHIN, markerfacecolor="white", markersize=4.5)
        both.plot(between, y, "s", color=_BETWEEN, markersize=4.5)
        gap.plot([low, high], [y, y], color=_BETWEEN, linewidth=1.2)
        gap.plot(difference, y, "s", color=_BETWEEN, markersize=4.5)
        gap.annotate(
            _p(row["p_value"], int(row["permutations"])),
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=canvas.SMALL,
            color="#333333",
        )
    for ax in (both, gap):
        canvas.ticks(ax.yaxis, tasks, shown=ax is both)
        ax.set_ylim(len(tasks) - 0.4, -0.6)
    gap.axvline(0, color="#333333", linewidth=0.8)
    canvas.label(both, x=text)
    canvas.label(gap, x="between minus within" + (" (percentage points)" if scale == 100 else ""))
    handles = [
        Line2D([], [], linestyle="", marker="o", color=_WITHIN, markerfacecolor="white", markersize=4.5),
        Line2D([], [], linestyle="", marker="s", color=_BETWEEN, markersize=4.5),
    ]
    figure.legend(
        handles,
        ["one method, two seeds", "two methods, two seeds"],
        loc="outside upper left",
        ncols=2,
        fontsize=canvas.SMALL,
        frameon=False,
        labelcolor="#333333",
    )
    canvas.note(
        figure,
        f"Bars: {rows['level'].iloc[0]:.0%} interval over examples. p: names exchanged within seeds, one-sided.",
    )
    return figure


def _p(value: float, permutations: int) -> str:
    """``p = 0.012``; never smaller than the permutations can show."""
    if math.isnan(value):
        return "p undefined"
    return f"p = {value:.3f}" if value >= 0.001 or permutations < 1000 else "p < 0.001"
