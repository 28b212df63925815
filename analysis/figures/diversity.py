"""What disagreement is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import canvas

_METHODS, _SEEDS = "#0072B2", "#D55E00"
_FEW = 60  # pairs whose bars can be told apart


def diversity_gain(table: pd.DataFrame) -> Figure:
    """A mark a pair of runs: what their ensemble gains, by how much they disagree.

    Parameters
    ----------
    table : DataFrame
        From `analysis.diversity_gain`, of one task or of several put together. With its intervals every mark has bars,
        or, where there are too many marks, one cross in a corner is as large as the median interval.
    """
    canvas.require_rows(table, "disagreement", "gain_over_better", "gain_over_mean", "same_method")
    figure, axes = canvas.panels(2, columns=2, width=3.0, height=2.9)
    size = 14 if len(table) < 500 else 5
    for ax, against in zip(axes, ("mean", "better"), strict=True):
        ax.axhline(0, color="#333333", linewidth=0.8)
        for same, some in table.groupby("same_method"):
            ax.scatter(
                100 * some["disagreement"],
                100 * some[f"gain_over_{against}"],
                s=size,
                marker="o" if same else "s",
                facecolors="none" if same else _METHODS,
                edgecolors=_SEEDS if same else "none",
                linewidths=0.8,
                alpha=0.9 if same else 0.5,
                zorder=3 if same else 2,
            )
        if "interval" in table:
            _bars(ax, table, f"gain_over_{against}")
        canvas.title(ax, f"over the {against} of the two")
        canvas.label(ax, x="disagreement (% of test examples)", y="gain (percentage points)")
    _key(figure, "two methods", "one method, two seeds", bool(table["same_method"].any()))
    canvas.note(figure, _what_bars_are(table))
    return figure


def _bars(ax: Axes, table: pd.DataFrame, gain: str) -> None:
    names = [f"{name}_{end}" for name in ("disagreement", gain) for end in ("low", "high")]
    ends = 100 * table[names].to_numpy(dtype=float)  # (P, 4)
    at, over = (100 * table[name].to_numpy(dtype=float) for name in ("disagreement", gain))
    if len(table) <= _FEW:
        colours = [_SEEDS if same else _METHODS for same in table["same_method"]]
        ax.hlines(over, ends[:, 0], ends[:, 1], colors=colours, linewidth=0.6, alpha=0.4)
        ax.vlines(at, ends[:, 2], ends[:, 3], colors=colours, linewidth=0.6, alpha=0.4)
        return
    wide, high = np.median(ends[:, 1] - ends[:, 0]), np.median(ends[:, 3] - ends[:, 2])
    x, y = at.max() - wide / 2, over.min() - 0.75 * high  # below all marks
    ax.plot([x - wide / 2, x + wide / 2], [y, y], color="#333333", linewidth=1.2)
    ax.plot([x, x], [y - high / 2, y + high / 2], color="#333333", linewidth=1.2)


def _what_bars_are(table: pd.DataFrame) -> str:
    if "interval" not in table:
        return "No intervals."
    what = f"{table['level'].iloc[0]:.0%} interval, {table['interval'].iloc[0]}."
    return f"Bars: {what}" if len(table) <= _FEW else f"Cross: the median pair's {what}"


def ensemble_sizes(table: pd.DataFrame) -> Figure:
    """What ensembles of methods and of seeds gain over their mean member, by size; and the difference.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ensemble_sizes`.
    """
    canvas.require_rows(table, "size", "methods_gain", "seeds_gain", "difference", "low", "high", "level")
    figure, (gains, gap) = canvas.panels(2, columns=2, width=3.0, height=3.0)
    size = table["size"].to_numpy()
    gains.plot(size, 100 * table["methods_gain"], "s-", color=_METHODS, markersize=4.5, linewidth=1.0)
    gains.plot(
        size, 100 * table["seeds_gain"], "o-", color=_SEEDS, markerfacecolor="white", markersize=4.5, linewidth=1.0
    )
    gap.axhline(0, color="#333333", linewidth=0.8)
    gap.vlines(size, 100 * table["low"], 100 * table["high"], color=_METHODS, linewidth=1.2)
    gap.plot(size, 100 * table["difference"], "s", color=_METHODS, markersize=4.5)
    for ax in (gains, gap):
        ax.set_xticks(size)
        ax.set_xlim(size.min() - 0.5, size.max() + 0.5)
    canvas.label(gains, x="members", y="gain over the mean (points)")
    canvas.label(gap, x="members", y="methods minus seeds (points)")
    _key(figure, "as many methods", "as many seeds of one method", both=True)
    canvas.note(figure, f"Bars: {table['level'].iloc[0]:.0%} interval, paired bootstrap over examples.")
    return figure


def _key(figure: Figure, methods: str, seeds: str, both: bool) -> None:
    handles = [
        Line2D([], [], linestyle="", marker="s", color=_METHODS, markersize=4.5),
        Line2D([], [], linestyle="", marker="o", color=_SEEDS, markerfacecolor="white", markersize=4.5),
    ][: 2 if both else 1]
    figure.legend(
        handles,
        [methods, seeds][: len(handles)],
        loc="outside upper left",
        ncols=2,
        fontsize=canvas.SMALL,
        frameon=False,
        labelcolor="#333333",
    )
