"""Methods against each other: strengths, probabilities of improvement, interquartile means, the best and their like."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import counted, dots
from analysis.figures.matrix import heat_map, square


def strengths(table: pd.DataFrame) -> Figure:
    """A line a method, the strongest on top: its Bradley-Terry strength and interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.strengths`.
    """
    canvas.require_rows(table, "method", "strength", "tasks", "prior")
    tasks = f"{counted(table, 'tasks')} tasks, and {counted(table, 'prior')} on which all tie."
    note = f"{canvas.what_bars_are(table)} {tasks}"
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
    return dots(table, "interquartile_mean", label=label, unit=100, note=canvas.what_bars_are(table))


def probability_of_improvement(table: pd.DataFrame) -> Figure:
    """A row and a column a method: how likely the row is to be more accurate than the column; dotted where it is sure.

    Parameters
    ----------
    table : DataFrame
        From `analysis.probability_of_improvement`. Methods are in order of their mean probability, the best on top.
    """
    canvas.require_single(table, "method_a", "method_b", "probability", "low", "high", "level")
    methods = table.groupby("method_a")["probability"].mean().sort_values(ascending=False, kind="stable").index.tolist()
    low, high = (square(table, name, methods) for name in ("low", "high"))
    known = f"Dot: the {table['level'].iloc[0]:.0%} interval leaves out 50 %." if table["low"].notna().any() else ""
    return heat_map(
        pd.DataFrame(100 * square(table, "probability", methods), methods, methods),
        label="row is more accurate than column (% of tasks)",
        least=0,
        most=100,
        colours="PuOr_r",
        marked=(low > 0.5) | (high < 0.5),
        note=f"{known or 'No intervals.'}{canvas.uneven_seeds(table)}",
    )


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
    titles = [f"{scope} ({canvas.tasks(n)})" for scope, n in zip(table["scope"], table["tasks"], strict=True)]
    named = table.assign(panel=titles)
    powerless = sorted(set(table.loc[table["smallest_p"] >= 1 - level, "scope"]))
    note = (
        f"Shaded: not distinguishable from the best ({table['test'].iloc[0]} test, Holm, {level:.0%})."
        f" Bars: t interval over tasks.{canvas.uneven_seeds(table)}"
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
