"""The search: what validation said, what it bought, what mattered to it, and where it cannot be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import counted, dots
from analysis.figures.matrix import CELL, bar, cells, heat_map
from analysis.palette import ordered, style
from petl_study.errors import InputError

_MANY = 8  # ties beyond which colours no longer differ; the numbers do


def validation_against_test(table: pd.DataFrame) -> Figure:
    """A panel a task, a mark a method: accuracy of the chosen point on validation against that on test.

    Parameters
    ----------
    table : DataFrame
        From `analysis.validation_against_test`. On the grey line both are equal.
    """
    canvas.require_single(table, "task", "method", "val_accuracy", "val_low", "val_high", "accuracy", "low", "high")
    table = table[table["val_accuracy"].notna()]
    canvas.require_rows(table)
    tasks = canvas.task_order(table)
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
    kinds = " or ".join(sorted(set(table["interval"])))
    note = f"Bars: {table['level'].iloc[0]:.0%} intervals, across: Wilson over examples, upright: {kinds}."
    canvas.note(figure, f"{note} Grey line: equal. Scales differ between tasks.{canvas.uneven_seeds(table)}")
    return figure


def validation_ranking(table: pd.DataFrame) -> Figure:
    """A line a task: how well validation orders the methods as test does.

    Parameters
    ----------
    table : DataFrame
        From `analysis.validation_ranking`. The best-ordered task is on top.
    """
    canvas.require_rows(table, "task", "spearman", "methods", "level", "interval")
    table = table.sort_values("spearman", ascending=False, kind="stable")
    label = f"rank correlation of validation and test over {counted(table, 'methods')} methods (Spearman)"
    return dots(table, "spearman", rows="task", label=label, reference=0.0, note=canvas.what_bars_are(table))


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
    tasks = canvas.task_order(table)
    of_all = "No interval: the mean is over all points that were tried."
    note = canvas.what_bars_are(table) if over == "default" else of_all
    label = f"best minus {over} (points, val)"
    return dots(table, value, panel="task", panels=tasks, order=order, unit=100, label=label, reference=0.0, note=note)


def importance(table: pd.DataFrame) -> Figure:
    """A panel a hyperparameter, a line a method: its share in the variance of validation accuracy.

    Parameters
    ----------
    table : DataFrame
        From `analysis.importance`. The stroke is what a hyperparameter without effect would get.
    """
    canvas.require_rows(table, "method", "hyperparameter", "share", "low", "high", "by_chance", "level", "interval")
    return dots(
        table,
        "share",
        panel="hyperparameter",
        panels=_hyperparameters(table),
        order=ordered(table["method"]),
        unit=100,
        label="share of variance (%)",
        reference=0.0,
        tick="by_chance",
        note=f"{canvas.what_bars_are(table)} Stroke: no effect.",
    )


def importance_by_task(table: pd.DataFrame) -> Figure:
    """A panel a hyperparameter, a row a method that has it, a column a task: its share in the variance.

    Parameters
    ----------
    table : DataFrame
        From `analysis.importance_by_task`. White: the search did not vary it there, or all its trials score alike.
    """
    canvas.require_single(table, "task", "method", "hyperparameter", "share", "by_chance")
    tasks, shares = canvas.task_order(table), {}
    for name in _hyperparameters(table):
        some = table[table["hyperparameter"] == name].pivot_table("share", "method", "task", dropna=False)
        shares[name] = 100 * some.reindex(index=ordered(some.index), columns=tasks)
    rows = [len(some) for some in shares.values()]
    names = canvas.text_width(table["method"])
    figure = Figure(
        figsize=(
            names + max(2.0, CELL * len(tasks)) + 1.2,
            CELL * sum(rows) + 0.35 * len(rows) + canvas.text_width(tasks) + 0.4,
        ),
        facecolor="white",
    )
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.03)
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for ax, (name, some) in zip(axes, shares.items(), strict=True):
        canvas.dress(ax)
        across = tasks if ax is axes[-1] else [""] * len(tasks)
        image = cells(ax, some.to_numpy(dtype=float), some.index.tolist(), across, least=0, most=100)
        canvas.title(ax, name)
    bar(figure, image, [axes[0]], "share of\nvariance (%)")
    canvas.note(figure, f"A hyperparameter without effect: {100 * table['by_chance'].median():.0f} % (median).")
    return figure


def hyperparameter_values(table: pd.DataFrame) -> Figure:
    """A panel a hyperparameter, a line a method: what fixing each value would cost against the best, mean over tasks.

    Parameters
    ----------
    table : DataFrame
        From `analysis.hyperparameter_values`.
    """
    canvas.require_single(table, "task", "method", "hyperparameter", "value", "behind")
    names, methods = _hyperparameters(table), ordered(table["method"])
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
    canvas.require_single(table, "task", "method", "tied")
    tasks = canvas.task_order(table)
    methods = ordered(table["method"])
    tied = table.pivot_table(index="method", columns="task", values="tied").reindex(index=methods, columns=tasks)
    label = "points that share the best (number)"
    return heat_map(tied, label=label, least=1, most=_MANY, colours="Blues", number="{:.0f}")


def collapsed(table: pd.DataFrame) -> Figure:
    """A panel a learning rate (or what `analysis.collapsed` was asked by), a line a method: share of collapsed trials.

    Parameters
    ----------
    table : DataFrame
        From `analysis.collapsed`.
    """
    canvas.require_single(table, "method", "share", "trials", "collapsed", "level")
    by = next(name for name in table if name != "method")
    table = pd.concat([table[table[by] == value] for value in _sorted(table[by])])
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
    canvas.require_rows(table, "method", "optimism", "of", "tasks", "unknown")
    label = f"best epoch minus last, mean over {counted(table, 'tasks')} tasks (percentage points)"
    unknown = f" {table['unknown'].sum()} results without a curve." if table["unknown"].any() else ""
    note = f"{canvas.what_bars_are(table)} {table['of'].iloc[0].replace('_', ' ')}.{unknown}"
    return dots(table, "optimism", unit=100, label=label, reference=0.0, note=note)


def _hyperparameters(table: pd.DataFrame) -> list[str]:
    """Those that every method has first, what is left between them last."""
    names: list[str] = table["hyperparameter"].drop_duplicates().tolist()
    return sorted(names, key=lambda name: (name == "interactions", name not in ("lr", "weight_decay")))


def _sorted(values: pd.Series) -> list[object]:
    """The distinct values: numbers by size, anything else by name."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
