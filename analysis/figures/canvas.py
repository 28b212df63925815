"""The sheet that every figure is drawn on: sizes, grid and legend in one place. Inches and points throughout.

Figures are made without pyplot, so that drawing one keeps no state and needs no display.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparable import require_columns
from analysis.palette import Style, style
from petl_study.errors import InputError

SMALL, NORMAL = 7.5, 8.5  # points: tick labels and notes; titles and axis labels
_LONGEST = 32  # letters of a name that are shown
_KEY_ROWS = 18  # methods below each other in a legend
_INK, _GRID = "#333333", "#E3E3E3"


def columns_of(count: int) -> int:
    """How many of `count` panels stand in a row: a sheet that is about as wide as high, and five at the most."""
    return count if count <= 3 else min(5, math.ceil(math.sqrt(count)))


def panels(
    count: int, *, columns: int, width: float, height: float, left: float = 0.0, right: float = 0.0, least: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each `width` x `height` inches, `columns` in a row.

    Parameters
    ----------
    left, right : float
        Inches more on the left, for the names beside the first panel; on the right, for a legend.
    least : float
        The height of the sheet at the least, such as for a legend.
    """
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(left + columns * width + right, max(rows * height, least)), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.07)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[count:]:
        ax.remove()
    for ax in axes[:count]:
        dress(ax)
    return figure, axes[:count]


def dress(ax: Axes) -> None:
    """The plain look of one panel."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set(color=_INK, linewidth=0.6)
    ax.tick_params(labelsize=SMALL, labelcolor=_INK, color=_INK, length=2.5, width=0.6)
    ax.grid(color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)


def plain(text: str) -> str:
    """`text` letter by letter: between dollar signs matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """`name`, plain, and cut to a length that fits beside an axis."""
    return plain(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")


def text_width(names: Iterable[str]) -> float:
    """Inches that the longest of `names` takes as a tick label, about."""
    return 0.065 * min(_LONGEST, max(map(len, names)))


def title(ax: Axes, text: str, note: str = "") -> None:
    """`text` in bold over the left edge of the panel, and `note` in grey over the right one."""
    ax.set_title(short(text), loc="left", fontsize=NORMAL, fontweight="bold", color=_INK)
    if note:
        ax.set_title(short(note), loc="right", fontsize=SMALL, color="#777777")


def ticks(axis: Axis, names: Sequence[str], *, shown: bool = True) -> None:
    """`names` at 0, 1, ...; without them where the panel beside shows them already."""
    axis.set_ticks(range(len(names)), [short(name) if shown else "" for name in names])


def label(ax: Axes, *, x: str = "", y: str = "") -> None:
    ax.set_xlabel(plain(x), fontsize=NORMAL, color=_INK)
    ax.set_ylabel(plain(y), fontsize=NORMAL, color=_INK)


def key_width(names: Collection[str]) -> float:
    """Inches that `legend` of `names` takes."""
    return (0.4 + text_width(names)) * _key_columns(names)


def key(names: Collection[str]) -> dict[str, float]:
    """What `panels` must be told for `legend` of `names` to fit."""
    return {"right": key_width(names), "least": 0.6 + 0.17 * min(len(names), _KEY_ROWS)}


def _key_columns(names: Collection[str]) -> int:
    return math.ceil(len(names) / _KEY_ROWS)


def legend(figure: Figure, names: Collection[str], *, heading: str, line: bool = False) -> None:
    """A key of the methods `names`, to the right of all panels."""
    handles = [Line2D([], [], linestyle="-" if line else "", **look(style(name))) for name in names]
    made = figure.legend(
        handles,
        [short(name) for name in names],
        loc="outside right upper",
        title=heading,
        fontsize=SMALL,
        title_fontsize=SMALL,
        frameon=False,
        ncols=_key_columns(names),
        labelcolor=_INK,
        alignment="left",
    )
    made.get_title().set_color(_INK)


def look(style: Style, size: float = 4.5) -> dict[str, Any]:
    """The keyword arguments of a line or marker in `style`."""
    return {
        "color": style.colour,
        "marker": style.marker,
        "markerfacecolor": style.face,
        "markeredgecolor": style.colour,
        "markersize": size * (1.5 if style.marker == "*" else 1.0),
        "linewidth": 1.0,
    }


def wrapped(text: str, inches: float, points: float) -> str:
    """`text` in lines that are no wider than `inches`, about, in type of `points`."""
    return textwrap.fill(text, max(20, int(inches / (0.0078 * points))), break_long_words=False)


def note(figure: Figure, text: str) -> None:
    """Small print under the panels, as wide as they are."""
    text = wrapped(plain(text), figure.get_figwidth(), SMALL)
    figure.supxlabel(text, fontsize=SMALL, color="#777777", x=0.01, ha="left")


def what_bars_are(table: pd.DataFrame, rows: pd.DataFrame | None = None) -> str:
    """What the intervals of `table` are, in words: its columns `level` and `interval`. And whether its seeds differ.

    `rows`: those of `table` whose intervals are drawn, where not all are.
    """
    drawn = table if rows is None else rows
    drawn = drawn[drawn["low"].notna()]
    if drawn.empty:
        return f"No intervals.{uneven_seeds(table)}"
    kinds = " or ".join(sorted(set(drawn["interval"]))) if "interval" in drawn else "paired bootstrap over examples"
    return f"Bars: {drawn['level'].iloc[0]:.0%} interval, {kinds}.{uneven_seeds(table)}"


def uneven_seeds(table: pd.DataFrame) -> str:
    """A sentence, with a space before, if the numbers of `table` rest on different numbers of seeds; else nothing.

    From its columns `fewest_seeds` and `most_seeds`, or `seeds`. Two protocols may differ.
    """
    fewest, most = ("fewest_seeds", "most_seeds") if "fewest_seeds" in table else ("seeds", "seeds")
    if not {fewest, most} <= set(table) or not pd.api.types.is_numeric_dtype(table[fewest]):
        return ""
    parts = [some for _, some in table.groupby("protocol")] if "protocol" in table else [table]
    differ = [(int(some[fewest].min()), int(some[most].max())) for some in parts]
    said = dict.fromkeys(f"{least} to {largest}" for least, largest in differ if least < largest)
    return f" Seeds differ: {' or '.join(said)} a task." if said else ""


def require_rows(table: pd.DataFrame, *columns: str) -> None:
    """Refuse a frame that a figure cannot be drawn of."""
    if table.empty:
        raise InputError("the table has no rows, so there is nothing to draw")
    require_columns(table, columns)


def require_single(table: pd.DataFrame, *columns: str) -> None:
    """As `require_rows`, for a figure that has no place for a second protocol: its marks would lie on the first's."""
    require_rows(table, *columns)
    protocols = sorted(set(table["protocol"])) if "protocol" in table else []
    if len(protocols) > 1:
        raise InputError(
            f"this figure shows one protocol; the table has {', '.join(protocols)}."
            " Draw one at a time, such as table[table.protocol == NAME]."
        )


def tasks(count: int) -> str:
    """So many tasks, in words."""
    return f"{count} task{'' if count == 1 else 's'}"


def task_order(table: pd.DataFrame) -> list[str]:
    """The tasks of `table` by group, where it has them, and name."""
    return list(dict.fromkeys(table.sort_values(["group", "task"] if "group" in table else ["task"])["task"]))
