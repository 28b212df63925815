"""How sets of examples meet: a Venn diagram of three, an UpSet plot of any number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analysis.figures import canvas
from analysis.palette import ordered, style
from petl_study.errors import InputError

_CENTRES = [(np.cos(angle), np.sin(angle)) for angle in np.deg2rad([150, 30, 270])]  # of the three circles
_APART, _RADIUS = 0.62, 1.0


def venn(regions: pd.DataFrame, names: Sequence[str] | None = None, *, what: str = "test examples") -> Figure:
    """Three sets as circles, with the number of examples in each of the seven regions.

    The circles are of one size and at one distance whatever the numbers, so that every number has room; areas mean
    nothing.

    Parameters
    ----------
    regions : DataFrame
        From `analysis.set_regions` or `analysis.confidence_regions`.
    names : sequence of str, optional
        The three sets, if one of them is empty and so in no region.
    what : str
        What the numbers count.
    """
    canvas.require_rows(regions, "members", "examples")
    names = _names(regions, names)
    if len(names) != 3:
        raise InputError(f"a Venn diagram is of three sets; got {', '.join(names)}. Draw more with upset.")
    figure, [ax] = canvas.panels(1, columns=1, width=3.6, height=3.5)
    counts = dict(zip(map(frozenset, regions["members"]), regions["examples"].tolist(), strict=True))
    total = sum(counts.values())
    for (x, y), name in zip(_CENTRES, names, strict=True):
        looks = style(name)
        circle = Circle((_APART * x, _APART * y), _RADIUS, facecolor=looks.colour, alpha=0.22, edgecolor="none")
        edge = Circle((_APART * x, _APART * y), _RADIUS, facecolor="none", edgecolor=looks.colour, linewidth=1.4)
        ax.add_patch(circle)
        ax.add_patch(edge)
        _named(ax, name, (x, y))
    for i, name in enumerate(names):
        x, y = _CENTRES[i]
        _count(ax, counts.get(frozenset([name]), 0), total, (1.08 * x, 1.08 * y))
        pair = frozenset(other for other in names if other != name)
        _count(ax, counts.get(pair, 0), total, (-0.68 * x, -0.68 * y))
    _count(ax, counts.get(frozenset(names), 0), total, (0.0, 0.0))
    ax.set_xlim(-1.75, 1.75)
    ax.set_ylim(-2.0, 1.75)
    ax.set_aspect("equal")
    ax.axis("off")
    canvas.note(figure, f"Number of {what}, and % of the {total:,} in any set. Areas are not to scale.")
    return figure


def upset(regions: pd.DataFrame, names: Sequence[str] | None = None, *, most: int = 20) -> Figure:
    """How any number of sets meet: a column a combination, its bar the examples that are in exactly these sets.

    Parameters
    ----------
    regions : DataFrame
        From `analysis.set_regions` or `analysis.confidence_regions`.
    names : sequence of str, optional
        The sets, if one of them is empty and so in no region.
    most : int
        How many combinations are drawn, the largest.
    """
    canvas.require_rows(regions, "members", "examples")
    names = _names(regions, names)
    drawn = regions.sort_values("examples", ascending=False, kind="stable").head(most)
    sizes = [int(regions.loc[[name in m for m in regions["members"]], "examples"].sum()) for name in names]
    width, height = 0.6 + 0.2 * len(drawn), 0.17 * len(names)
    figure = Figure(figsize=(width + canvas.text_width(names) + 2.1, height + 2.5), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.03)
    grid = figure.subplots(2, 2, width_ratios=[width, 1.2], height_ratios=[1.5, height], sharex="col", sharey="row")
    bars, matrix, totals = grid[0, 0], grid[1, 0], grid[1, 1]
    grid[0, 1].remove()
    for ax in (bars, matrix, totals):
        canvas.dress(ax)
    x = np.arange(len(drawn))
    bars.bar(x, drawn["examples"], width=0.6, color="#333333")
    bars.tick_params(axis="x", length=0, labelbottom=False)
    bars.grid(visible=False, axis="x")
    canvas.label(bars, y="test examples")
    for column, members in enumerate(drawn["members"]):
        within = [names.index(name) for name in members]
        matrix.plot([column] * len(names), range(len(names)), "o", color="#DDDDDD", markersize=3.2)
        matrix.plot([column] * 2, [min(within), max(within)], color="#333333", linewidth=1.0)
        matrix.plot([column] * len(within), within, "o", color="#333333", markersize=3.8)
    canvas.ticks(matrix.yaxis, names)
    matrix.set_ylim(len(names) - 0.4, -0.6)
    matrix.set_xlim(-0.7, len(drawn) - 0.3)
    matrix.tick_params(length=0)
    matrix.set_xticks([])
    matrix.grid(visible=False)
    for spine in matrix.spines.values():
        spine.set_visible(False)
    totals.barh(range(len(names)), sizes, height=0.6, color=[style(name).colour for name in names])
    totals.tick_params(axis="y", length=0, labelleft=False)
    totals.grid(visible=False, axis="y")
    totals.locator_params(axis="x", nbins=3)
    canvas.label(totals, x="in the set")
    canvas.note(figure, _left_out(regions, drawn))
    return figure


def _names(regions: pd.DataFrame, names: Sequence[str] | None) -> list[str]:
    found = {name for members in regions["members"] for name in members}
    if names is None:
        return ordered(found)
    if missing := found - set(names):
        raise InputError(f"the regions are of {', '.join(ordered(found))}; names lacks {', '.join(sorted(missing))}")
    return list(names)


def _named(ax: Axes, name: str, direction: tuple[float, float]) -> None:
    x, y = direction
    ax.text(
        1.25 * x if y < 0 else 1.72 * np.sign(x),
        1.86 * y if y < 0 else 1.55,
        canvas.short(name),
        ha="center" if y < 0 else ("left" if x < 0 else "right"),
        va="center",
        fontsize=canvas.NORMAL,
        fontweight="bold",
        color="#333333",
    )


def _count(ax: Axes, count: int, total: int, at: tuple[float, float]) -> None:
    share = f"{count / max(1, total):.1%}"
    ax.text(*at, f"{count:,}\n{share}", ha="center", va="center", fontsize=canvas.SMALL, color="#333333")


def _left_out(regions: pd.DataFrame, drawn: pd.DataFrame) -> str:
    if len(drawn) == len(regions):
        return f"All {len(regions)} combinations that occur."
    rest = int(regions["examples"].sum() - drawn["examples"].sum())
    return f"The {len(drawn)} largest of {len(regions):,} combinations; {rest:,} examples are in the others."
