"""A table as coloured cells: rows down, columns across, each cell large enough for its number or its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from analysis.figures import canvas

CELL = 0.19  # inches: a line of small print
WIDE = 0.24  # inches: room for a number of two digits


def heat_map(
    values: pd.DataFrame,
    *,
    label: str,
    least: float,
    most: float,
    colours: str,
    marked: NDArray[np.bool_] | None = None,
    number: str = "",
    note: str = "",
) -> Figure:
    """One table on a sheet of its own: its index down, its columns across.

    Parameters
    ----------
    label : str
        What the colours, from `least` to `most`, are of, and its unit.
    marked : (rows, columns) bool, optional
        The cells that have a dot.
    number : str
        How the numbers in the cells are written, such as ``{:.0f}``; none where it is empty.
    """
    down, across = [str(name) for name in values.index], [str(name) for name in values.columns]
    width = max(2.0, (WIDE if number else CELL) * len(across)) + 0.3
    tall, left, right = max(1.6, CELL * len(down)), canvas.text_width(down), 1.0
    below = canvas.wrapped(note, left + width + right, canvas.SMALL)
    height = tall + 0.5 + canvas.text_width(across) + 0.15 * len(below.splitlines())
    figure, [ax] = canvas.panels(1, columns=1, width=width, height=height, left=left, right=right)
    image = cells(ax, values.to_numpy(dtype=float), down, across, least=least, most=most, colours=colours)
    if marked is not None:
        y, x = np.nonzero(marked)
        ax.scatter(x, y, s=5, color=ink(image)[y, x])
    if number:
        numbers(ax, image, number)
    bar(figure, image, [ax], canvas.wrapped(label, tall, canvas.NORMAL), beyond=bool((values > most).any(axis=None)))
    if note:
        canvas.note(figure, note)
    return figure


def square(table: pd.DataFrame, value: str, order: list[str]) -> NDArray[np.float64]:
    """`value` of every `method_a` (down) with every `method_b` (across), in this order; NaN where there is none."""
    cells_of = table.pivot_table(index="method_a", columns="method_b", values=value, dropna=False)
    return cells_of.reindex(index=order, columns=order).to_numpy(dtype=float)


def cells(
    ax: Axes,
    matrix: NDArray[np.float64],
    down: Sequence[str],
    across: Sequence[str],
    *,
    least: float,
    most: float,
    colours: str = "cividis",
) -> AxesImage:
    """Draw `matrix` on `ax`, names beside the rows and upright below the columns. NaN stays white."""
    # Exactly square cells would need the layout done again and again to settle; the sheet makes them about square.
    image = ax.imshow(matrix, cmap=colours, vmin=least, vmax=max(most, least + 1e-9), aspect="auto")
    canvas.ticks(ax.xaxis, across)
    canvas.ticks(ax.yaxis, down)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.tick_params(axis="x", rotation=90)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def ink(image: AxesImage) -> NDArray[np.str_]:
    """Black on the bright cells of `image` and white on the dark ones: (rows, columns)."""
    red, green, blue, _ = np.moveaxis(np.asarray(image.cmap(image.norm(shown(image)))), -1, 0)
    return np.where(0.299 * red + 0.587 * green + 0.114 * blue > 0.5, "#111111", "#FFFFFF")


def shown(image: AxesImage) -> np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]:
    """The numbers behind the cells."""
    return np.ma.asarray(image.get_array())


def numbers(ax: Axes, image: AxesImage, text: str, *, size: float = 6.0) -> None:
    """Write every cell's number into it, as `text` formats it."""
    colours = ink(image)
    for (y, x), value in np.ndenumerate(shown(image).filled(np.nan)):
        if not np.isnan(value):
            ax.text(x, y, text.format(value), ha="center", va="center", fontsize=size, color=colours[y, x])


def bar(figure: Figure, image: AxesImage, axes: Sequence[Axes], label: str, *, beyond: bool = False) -> None:
    """The key of the colours, on the right; `beyond`: there are cells above its end."""
    drawn = figure.colorbar(image, ax=list(axes), shrink=0.7, aspect=25, extend="max" if beyond else "neither")
    drawn.set_label(canvas.plain(label), fontsize=canvas.NORMAL, color="#333333")
    drawn.ax.tick_params(labelsize=canvas.SMALL, length=2.5)
    drawn.outline.set_visible(False)
