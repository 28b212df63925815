"""The search: what validation said, what it bought, what mattered to it, and where it cannot be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import bars_note, counted, dots
from analysis.figures.matrix import CELL, bar, cells, numbers
from analysis.palette import ordered, style
from petl_study.errors import InputError

_CELL = 0.24  # inches: room for a number of two digits
_MANY = 8  # ties beyond which colours no longer differ; the numbers do


def validation_against_test(table: pd.DataFrame) -> Figure:
    """A panel a task, a mark a method: accuracy of the chosen point on validation against that on test.

    Parameters
    ----------
    table : DataFrame
        From `analysis.validation_against_test`. On the grey line both are equal.
    """
    canvas.require_rows(table, "task", "method", "val_accuracy", "val_low", "val_high", "accuracy", "low", "high")
    table = table[table["val_accuracy"].notna()]
    canvas.require_rows(table)
    tasks = list(dict.fromkeys(table.sort_values(["group", "task"] if "group" in table else ["task"])["task"]))
    methods = ordered(table["method"])
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=2.0, height=2.0, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        some = table[table["task"] == task]
        looks = [style(method) for method in some["method"]]
        x, y = 100 * some["val_accuracy"], 100 * some["accuracy"]
        bars: dict[str, Any] = {"colors": [look.colour for look in looks], "linewidth": 0.5, "alpha": 0.6}
        ax.hlines(y, 100 * some["val_low"], 100 * some["val_high"], **bars)
        ax.vlines(x, 100 * some["low"], 100 * some["high"], **bars)
        for at_x, at_y, look in zip(x, y, looks, strict=True):
            ax.plot(at_x, at_y, **canvas.look(look, 3.8))
        ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())  # those of the marks: the line must not widen them
        ax.axline((50, 50), slope=1, color="#BBBBBB", linewidth=0.8, zorder=1)
        canvas.title(ax, task)
        x_label = "validation accuracy (%)" if i >= len(tasks) - columns else ""
        canvas.label(ax, x=x_label, y="test accuracy (%)" if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method")
    canvas.note(figure, f"Bars: {table['level'].iloc[0]:.0%} intervals. Grey line: equal. Scales differ between tasks.")
    return figure


def validation_ranking(table: pd.DataFrame) -> Figure:
    """A line a task: how well validation orders the methods as test does.

    Parameters
    ----------
    table : DataFrame
        From `analysis.validation_ranking`. The best-ordered task is on top.
    """
    canvas.require_rows(table, "task", "spearman", "methods", "level")
    table = table.sort_values("spearman", ascending=False, kind="stable")
    label = f"rank correlation of validation and test over {table['methods'].iloc[0]} methods (Spearman)"
    note = f"Bars: {table['level'].iloc[0]:.0%} interval, bootstrap over methods."
    return dots(table, "spearman", rows="task", label=label, reference=0.0, note=note)


def search_gain(table: pd.DataFrame, over: str = "random") -> Figure:
    """A panel a task, a line a method: by how much the search's best point is ahead, on validation.

    Parameters
    ----------
    table : DataFrame
        From `analysis.search_gain`.
    over : str
        Of what: ``random`` (the mean point of the grid) or ``default``.
    """
    if over not in ("random", "default"):
        raise InputError(f"over must be 'random' or 'default'; got {over!r}")
    value = f"gain_over_{over}"
    canvas.require_rows(table, "task", "method", value, "low", "high")
    if over == "random":
        table = table.assign(low=np.nan, high=np.nan)  # the intervals are of the default
    table = table[table[value].notna()]
    canvas.require_rows(table)
    order = table.groupby("method")[value].mean().sort_values(ascending=False, kind="stable").index.tolist()
    tasks = list(dict.fromkeys(table.sort_values(["group", "task"] if "group" in table else ["task"])["task"]))
    note = bars_note(table) if over == "default" else "No interval: the mean is over all points that were tried."
    label = f"best minus {over} (points, val)"
    return dots(table, value, panel="task", panels=tasks, order=order, unit=100, label=label, reference=0.0, note=note)


def importance(table: pd.DataFrame) -> Figure:
    """A panel a hyperparameter, a line a method: its share in the variance of validation accuracy.

    Parameters
    ----------
    table : DataFrame
        From `analysis.importance`. The stroke is what a hyperparameter without effect would get.
    """
    canvas.require_rows(table, "method", "hyperparameter", "share", "low", "high", "by_chance", "level")
    names = table["hyperparameter"].drop_duplicates().tolist()
    names.sort(key=lambda name: (name == "interactions", name not in ("lr", "weight_decay")))
    return dots(
        table,
        "share",
        panel="hyperparameter",
        panels=names,
        order=ordered(table["method"]),
        unit=100,
        label="share of variance (%)",
        reference=0.0,
        tick="by_chance",
        note=f"Bars: {table['level'].iloc[0]:.0%} interval, bootstrap over tasks. Stroke: no effect.",
    )


def hyperparameter_values(table: pd.DataFrame) -> Figure:
    """A panel a hyperparameter, a line a method: what fixing each value would cost against the best, mean over tasks.

    Parameters
    ----------
    table : DataFrame
        From `analysis.hyperparameter_values`.
    """
    canvas.require_rows(table, "task", "method", "hyperparameter", "value", "behind")
    names, methods = table["hyperparameter"].drop_duplicates().tolist(), ordered(table["method"])
    columns = canvas.columns_of(len(names))
    figure, axes = canvas.panels(len(names), columns=columns, width=2.5, height=2.2, **canvas.key(methods))
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        some = table[table["hyperparameter"] == name]
        values = _sorted(some["value"])
        for method in methods:
            of_method = some[some["method"] == method]
            cost = of_method.groupby(of_method["value"].map(values.index))["behind"].mean()
            ax.plot(cost.index, 100 * cost, **canvas.look(style(method), 4.0))
        canvas.ticks(ax.xaxis, list(map(_shown, values)))
        ax.set_xlim(-0.3, len(values) - 0.7)
        low, high = ax.get_ylim()
        ax.set_ylim(min(0.0, low), 1.06 * high)
        canvas.title(ax, name)
        canvas.label(ax, x="value", y="below the best (points, val)" if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, f"Best trial with a value against the best of all, mean over {table['task'].nunique()} tasks.")
    return figure


def top_ties(table: pd.DataFrame) -> Figure:
    """A row a method, a column a task: how many points of the search share the highest validation accuracy.

    Parameters
    ----------
    table : DataFrame
        From `analysis.top_ties`.
    """
    canvas.require_rows(table, "task", "method", "tied")
    tasks = list(dict.fromkeys(table.sort_values(["group", "task"] if "group" in table else ["task"])["task"]))
    methods = ordered(table["method"])
    tied = table.pivot_table(index="method", columns="task", values="tied").reindex(index=methods, columns=tasks)
    names, below = canvas.text_width(methods), canvas.text_width(tasks)
    figure, [ax] = canvas.panels(
        1,
        columns=1,
        width=max(1.6, _CELL * len(tasks)) + 0.3,
        height=max(0.8, CELL * len(methods)) + 0.5 + below,
        left=names,
        right=0.9,
    )
    image = cells(ax, tied.to_numpy(dtype=float), methods, tasks, least=1, most=_MANY, colours="Blues")
    numbers(ax, image, "{:.0f}")
    bar(figure, image, [ax], "points that share the best (number)", beyond=bool((table["tied"] > _MANY).any()))
    return figure


def collapsed(table: pd.DataFrame) -> Figure:
    """A panel a learning rate (or what `analysis.collapsed` was asked by), a line a method: share of collapsed trials.

    Parameters
    ----------
    table : DataFrame
        From `analysis.collapsed`.
    """
    canvas.require_rows(table, "method", "share", "trials", "collapsed", "level")
    by = next(name for name in table if name != "method")
    panel = table.assign(panel=[f"{by} {value:g}" if isinstance(value, float) else str(value) for value in table[by]])
    note = f"Bars: {table['level'].iloc[0]:.0%} interval, Wilson over trials."
    label = "collapsed trials (%)"
    return dots(panel, "share", panel="panel", order=ordered(table["method"]), unit=100, label=label, note=note)


def optimism(table: pd.DataFrame) -> Figure:
    """A line a method, the most flattered on top: accuracy of the best epoch minus that of the last.

    Parameters
    ----------
    table : DataFrame
        From `analysis.optimism`.
    """
    canvas.require_rows(table, "method", "optimism", "of", "tasks")
    label = f"best epoch minus last, mean over {counted(table, 'tasks')} tasks (percentage points)"
    note = f"{bars_note(table)} {table['of'].iloc[0].replace('_', ' ')}."
    return dots(table, "optimism", unit=100, label=label, reference=0.0, note=note)


def _sorted(values: pd.Series) -> list[object]:
    """The distinct values: numbers by size, anything else by name."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
