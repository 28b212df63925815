"""Accuracy of every method, task by task: as it is, over a baseline, and how much methods differ."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import bars_note, dots
from analysis.palette import ordered, style


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


def gain_over_baseline(table: pd.DataFrame, highlight: str = "full") -> Figure:
    """A line a task: how far every method is above or below the baseline; the grey band spans all but `highlight`.

    Parameters
    ----------
    table : DataFrame
        From `analysis.gain_over_baseline`. Tasks are ordered by group and name. The interval is drawn for `highlight`,
        whose marker is larger; the others' would hide each other.
    """
    canvas.require_rows(table, "task", "method", "baseline", "gain", "low", "high")
    tasks = list(dict.fromkeys(table.sort_values(["group", "task"] if "group" in table else ["task"])["task"]))[::-1]
    methods = ordered(table["method"])
    height, left = 0.9 + 0.22 * len(tasks), canvas.text_width(tasks)
    figure, [ax] = canvas.panels(1, columns=1, width=4.6, height=height, left=left, **canvas.key(methods))
    ax.axvline(0, color="#333333", linewidth=0.8)
    for task, some in table[table["method"] != highlight].groupby("task"):
        ends = 100 * some["gain"].agg(["min", "max"])
        ax.plot(ends, [tasks.index(str(task))] * 2, color="#E6E6E6", linewidth=7, solid_capstyle="butt", zorder=1)
    for row in table.to_dict("records"):
        y, looks, stands_out = tasks.index(row["task"]), style(row["method"]), row["method"] == highlight
        if stands_out:
            ax.plot([100 * row["low"], 100 * row["high"]], [y, y], color=looks.colour, linewidth=1.2, zorder=4)
        ax.plot(100 * row["gain"], y, **canvas.look(looks, 6.0 if stands_out else 3.6), zorder=5 if stands_out else 3)
    canvas.ticks(ax.yaxis, tasks)
    ax.set_ylim(-0.6, len(tasks) - 0.4)
    canvas.label(ax, x=f"test accuracy minus that of {table['baseline'].iloc[0]} (percentage points)")
    canvas.legend(figure, methods, heading="method")
    shown = table[table["method"] == highlight]
    bars = f" {bars_note(shown)} Drawn for {highlight} alone." if shown["low"].notna().any() else ""
    canvas.note(figure, f"Grey: range of the methods{f' but {highlight}' if len(shown) else ''}.{bars}")
    return figure


def relative_spread(table: pd.DataFrame) -> Figure:
    """A line a task: relative standard deviation of accuracy across methods, and the stroke that noise would give.

    Parameters
    ----------
    table : DataFrame
        From `analysis.relative_spread`. Tasks where the choice of method matters most are on top.
    """
    canvas.require_rows(table, "task", "relative_deviation", "noise", "methods")
    table = table.sort_values("relative_deviation", ascending=False, kind="stable")
    return dots(
        table,
        "relative_deviation",
        rows="task",
        unit=100,
        label=f"standard deviation across {table['methods'].iloc[0]} methods (% of their mean accuracy)",
        tick="noise",
        note=f"{bars_note(table)} Stroke: expected of equally good methods.",
    )
