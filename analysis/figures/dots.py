"""The plainest figure of all: a line for every method, a dot for its value, a bar for its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas
from analysis.palette import Style, style

_PLAIN = Style("#0072B2", "o")  # of rows that are no methods
_SHADE = "#EEF3F7"


def dots(
    table: pd.DataFrame,
    value: str,
    *,
    label: str,
    rows: str = "method",
    looks: str = "method",
    order: Sequence[str] | None = None,
    panel: str | None = None,
    panels: Sequence[Any] | None = None,
    subtitle: str | None = None,
    unit: float = 1.0,
    reference: float | None = None,
    tick: str | None = None,
    beside: str | None = None,
    shade: str | None = None,
    note: str = "",
) -> Figure:
    """A panel a value of the column `panel` (one in all where it is None), a line a value of the column `rows`.

    Parameters
    ----------
    value : str
        The column that is drawn, times `unit`, with its `low` and `high`. `label` names it and its unit.
    looks : str
        The column of the methods whose look the rows have; where there is none, all look alike.
    order : sequence, optional
        The rows, the first on top; as they first occur in `table` by default.
    panels : sequence, optional
        The panels in order, likewise.
    subtitle : str, optional
        A column whose value, one a panel, stands in grey beside its title.
    reference : float, optional
        Where a vertical line stands, in the unit of the axis.
    tick : str, optional
        A column that is marked by a short upright stroke, such as what chance alone would give.
    beside : str, optional
        A column of short texts that stand on the right of their rows.
    shade : str, optional
        A column of booleans: the rows that stand on a shaded ground.

    A table of several protocols, from `analysis.by_protocol`, has a panel for each where no other is asked for.
    """
    if panel is None and "protocol" in table:
        panel = "protocol"
    check = canvas.require_rows if panel == "protocol" else canvas.require_single
    check(table, rows, value, "low", "high", *([panel] if panel else []))
    order = list(dict.fromkeys(table[rows])) if order is None else list(order)
    order = order[::-1]  # the first on top
    split = [None] if panel is None else list(dict.fromkeys(table[panel]) if panels is None else panels)
    columns = canvas.columns_of(len(split))
    width, left = 3.6 if len(split) == 1 else 2.3, canvas.text_width(order)
    width += canvas.text_width(table[beside]) if beside else 0.0
    label = canvas.wrapped(label, width, canvas.NORMAL)
    below = canvas.wrapped(note, left + columns * width, canvas.SMALL)
    lines = label.count("\n") + len(below.splitlines())  # once a sheet, and shared by its rows of panels
    height = (0.6 if panel is None else 0.8) + 0.19 * len(order) + 0.15 * lines / math.ceil(len(split) / columns)
    figure, axes = canvas.panels(len(split), columns=columns, width=width, height=height, left=left)
    for i, (ax, name) in enumerate(zip(axes, split, strict=True)):
        some = table if panel is None else table[table[panel] == name]
        if reference is not None:
            ax.axvline(reference, color="#333333", linewidth=0.8)
        _draw(ax, some, value, rows=rows, looks=looks, order=order, unit=unit, tick=tick, beside=beside, shade=shade)
        canvas.ticks(ax.yaxis, order, shown=i % columns == 0)
        ax.set_ylim(-0.6, len(order) - 0.4)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7 if len(split) == 1 else 5))
        if panel is not None:
            canvas.title(ax, str(name), str(some[subtitle].iloc[0]) if subtitle else "")
        canvas.label(ax, x=label if i >= len(split) - columns else "")
    if note:
        canvas.note(figure, note)
    return figure


def _draw(
    ax: Axes,
    table: pd.DataFrame,
    value: str,
    *,
    rows: str,
    looks: str,
    order: Sequence[str],
    unit: float,
    tick: str | None,
    beside: str | None,
    shade: str | None,
) -> None:
    styles = [style(name) for name in table[looks]] if looks in table else [_PLAIN] * len(table)
    y = [order.index(name) for name in table[rows]]
    if shade:
        for place in (place for place, shaded in zip(y, table[shade], strict=True) if shaded):
            ax.axhspan(place - 0.5, place + 0.5, color=_SHADE, zorder=0)
    if tick:
        ends = [place - 0.35 for place in y], [place + 0.35 for place in y]
        ax.vlines(unit * table[tick], *ends, color="#555555", linewidth=1.0)
    ax.hlines(y, unit * table["low"], unit * table["high"], colors=[look.colour for look in styles], linewidth=1.2)
    for place, found, look in zip(y, unit * table[value], styles, strict=True):
        ax.plot(found, place, **canvas.look(look))
    if beside:
        for place, text in zip(y, table[beside], strict=True):
            ax.text(1.02, place, canvas.short(text), transform=ax.get_yaxis_transform(), va="center",
                    fontsize=canvas.SMALL, color="#555555")  # fmt: skip


def counted(table: pd.DataFrame, column: str) -> str:
    """How many there are: one number, or several where the table's parts differ."""
    return " or ".join(f"{count:g}" for count in sorted(set(table[column])))
