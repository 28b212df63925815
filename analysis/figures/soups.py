"""What averaging weights gains."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import canvas
from analysis.figures.key import key
from analysis.palette import Style

_COLOURS = {"folded": "#0072B2", "tuned": "#D55E00"}
_MARKERS = {"uniform": "o", "greedy": "^"}


def soup_gain(table: pd.DataFrame) -> Figure:
    """A panel a comparison, a mark a soup: gain in accuracy and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.soup_gain`. Several of them stand in rows of their own if they are told apart by a column `task`,
        a column `of` (what was averaged, such as ``lora, 3 seeds``), or both.
    """
    canvas.require_rows(table, "soup", "against", "gain", "low", "high", "level")
    apart = [name for name in ("task", "of") if name in table]
    table = table.assign(row=table[apart].astype(str).agg(": ".join, axis=1) if apart else "")
    rows = list(dict.fromkeys(table["row"]))[::-1]  # the first on top
    soups, against = (list(dict.fromkeys(table[name])) for name in ("soup", "against"))
    names = {soup: soup.removeprefix("soup:").replace(":", ", ") for soup in soups}
    figure, axes = canvas.panels(
        len(against),
        columns=len(against),
        width=2.1,
        height=1.0 + (0.15 + 0.1 * len(soups)) * len(rows),
        left=canvas.text_width([*rows, ""]),
        **canvas.key(list(names.values())),
    )
    for i, (ax, name) in enumerate(zip(axes, against, strict=True)):
        ax.axvline(0, color="#333333", linewidth=0.8)
        shown: list[dict[Any, Any]] = table[table["against"] == name].to_dict("records")
        for row in shown:
            y = rows.index(row["row"]) - (soups.index(row["soup"]) - (len(soups) - 1) / 2) * 0.7 / len(soups)
            looks = _looks(row["soup"])
            ax.plot([100 * row["low"], 100 * row["high"]], [y, y], color=looks.colour, linewidth=1.2)
            ax.plot(100 * row["gain"], y, **canvas.look(looks, 4.0))
        canvas.ticks(ax.yaxis, rows, shown=i == 0)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        canvas.title(ax, f"over the {name}")
        canvas.label(ax, x="gain (percentage points)")
    handles = [Line2D([], [], linestyle="", label=names[soup], **canvas.look(_looks(soup))) for soup in soups]
    key(figure, handles, heading="soup")
    canvas.note(figure, canvas.what_bars_are(table))
    return figure


def _looks(soup: str) -> Style:
    """Colour by what is averaged, marker by the recipe."""
    _, recipe, space = [*soup.split(":"), "", ""][:3]
    return Style(_COLOURS.get(space, "#333333"), _MARKERS.get(recipe, "D"))
