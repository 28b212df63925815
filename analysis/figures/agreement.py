"""How alike every two methods are."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from analysis.agreement import by_method
from analysis.clustering import Clustering
from analysis.figures import canvas, matrix
from analysis.palette import ordered
from petl_study.errors import unknown

# What the scale says, and by what a fraction is multiplied for it.
MEASURES = {
    "disagreement": ("disagreement (% of test examples)", 100.0),
    "kappa": ("Cohen's kappa (1: always agree)", 1.0),
    "error_consistency": ("error consistency (1: the same errors)", 1.0),
    "q_statistic": ("Yule's Q (1: errors alike)", 1.0),
    "double_fault": ("both wrong (% of test examples)", 100.0),
    "error_jaccard": ("errors in common (Jaccard index)", 1.0),
    "correct_jaccard": ("surely correct in common (Jaccard index)", 1.0),
    "wrong_jaccard": ("unsurely wrong in common (Jaccard index)", 1.0),
    "confident_wrong_jaccard": ("surely wrong in common (Jaccard index)", 1.0),
}
_READABLE = 12  # methods: beyond that, numbers in cells would touch


def disagreement_heat_map(table: pd.DataFrame, measure: str | None = None) -> Figure:
    """A panel a task, in the order of the table: one measure of every two methods, below the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.disagreement_by_method` or `analysis.confidence_overlap_by_method`; of several tasks if it has a
        column `task`. Of a table of pairs of runs the means by method are drawn. The diagonal, where a method has
        several seeds, is the method with itself: what the rest is to be compared with. A dot marks what is told apart
        from it, where the table has intervals.
    measure : str, optional
        The column to draw; by default the first of the table.
    """
    canvas.require_rows(table, "method_a", "method_b")
    measure = next((name for name in MEASURES if name in table), "disagreement") if measure is None else measure
    text, scale = _described(measure)
    canvas.require_rows(table, measure)
    table = by_method(table, [measure]) if "run_a" in table else table
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered(table["method_a"])
    size, names = max(1.7, 0.3 * len(methods)), canvas.text_width(methods)
    columns = canvas.columns_of(len(tasks))
    several = bool((table["method_a"] == table["method_b"]).any())
    note, width = f"{_diagonal(several)} {_what_dots_are(table, measure)}", size + 0.3
    lines = len(canvas.wrapped(note, names + columns * width + 0.7, canvas.SMALL).splitlines())
    height = size + 0.3 + names + 0.13 * lines / math.ceil(len(tasks) / columns)
    figure, axes = canvas.panels(len(tasks), columns=columns, width=width, height=height, left=names, right=0.7)
    ends = _ends(scale * table[measure].to_numpy(dtype=np.float64))
    down, across = (methods, methods) if several else (methods[1:], methods[:-1])  # without seeds, no diagonal
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        of_task = table[table["task"] == task]
        values = scale * _values(of_task, measure, down, across)
        values[np.triu_indices(len(down), k=1)] = np.nan
        image = _drawn(ax, values, down if i % columns == 0 else [""] * len(down), across, ends, scale)
        _dots(ax, image, of_task, measure, down, across)
        canvas.title(ax, task)
    matrix.bar(figure, image, axes, text.replace(" (", "\n("))
    canvas.note(figure, note)
    return figure


def agreement_clusters(table: pd.DataFrame, clustering: Clustering) -> Figure:
    """Methods in the order of their dendrogram, which stands on top: alike ones side by side.

    Parameters
    ----------
    table : DataFrame
        The one that was clustered; with a column `task`, its mean over the tasks is drawn.
    clustering : Clustering
        From `analysis.cluster_methods`.
    """
    measure = clustering.measure
    text, scale = _described(measure)
    canvas.require_rows(table, "method_a", "method_b", measure)
    order = clustering.order
    values = scale * _values(table, measure, order, order)
    size, names = max(2.2, 0.22 * len(order)), canvas.text_width(order)
    figure = Figure(figsize=(size + names + 1.2, size + names + 1.4), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.03)
    tree, ax = figure.subplots(2, 1, sharex=True, height_ratios=[1, size])
    canvas.dress(ax)
    image = _drawn(ax, values, order, order, _ends(values), scale)
    one_task = not table.duplicated(["method_a", "method_b"]).any()
    if one_task:
        _dots(ax, image, table, measure, order, order)
    _tree(tree, clustering, scale)
    matrix.bar(figure, image, [ax], text.replace(" (", "\n("))
    several = np.isfinite(values.diagonal()).any()
    mean = ", mean over the tasks" if "task" in table and len(set(table["task"])) > 1 else ""
    dots = _what_dots_are(table, measure) if one_task else ""
    canvas.note(figure, f"Average linkage{mean}. {_diagonal(bool(several))} {dots}")
    return figure


def _described(measure: str) -> tuple[str, float]:
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    return MEASURES[measure]


def _values(table: pd.DataFrame, measure: str, down: list[str], across: list[str]) -> NDArray[np.float64]:
    cells = table.pivot_table(index="method_a", columns="method_b", values=measure, dropna=False)
    return cells.reindex(index=down, columns=across).to_numpy(dtype=np.float64, copy=True)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """Of the scale: from 0, or below where something is, to the most there is."""
    known = values[np.isfinite(values)]
    return (min(0.0, *known), max(1e-9, *known)) if len(known) else (0.0, 1.0)


def _dots(ax: Axes, image: AxesImage, table: pd.DataFrame, measure: str, down: list[str], across: list[str]) -> None:
    """A dot in every cell that is drawn and whose difference from seeds has an interval without 0."""
    if f"{measure}_beyond_low" not in table:
        return
    low, high = (_values(table, f"{measure}_beyond_{end}", down, across) for end in ("low", "high"))
    y, x = np.nonzero(((low > 0) | (high < 0)) & ~matrix.shown(image).mask)
    aside = 0.36 if len(across) <= _READABLE else 0.0  # beside the number
    ax.scatter(x + aside, y + aside, s=3.5, color=matrix.ink(image)[y, x], linewidths=0)


def _diagonal(several: bool) -> str:
    return "Diagonal: one method under two seeds." if several else "One seed: no method beside itself."


def _what_dots_are(table: pd.DataFrame, measure: str) -> str:
    if f"{measure}_beyond_low" not in table:
        return "No intervals."
    if table[f"{measure}_beyond_low"].isna().all():
        return "No intervals of the difference from seeds."
    level, interval = table["level"].iloc[0], table["interval"].iloc[0]
    return f"Dot: told apart from seeds (the {level:.0%} interval of the difference, {interval}, leaves out 0)."


def _drawn(
    ax: Axes,
    values: NDArray[np.float64],
    down: list[str],
    across: list[str],
    ends: tuple[float, float],
    scale: float,
) -> AxesImage:
    image = matrix.cells(ax, values, down, across, least=ends[0], most=ends[1])
    if len(across) <= _READABLE:
        matrix.numbers(ax, image, "{:.1f}" if scale == 100 else "{:.2f}", size=6.5)
    return image


def _tree(ax: Axes, clustering: Clustering, scale: float) -> None:
    drawn = hierarchy.dendrogram(clustering.linkage, no_plot=True)
    for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        ax.plot((np.array(x) - 5) / 10, scale * np.array(y), color="#333333", linewidth=0.8)
    canvas.dress(ax)
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="x", length=0, labelbottom=False)
    ax.locator_params(axis="y", nbins=3)
    ax.set_ylim(0, None)
    canvas.label(ax, y="distance" + (" (%)" if scale == 100 else ""))
