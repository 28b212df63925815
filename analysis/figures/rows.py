"""A row a method, and in it a mark a run: the shape of every figure that compares runs by one number."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.palette import ordered, style


def sheet(methods: list[str], *, panels: int = 1, width: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure with a row for each of `methods`, the first on top, and `panels` side by side."""
    height = 0.9 + 0.2 * len(methods)
    figure, axes = canvas.panels(panels, columns=panels, width=width, height=height, left=canvas.text_width(methods))
    for i, ax in enumerate(axes):
        canvas.ticks(ax.yaxis, methods, shown=i == 0)
        ax.set_ylim(len(methods) - 0.4, -0.6)
    return figure, axes


def marks(
    ax: Axes, table: pd.DataFrame, methods: list[str], column: str, *, scale: float = 1.0, filled: bool | None = None
) -> None:
    """`column` of every run, and its interval where `table` has `low` and `high`. The seeds of a method lie apart.

    `filled` overrules the palette where being filled has a meaning of its own.
    """
    for y, method in enumerate(methods):
        of_method = table[table["method"] == method]
        looks = canvas.look(style(method))
        if filled is not None:
            looks["markerfacecolor"] = looks["color"] if filled else "white"
        for at, row in zip(offsets(len(of_method)), of_method.to_dict("records"), strict=True):
            if {"low", "high"} <= set(row):
                ax.plot([scale * row["low"], scale * row["high"]], [y + at] * 2, color=looks["color"], linewidth=1.0)
            ax.plot(scale * row[column], y + at, **looks)


def panel_width(methods: list[str]) -> float:
    """Inches of a panel that is titled with one of `methods`."""
    return max(1.75, 0.5 + 1.2 * canvas.text_width(methods))


def by_value(table: pd.DataFrame, column: str, *, ascending: bool) -> list[str]:
    """The methods by the mean of `column`; of equal ones, as the palette has them."""
    means = table.groupby("method")[column].mean().reindex(ordered(table["method"]))
    return means.sort_values(ascending=ascending, kind="stable").index.tolist()


def offsets(count: int) -> list[float]:
    """Where `count` marks of one row stand, around 0."""
    step = min(0.22, 0.7 / max(1, count))
    return [(i - (count - 1) / 2) * step for i in range(count)]
