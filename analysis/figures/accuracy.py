"""Accuracy of every method, task by task: as it is, over a baseline, and how much methods differ."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import counted, dots
from analysis.figures.rows import by_value
from analysis.palette import ordered, style


def accuracy_by_task(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: test accuracy and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_table`. Tasks are ordered by group and name; methods by their mean over the tasks, the
        best on top, in the same order in every panel. A missing cell stays empty.
    """
    canvas.require_single(table, "task", "method", "accuracy", "low", "high")
    return dots(
        table,
        "accuracy",
        panel="task",
        panels=canvas.task_order(table),
        order=by_value(table, "accuracy", ascending=False),
        subtitle="group" if "group" in table else None,
        unit=100,
        label="test accuracy (%)",
        note=f"{canvas.what_bars_are(table)} Scales differ between tasks.",
    )


def mean_accuracies(table: pd.DataFrame) -> Figure:
    """A panel a scope, a line a method: its mean accuracy and interval, methods in order of the mean over all tasks.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_accuracies`. `accuracy_against_parameters` shows the same against what was tuned.
    """
    canvas.require_single(table, "scope", "method", "accuracy", "low", "high", "tasks")
    named = [f"{scope} ({canvas.tasks(n)})" for scope, n in zip(table["scope"], table["tasks"], strict=True)]
    order = by_value(table[table["scope"] == "all tasks"], "accuracy", ascending=False)
    return dots(
        table.assign(panel=named),
        "accuracy",
        panel="panel",
        order=order,
        unit=100,
        label="mean test accuracy (%)",
        note=canvas.what_bars_are(table),
    )


def gain_over_baseline(table: pd.DataFrame, highlight: str = "full") -> Figure:
    """A line a task: how far every method is above or below the baseline; the grey band spans all but `highlight`.

    Parameters
    ----------
    table : DataFrame
        From `analysis.gain_over_baseline`. Tasks are ordered by group and name. The interval is drawn for `highlight`,
        whose marker is larger; the others' would hide each other.
    """
    canvas.require_single(table, "task", "method", "baseline", "gain", "low", "high")
    tasks = canvas.task_order(table)[::-1]
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
    alone = f" Drawn for {highlight} alone." if shown["low"].notna().any() else ""
    grey = f"Grey: range of the methods{f' but {highlight}' if len(shown) else ''}."
    canvas.note(figure, f"{grey} {canvas.what_bars_are(table, shown)}{alone}")
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
        label=f"standard deviation across {counted(table, 'methods')} methods (% of their mean accuracy)",
        tick="noise",
        note=f"{canvas.what_bars_are(table)} Stroke: expected of equally good methods.",
    )
