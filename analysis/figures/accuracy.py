"""Accuracy of every method, task by task, and its rank over them."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas
from analysis.palette import style


def accuracy_by_task(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: test accuracy and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_table`. Tasks are ordered by group and name; methods by their mean over the tasks, the
        best on top, in the same order in every panel. A missing cell stays empty.
    """
    canvas.require_rows(table, "task", "method", "accuracy", "low", "high")
    methods = table.groupby("method")["accuracy"].mean().sort_values(kind="stable").index.tolist()
    grouped = "group" in table
    tasks = list(dict.fromkeys(table.sort_values(["group", "task"] if grouped else ["task"])["task"]))
    columns = canvas.columns_of(len(tasks))
    left = canvas.text_width(methods)
    figure, axes = canvas.panels(len(tasks), columns=columns, width=2.4, height=0.75 + 0.19 * len(methods), left=left)
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        of_task = table[table["task"] == task].set_index("method")
        for y, method in enumerate(methods):
            if method in of_task.index:
                row = 100 * of_task.loc[method, ["accuracy", "low", "high"]].astype(float)
                ax.plot([row["low"], row["high"]], [y, y], color=style(method).colour, linewidth=1.2)
                ax.plot(row["accuracy"], y, **canvas.look(style(method)))
        canvas.ticks(ax.yaxis, methods, shown=i % columns == 0)
        ax.set_ylim(-0.6, len(methods) - 0.4)
        canvas.title(ax, task, of_task["group"].iloc[0] if grouped else "")
        canvas.label(ax, x="test accuracy (%)" if i >= len(tasks) - columns else "")
    canvas.note(figure, f"{canvas.what_bars_are(table)} Scales differ between tasks.")
    return figure


def mean_ranks(table: pd.DataFrame) -> Figure:
    """A line a method, the best on top: mean rank over tasks and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_ranks`.
    """
    canvas.require_rows(table, "method", "mean_rank", "low", "high", "tasks", "level")
    table = table.sort_values("mean_rank", ascending=False, kind="stable")
    methods = table["method"].tolist()
    height, left = 0.75 + 0.19 * len(methods), canvas.text_width(methods)
    figure, [ax] = canvas.panels(1, columns=1, width=3.6, height=height, left=left)
    for y, (method, rank, low, high) in enumerate(
        zip(methods, *(table[name].to_numpy(dtype=float) for name in ("mean_rank", "low", "high")), strict=True)
    ):
        ax.plot([low, high], [y, y], color=style(method).colour, linewidth=1.2)
        ax.plot(rank, y, **canvas.look(style(method)))
    canvas.ticks(ax.yaxis, methods)
    ax.set_ylim(-0.6, len(methods) - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    canvas.label(ax, x=f"mean rank over {table['tasks'].iloc[0]} tasks (1: best)")
    if table["low"].notna().any():
        canvas.note(figure, f"Bars: {table['level'].iloc[0]:.0%} interval, bootstrap over tasks.")
    return figure
