"""Methods against each other: strengths, probabilities of improvement, interquartile means, the best and their like."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas, matrix
from analysis.figures.dots import bars_note, counted, dots


def strengths(table: pd.DataFrame) -> Figure:
    """A line a method, the strongest on top: its Bradley-Terry strength and interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.strengths`.
    """
    canvas.require_rows(table, "method", "strength", "tasks", "prior")
    note = f"{bars_note(table)} {counted(table, 'tasks')} tasks, and {counted(table, 'prior')} on which all tie."
    label = "Bradley-Terry strength (log-odds of winning against the average)"
    return dots(table, "strength", label=label, reference=0.0, note=note)


def interquartile_means(table: pd.DataFrame) -> Figure:
    """A line a method, the best on top: its interquartile mean accuracy and interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.interquartile_means`. Where other tasks are drawn, the intervals of all methods move together, so
        that they overlap more than the methods' differences would.
    """
    canvas.require_rows(table, "method", "interquartile_mean", "tasks")
    label = f"interquartile mean of test accuracy over {counted(table, 'tasks')} tasks (%)"
    return dots(table, "interquartile_mean", label=label, unit=100, note=bars_note(table))


def probability_of_improvement(table: pd.DataFrame) -> Figure:
    """A row and a column a method: how likely the row is to be more accurate than the column; dotted where it is sure.

    Parameters
    ----------
    table : DataFrame
        From `analysis.probability_of_improvement`. Methods are in order of their mean probability, the best on top.
    """
    canvas.require_rows(table, "method_a", "method_b", "probability", "low", "high", "level")
    methods = table.groupby("method_a")["probability"].mean().sort_values(ascending=False, kind="stable").index.tolist()
    square = {
        name: table.pivot_table(index="method_a", columns="method_b", values=name, dropna=False)
        .reindex(index=methods, columns=methods)
        .to_numpy(dtype=float)
        for name in ("probability", "low", "high")
    }
    size, names = max(1.8, matrix.CELL * len(methods)), canvas.text_width(methods)
    figure, [ax] = canvas.panels(1, columns=1, width=size + 0.3, height=size + 0.5 + names, left=names, right=0.9)
    image = matrix.cells(ax, 100 * square["probability"], methods, methods, least=0, most=100, colours="PuOr_r")
    sure = (square["low"] > 0.5) | (square["high"] < 0.5)
    y, x = np.nonzero(sure)
    ax.scatter(x, y, s=5, color=matrix.ink(image)[y, x])
    matrix.bar(figure, image, [ax], "row is more accurate than column (% of tasks)")
    note = "" if table["low"].isna().all() else f"Dot: the {table['level'].iloc[0]:.0%} interval leaves out 50 %."
    canvas.note(figure, note)
    return figure


def best_sets(table: pd.DataFrame) -> Figure:
    """A panel a scope, a line a method: how far it is behind the best; shaded are those that cannot be told from it.

    Parameters
    ----------
    table : DataFrame
        From `analysis.best_sets`. Methods are in one order, by their mean rank over all tasks.
    """
    canvas.require_rows(table, "scope", "method", "behind", "in_best_set", "test", "level", "smallest_p", "tasks")
    whole = table[table["scope"] == "all tasks"]
    order = (whole if len(whole) else table)["method"].drop_duplicates().tolist()
    level = table["level"].iloc[0]
    tasks = table.groupby("scope")["tasks"].first()
    named = table.assign(panel=[f"{scope} ({tasks[scope]} tasks)" for scope in table["scope"]])
    powerless = sorted(set(table.loc[table["smallest_p"] >= 1 - level, "scope"]))
    note = (
        f"Shaded: not distinguishable from the best ({table['test'].iloc[0]} test, Holm, {level:.0%})."
        " Bars: t interval over tasks."
    )
    if powerless:
        note += f" Too few tasks to tell: {', '.join(powerless)}."
    return dots(
        named,
        "behind",
        panel="panel",
        order=order,
        unit=100,
        label="behind the best (percentage points)",
        reference=0.0,
        shade="in_best_set",
        note=note,
    )
