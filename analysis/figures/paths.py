"""What lies between two tuned models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.connectivity import barriers_by_method
from analysis.figures import canvas, matrix
from analysis.figures.key import key
from analysis.palette import ordered, style
from petl_study.errors import unknown

_INK, _GREY = "#333333", "#999999"
_AXES = {"loss": ("loss (nats)", 1.0), "accuracy": ("accuracy (%)", 100.0)}
_BARRIERS = {"loss_barrier": ("loss barrier (nats)", 1.0), "error_barrier": ("error barrier (% points)", 100.0)}
_READABLE = 12  # methods: beyond that, numbers in cells would touch


def linear_paths(table: pd.DataFrame, measure: str = "loss") -> Figure:
    """A panel a pair of runs: loss or accuracy of the weights in between, and of the ensemble in between.

    Parameters
    ----------
    table : DataFrame
        From `analysis.linear_paths`, of a few pairs.
    measure : str
        ``loss`` or ``accuracy``.
    """
    if measure not in _AXES:
        raise unknown("measure", measure, _AXES)
    ensemble = f"ensemble_{measure}"
    canvas.require_rows(table, "run_a", "run_b", "method_a", "method_b", "seed_a", "seed_b", "t", measure, ensemble)
    table = table if "task" in table else table.assign(task="")
    axis, factor = _AXES[measure]
    pairs = list(table.groupby(["task", "run_a", "run_b"], sort=False))
    columns = canvas.columns_of(len(pairs))
    figure, axes = canvas.panels(len(pairs), columns=columns, width=2.5, height=2.2, right=1.6)
    for i, (ax, ((task, _, _), path)) in enumerate(zip(axes, pairs, strict=True)):
        path = path.sort_values("t")
        t, of_model, of_both = (path[name].to_numpy(dtype=float) for name in ("t", measure, ensemble))
        ax.plot(t[[0, -1]], factor * of_model[[0, -1]], color=_GREY, linewidth=0.9, linestyle=":")
        ax.plot(t, factor * of_both, color=_GREY, linewidth=1.1, linestyle="--")
        ax.plot(t, factor * of_model, color=_INK, linewidth=1.2, marker=".", markersize=4)
        for method, place in ((path["method_a"].iloc[0], 0), (path["method_b"].iloc[0], -1)):
            ax.plot(t[place], factor * of_model[place], **canvas.look(style(method), 6), zorder=3)
        ax.set_xticks([0, 0.5, 1], [canvas.short(_end(path, "a")), "", canvas.short(_end(path, "b"))])
        left, _, right = ax.get_xticklabels()
        left.set_horizontalalignment("left")
        right.set_horizontalalignment("right")
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
        canvas.title(ax, str(task))
        canvas.label(ax, y=axis if i % columns == 0 else "")
    lines = [
        Line2D([], [], linestyle="-", color=_INK, label="weights in between"),
        Line2D([], [], linestyle="--", color=_GREY, label="logits in between"),
        Line2D([], [], linestyle=":", color=_GREY, label="between the ends"),
    ]
    key(figure, lines, heading=measure)
    barrier = "A barrier: weights worse than the dotted line."
    canvas.note(figure, f"Across: from one model (left) to the other. {barrier} Single runs, one set: no intervals.")
    return figure


def barrier_heat_map(table: pd.DataFrame, measure: str = "loss_barrier") -> Figure:
    """A panel a task: the barrier between every two methods, below the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.barriers_by_method`. Of a table of pairs of runs, from `analysis.barriers`, the means by method
        are drawn. The diagonal, where a method has several seeds, is the baseline. A dot marks a barrier whose interval
        leaves out 0.
    measure : str
        ``loss_barrier`` or ``error_barrier``.
    """
    if measure not in _BARRIERS:
        raise unknown("measure", measure, _BARRIERS)
    canvas.require_rows(table, "method_a", "method_b", measure)
    label, factor = _BARRIERS[measure]
    table = barriers_by_method(table) if "run_a" in table else table
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered([*table["method_a"], *table["method_b"]])
    several = bool((table["method_a"] == table["method_b"]).any())
    shown = (slice(0 if several else 1, None), slice(None if several else -1))  # without seeds, no diagonal
    down, across = methods[shown[0]], methods[shown[1]]
    size, names = max(1.7, 0.36 * len(methods)), canvas.text_width(methods)
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(
        len(tasks), columns=columns, width=size + 0.3 + names, height=size + 0.4 + names, right=0.8
    )
    ends = [f"{measure.removesuffix('_barrier')}_{end}" for end in ("low", "high")]
    canvas.require_rows(table, *ends)
    reach = factor * float(table[measure].abs().max())
    digits = 1 if reach >= 10 else 2 if reach >= 0.1 else 3
    for ax, task in zip(axes, tasks, strict=True):
        of_task = table[table["task"] == task]
        heights = factor * matrix.square(of_task, measure, methods)[shown]
        heights[np.triu_indices(len(down), k=1)] = np.nan
        heights = heights.round(digits) + 0.0  # no -0
        image = matrix.cells(ax, heights, down, across, least=-reach, most=reach, colours="PuOr_r")
        if len(methods) <= _READABLE:
            matrix.numbers(ax, image, f"{{:.{digits}f}}", size=5.5)
        low, high = (matrix.square(of_task, name, methods)[shown] for name in ends)
        y, x = np.nonzero(((low > 0) | (high < 0)) & np.isfinite(heights))
        aside = 0.36 if len(methods) <= _READABLE else 0.0  # beside the number
        ax.scatter(x + aside, y + aside, s=3.5, color=matrix.ink(image)[y, x], linewidths=0)
        canvas.title(ax, task)
    matrix.bar(figure, image, axes, label)
    diagonal = " Diagonal: one method under two seeds." if several else ""
    canvas.note(figure, f"Below 0: no barrier.{diagonal} {_what_dots_are(table, ends[0])}")
    return figure


def _what_dots_are(table: pd.DataFrame, low: str) -> str:
    if table[low].isna().all():
        return "No intervals: too few seeds."
    kinds = " or ".join(sorted(set(table["interval"]) - {"none"}))
    return f"Dot: the {table['level'].iloc[0]:.0%} interval, {kinds}, leaves out 0."


def _end(path: pd.DataFrame, side: str) -> str:
    """The method at one end; its seed, too, where both ends are of one method."""
    first = path.iloc[0]
    method, seed = first[f"method_{side}"], first[f"seed_{side}"]
    return f"{method} {seed}" if first["method_a"] == first["method_b"] else str(method)
