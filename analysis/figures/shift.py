"""Accuracy as the images change and the task does not."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas
from analysis.palette import ordered, style
from petl_study.errors import InputError


def accuracy_under_shift(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: mean accuracy over the kinds of shift, by severity.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_over_shifts`. Severity 0 is the test set; a task that has no other is not drawn, which the
        note says.

    Raises
    ------
    InputError
        No task has a severity but 0: there is no line to draw.
    """
    canvas.require_rows(table, "task", "method", "severity", "accuracy", "low", "high")
    most = table.groupby("task")["severity"].max()
    flat = ", ".join(sorted(most.index[most == 0]))
    if (most == 0).all():
        raise InputError(
            f"the shift sets of {flat} have no severities, so there is nothing to draw but the test set. Draw"
            " accuracy_by_shift of shift_table, or target_against_shift."
        )
    table = table[table["task"].isin(most.index[most > 0])]
    tasks, methods = sorted(set(table["task"])), ordered(table["method"])
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=3.0, height=2.6, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        _lines(ax, table[table["task"] == task], methods)
        canvas.title(ax, task)
        y = "accuracy, mean over kinds (%)" if i % columns == 0 else ""
        canvas.label(ax, x="severity of the shift (0: test set)", y=y)
    canvas.legend(figure, methods, heading="method", line=True)
    left_out = f" Not drawn: {flat}, whose shift sets have no severities." if flat else ""
    canvas.note(figure, f"{canvas.what_bars_are(table)}{left_out}")
    return figure


def accuracy_by_shift(table: pd.DataFrame) -> Figure:
    """Rows of panels a task, a panel a kind of shift, a line a method: accuracy by severity.

    Parameters
    ----------
    table : DataFrame
        From `analysis.shift_table`. A set without a severity stands beside the test set.
    """
    canvas.require_rows(table, "task", "method", "kind", "severity", "accuracy", "low", "high")
    plain = set(table.loc[table["severity"].isna(), "kind"])
    table = table.assign(severity=table["severity"].fillna(1))
    methods = ordered(table["method"])
    kinds = {str(task): sorted(set(some["kind"]) - {"test"}) for task, some in table.groupby("task")}
    most = max(map(len, kinds.values()))
    columns = most if most <= 4 else min(5, math.ceil(most / 2))
    # Every task begins a new row; what is left of its last row stays free.
    cells = [
        (task, of_task[i]) if i < len(of_task) else None
        for task, of_task in kinds.items()
        for i in range(columns * math.ceil(len(of_task) / columns))
    ]
    figure, axes = canvas.panels(len(cells), columns=columns, width=1.75, height=1.8, left=0.2, **canvas.key(methods))
    for i, (ax, cell) in enumerate(zip(axes, cells, strict=True)):
        if cell is None:
            ax.remove()
            continue
        task, kind = cell
        _lines(ax, table[(table["task"] == task) & table["kind"].isin([kind, "test"])], methods)
        ax.set_ylim(0, 100)
        canvas.title(ax, kind)
        below = cells[i + columns] if i + columns < len(cells) else None
        if kind in plain:
            ax.set_xticks([0, 1], ["test", "shifted"])
            ax.set_xlim(-0.4, 1.4)
        canvas.label(
            ax, x="" if below or kind in plain else "severity", y="" if i % columns else f"{task}: accuracy (%)"
        )
    canvas.legend(figure, methods, heading="method", line=True)
    zero = "" if plain >= {kind for of_task in kinds.values() for kind in of_task} else " Severity 0: the test set."
    canvas.note(figure, f"{canvas.what_bars_are(table)}{zero}")
    return figure


def _lines(ax: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    for i, method in enumerate(methods):
        rows = table[table["method"] == method].sort_values("severity")
        x = rows["severity"].to_numpy(dtype=float) + (i - (len(methods) - 1) / 2) * 0.3 / len(methods)  # bars apart
        accuracy, low, high = (100 * rows[name].to_numpy(dtype=float) for name in ("accuracy", "low", "high"))
        looks = style(method)
        ax.vlines(x, low, high, color=looks.colour, linewidth=0.8, alpha=0.6)
        ax.plot(x, accuracy, **canvas.look(looks, 3.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
