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
        `task`. More than eight methods on one task get a panel each, with the others in grey. The band is the mean of
        the seeds' intervals, which is no narrower than that of their mean.
    """
    canvas.require_rows(table, "method", "coverage", "risk")
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered(table["method"])
    drawn = ["risk", *(["low", "high"] if "interval" in table else [])]
    lines = {
        (str(task), str(method)): 100 * some.groupby("coverage")[drawn].mean()
        for (task, method), some in table.groupby(["task", "method"])
    }
    if len(tasks) == 1 and len(methods) > _TOGETHER:
        return _one_by_one({method: lines[tasks[0], method] for method in methods}, _what_bands_are(table))
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=3.0, height=2.7, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        for k, method in enumerate(methods):
            if (task, method) not in lines:
                continue
            line = lines[task, method]
            every = max(1, len(line) // 8)
            marked = k * every // len(methods)  # the methods' marks beside each other
            ax.plot(100 * line.index, line["risk"], **canvas.look(style(method), 3.5), markevery=(marked, every))
            _band(ax, line, style(method).colour)
        _axes(ax, x=i >= len(tasks) - columns, y=i % columns == 0)
        canvas.title(ax, task)
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, f"Answered: the examples that the method is surest of. {_what_bands_are(table)}")
    return figure


def _band(ax: Axes, line: pd.DataFrame, colour: str) -> None:
    if "low" in line:
        ax.fill_between(100 * line.index, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)


def _what_bands_are(table: pd.DataFrame) -> str:
    if "interval" not in table:
        return "No intervals."
    return f"Bands: {table['level'].iloc[0]:.0%} interval, {table['interval'].iloc[0]}, coverage by coverage."


def _one_by_one(lines: dict[str, pd.DataFrame], bands: str) -> Figure:
    """A panel a method, over the lines of all."""
    methods = list(lines)
    columns = canvas.columns_of(len(methods))
    figure, axes = canvas.panels(len(methods), columns=columns, width=rows.panel_width(methods), height=1.6)
    most = max(1e-9, *(line.to_numpy().max() for line in lines.values()))
    every = [np.stack([100 * line.index, line["risk"]], axis=1) for line in lines.values()]  # (K, 2) each
    for i, (ax, (method, line)) in enumerate(zip(axes, lines.items(), strict=True)):
        ax.add_collection(LineCollection(every, colors="#D0D0D0", linewidths=0.6), autolim=True)
        ax.plot(100 * line.index, line["risk"], color=style(method).colour, linewidth=1.4)
        _band(ax, line, style(method).colour)
        _axes(ax, x=i >= len(methods) - columns, y=i % columns == 0)
        ax.set_ylim(0, 1.05 * most)
        canvas.title(ax, method)
    canvas.note(figure, f"Answered: the examples that the method is surest of. Grey: the other methods. {bands}")
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
