"""Search budget: what n trials find, how methods rank with them, and whether larger searches rank better."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.figures import canvas
from analysis.figures.dots import counted, dots
from analysis.palette import ordered, style
from petl_study.errors import InputError


def expected_best(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: expected best validation accuracy after n trials.

    Parameters
    ----------
    table : DataFrame
        From `analysis.expected_best`. A line ends, with its method's marker, where the search does. `low` and `high`
        are not drawn: sixteen bands would hide each other.
    """
    canvas.require_single(table, "task", "method", "budget", "expected")
    tasks = canvas.task_order(table)
    methods = ordered(table["method"])
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=2.1, height=2.1, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        some = table[table["task"] == task]
        for method in methods:
            curve = some[some["method"] == method].sort_values("budget")
            looks = canvas.look(style(method), 3.5)
            ax.plot(curve["budget"], 100 * curve["expected"], **looks, markevery=[-1] if len(curve) else None)
        _trials(ax, int(table["budget"].max()))
        canvas.title(ax, task)
        x = "trials" if i >= len(tasks) - columns else ""
        canvas.label(ax, x=x, y="expected best, val (%)" if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, "Exact expectation over which of the trials are drawn. Scales differ between tasks.")
    return figure


def ranks_at_budget(table: pd.DataFrame) -> Figure:
    """A line a method: mean rank by validation if every search had n trials; hollow where the method has no more.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ranks_at_budget`.
    """
    canvas.require_single(table, "budget", "method", "mean_rank", "exhausted", "tasks")
    methods = ordered(table["method"])
    figure, [ax] = canvas.panels(1, columns=1, width=4.2, height=3.2, **canvas.key(methods))
    for method in methods:
        curve = table[table["method"] == method].sort_values("budget")
        looks = canvas.look(style(method), 4.5)
        ax.plot(curve["budget"], curve["mean_rank"], color=looks["color"], linewidth=1.0)
        for hollow, some in curve.groupby("exhausted"):
            face = {"markerfacecolor": "#FFFFFF"} if hollow else {}
            ax.plot(some["budget"], some["mean_rank"], **{**looks, "linestyle": "", **face})
    _trials(ax, int(table["budget"].max()))
    ax.invert_yaxis()
    canvas.label(ax, x="trials of every search", y=f"mean rank over {canvas.tasks(table['tasks'].iloc[0])} (1: best)")
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, "Hollow: the method's search has no more trials.")
    return figure


def rank_and_budget(table: pd.DataFrame) -> Figure:
    """A mark a method: mean rank against the size of its search.

    Parameters
    ----------
    table : DataFrame
        From `analysis.rank_and_budget`.
    """
    canvas.require_single(table, "method", "search_trials", "mean_rank", "low", "high", "tasks")
    methods = ordered(table["method"])
    figure, [ax] = canvas.panels(1, columns=1, width=3.8, height=3.0, **canvas.key(methods))
    for row in table.to_dict("records"):
        looks = style(row["method"])
        ax.plot([row["search_trials"]] * 2, [row["low"], row["high"]], color=looks.colour, linewidth=0.7, alpha=0.7)
        ax.plot(row["search_trials"], row["mean_rank"], **canvas.look(looks, 5.5))
    _trials(ax, int(table["search_trials"].max()))
    ax.invert_yaxis()
    y = f"mean rank over {canvas.tasks(table['tasks'].iloc[0])} (1: best)"
    canvas.label(ax, x="trials of its search (mean over tasks)", y=y)
    canvas.legend(figure, methods, heading="method")
    canvas.note(figure, canvas.what_bars_are(table))
    return figure


def budget_correlation(table: pd.DataFrame) -> Figure:
    """A line a scope: the rank correlation of the size of a method's search with its mean rank.

    Parameters
    ----------
    table : DataFrame
        From `analysis.budget_correlation`. Left of the line: methods with larger searches rank better.
    """
    canvas.require_rows(table, "scope", "spearman", "low", "high", "methods", "tasks")
    if table["spearman"].isna().all():
        raise InputError("no correlation to draw: every method had equally many trials, or ranks like every other")
    named = [f"{scope} ({canvas.tasks(n)})" for scope, n in zip(table["scope"], table["tasks"], strict=True)]
    return dots(
        table.assign(scope=named),
        "spearman",
        rows="scope",
        label=f"rank correlation of search size and mean rank over {counted(table, 'methods')} methods (Spearman)",
        reference=0.0,
        note=f"{canvas.what_bars_are(table)} Below 0: larger searches rank better.",
    )


def _trials(ax: Axes, most: int) -> None:
    """A logarithmic axis from 1 to `most` trials, with whole numbers for ticks."""
    ax.set_xscale("log")
    ticks = [n for n in (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000) if n <= 1.2 * most]
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0.85, 1.2 * max(most, 2))
