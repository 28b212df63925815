"""How often every two methods disagree."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.palette import ordered

_READABLE = 12  # methods: beyond that, numbers in cells would touch


def disagreement_heat_map(table: pd.DataFrame) -> Figure:
    """A panel a task, in the order of the table: disagreement of every two methods, below the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.disagreement_by_method`; of several tasks if it has a column `task`. The diagonal, where a
        method has several seeds, is its disagreement with itself: what the rest is to be compared with.
    """
    canvas.require_rows(table, "method_a", "method_b", "disagreement")
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered(table["method_a"])
    size, names = max(1.7, 0.3 * len(methods)), canvas.text_width(methods)
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(
        len(tasks), columns=columns, width=size + 0.3, height=size + 0.4 + names, left=names, right=0.7
    )
    most = 100 * table["disagreement"].max()
    several = bool((table["method_a"] == table["method_b"]).any())
    down, across = (methods, methods) if several else (methods[1:], methods[:-1])  # without seeds, no diagonal
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        cells = table[table["task"] == task].pivot_table(index="method_a", columns="method_b", values="disagreement")
        matrix = 100 * cells.reindex(index=down, columns=across).to_numpy()
        matrix[np.triu_indices(len(down), k=1)] = np.nan
        # The sheet makes cells about square; exactly square ones would need the layout done again and again to settle.
        image = ax.imshow(matrix, cmap="cividis", vmin=0, vmax=max(most, 1e-9), aspect="auto")
        _axes(ax, down, across, first=i % columns == 0)
        if len(methods) <= _READABLE:
            _numbers(ax, matrix, most)
        canvas.title(ax, task)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25)
    bar.set_label("disagreement (% of test examples)", fontsize=canvas.NORMAL, color="#333333")
    bar.ax.tick_params(labelsize=canvas.SMALL, length=2.5)
    bar.outline.set_visible(False)
    canvas.note(figure, "Diagonal: one method under two seeds." if several else "One seed: no method beside itself.")
    return figure


def _axes(ax: Axes, down: list[str], across: list[str], *, first: bool) -> None:
    canvas.ticks(ax.xaxis, across)
    canvas.ticks(ax.yaxis, down, shown=first)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.tick_params(axis="x", rotation=90)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _numbers(ax: Axes, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]], most: float) -> None:
    for (y, x), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            colour = "white" if value < 0.55 * most else "black"
            ax.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=6.5, color=colour)
