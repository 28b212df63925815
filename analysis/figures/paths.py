"""What lies between two tuned models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

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
    canvas.note(figure, "Across: from one model (left) to the other. A barrier: weights worse than the dotted line.")
    return figure


def barrier_heat_map(table: pd.DataFrame, measure: str = "loss_barrier") -> Figure:
    """A panel a task: the barrier between every two methods, below the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.barriers_by_method`. The diagonal, where a method has several seeds, is the baseline.
    measure : str
        ``loss_barrier`` or ``error_barrier``.
    """
    if measure not in _BARRIERS:
        raise unknown("measure", measure, _BARRIERS)
    canvas.require_rows(table, "method_a", "method_b", measure)
    label, factor = _BARRIERS[measure]
    table = table if "task" in table else table.assign(task="")
    tasks, methods = list(dict.fromkeys(table["task"])), ordered([*table["method_a"], *table["method_b"]])
    several = bool((table["method_a"] == table["method_b"]).any())
    down, across = (methods, methods) if several else (methods[1:], methods[:-1])
    size, names = max(1.7, 0.36 * len(methods)), canvas.text_width(methods)
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(
        len(tasks), columns=columns, width=size + 0.3 + names, height=size + 0.4 + names, right=0.8
    )
    reach = factor * float(table[measure].abs().max())
    digits = 1 if reach >= 10 else 2 if reach >= 0.1 else 3
    for ax, task in zip(axes, tasks, strict=True):
        of_task = table[table["task"] == task].pivot_table(index="method_a", columns="method_b", values=measure)
        heights = factor * of_task.reindex(index=down, columns=across).to_numpy()
        heights[np.triu_indices(len(down), k=1)] = np.nan
        heights = heights.round(digits) + 0.0  # no -0
        image = matrix.cells(ax, heights, down, across, least=-reach, most=reach, colours="PuOr_r")
        if len(methods) <= _READABLE:
            matrix.numbers(ax, image, f"{{:.{digits}f}}", size=5.5)
        canvas.title(ax, task)
    matrix.bar(figure, image, axes, label)
    canvas.note(figure, "Below 0: no barrier." + (" Diagonal: one method under two seeds." if several else ""))
    return figure


def _end(path: pd.DataFrame, side: str) -> str:
    """The method at one end; its seed, too, where both ends are of one method."""
    first = path.iloc[0]
    method, seed = first[f"method_{side}"], first[f"seed_{side}"]
    return f"{method} {seed}" if first["method_a"] == first["method_b"] else str(method)
