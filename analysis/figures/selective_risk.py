"""Error among what a model is surest of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.figures import canvas, rows
from analysis.palette import ordered, style

_TOGETHER = 8  # methods whose lines can be told apart in one panel


def risk_coverage(table: pd.DataFrame) -> Figure:
    """A line a method: error among the answered examples, by how many are answered.

    Parameters
    ----------
    table : DataFrame
        From `analysis.risk_coverage`; a method with several seeds is their mean. A panel a task if it has a column
        `task`. More than eight methods on one task get a panel each, with the others in grey.
    """
    canvas.require_rows(table, "method", "coverage", "risk")
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered(table["method"])
    lines = table.groupby(["task", "method", "coverage"])["risk"].mean()
    if len(tasks) == 1 and len(methods) > _TOGETHER:
        return _one_by_one(lines[tasks[0]], methods)
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=3.0, height=2.7, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        for k, method in enumerate(methods):
            risk = lines[task].get(method, pd.Series(dtype=float))
            every = max(1, len(risk) // 8)
            marked = k * every // len(methods)  # the methods' marks beside each other
            ax.plot(100 * risk.index, 100 * risk, **canvas.look(style(method), 3.5), markevery=(marked, every))
        _axes(ax, x=i >= len(tasks) - columns, y=i % columns == 0)
        canvas.title(ax, task)
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, "Answered: the examples that the method is surest of.")
    return figure


def _one_by_one(lines: pd.Series, methods: list[str]) -> Figure:
    """A panel a method, over the lines of all."""
    columns = canvas.columns_of(len(methods))
    figure, axes = canvas.panels(len(methods), columns=columns, width=rows.panel_width(methods), height=1.6)
    every = [100 * np.stack([lines[method].index, lines[method]], axis=1) for method in methods]  # (K, 2) each
    for i, (ax, method) in enumerate(zip(axes, methods, strict=True)):
        ax.add_collection(LineCollection(every, colors="#D0D0D0", linewidths=0.6), autolim=True)
        ax.plot(100 * lines[method].index, 100 * lines[method], color=style(method).colour, linewidth=1.4)
        _axes(ax, x=i >= len(methods) - columns, y=i % columns == 0)
        canvas.title(ax, method)
    canvas.note(figure, "Answered: the examples that the method is surest of. Grey: the other methods.")
    return figure


def _axes(ax: Axes, *, x: bool, y: bool) -> None:
    ax.set_xlim(0, 101)
    ax.set_ylim(0, None)
    canvas.label(ax, x="answered (%)" if x else "", y="wrong (%)" if y else "")


def aurc(table: pd.DataFrame) -> Figure:
    """A row a method, a mark a run: area under the risk-coverage curve and its interval; a tick where it could be.

    Parameters
    ----------
    table : DataFrame
        From `analysis.aurc`.
    """
    canvas.require_rows(table, "method", "aurc", "low", "high", "optimal", "level")
    methods = rows.by_value(table, "aurc", ascending=True)
    figure, [ax] = rows.sheet(methods, width=3.4)
    for y, method in enumerate(methods):
        of_method = table[table["method"] == method]
        for at, optimal in zip(rows.offsets(len(of_method)), of_method["optimal"], strict=True):
            ax.plot(100 * optimal, y + at, "|", color="#333333", markersize=6)
    rows.marks(ax, table, methods, "aurc", scale=100)
    ax.set_xlim(0, None)
    canvas.label(ax, x="mean error over all coverages (AURC, %)")
    level = table["level"].iloc[0]
    canvas.note(figure, f"Bars: {level:.0%} interval, bootstrap over examples. Tick: the same errors, least sure last.")
    return figure
