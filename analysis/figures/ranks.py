"""Ranks: their means, their frequencies, and which of them differ by more than chance."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import counted, dots
from analysis.figures.matrix import CELL, bar, cells, heat_map, square
from analysis.palette import style

_INK = "#333333"


def mean_ranks(table: pd.DataFrame) -> Figure:
    """A line a method, the best on top: mean rank over tasks and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_ranks`.
    """
    canvas.require_rows(table, "method", "mean_rank", "low", "high", "tasks", "level")
    table = table.sort_values("mean_rank", kind="stable")
    label = f"mean rank over {counted(table, 'tasks')} tasks (1: best)"
    return dots(table, "mean_rank", label=label, note=canvas.what_bars_are(table))


def ranking_frequency(table: pd.DataFrame) -> Figure:
    """A panel a scope, a row a method (the best on top), a column a rank: on how many of the tasks it has that rank.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ranking_frequency`.
    """
    canvas.require_single(table, "scope", "method", "rank", "frequency", "tasks")
    scopes = list(dict.fromkeys(table["scope"]))
    count = int(table["rank"].max())
    columns = min(2, len(scopes))
    names = canvas.text_width(table["method"])
    size = max(1.6, CELL * count)
    figure, axes = canvas.panels(
        len(scopes), columns=columns, width=size + names + 0.25, height=size + 0.65, left=0.0, right=0.8
    )
    places = [str(place) if count <= 12 or place % 5 == 0 or place == 1 else "" for place in range(1, count + 1)]
    for ax, scope in zip(axes, scopes, strict=True):
        some = table[table["scope"] == scope]
        methods = list(dict.fromkeys(some["method"]))
        shares = some.pivot_table(index="method", columns="rank", values="frequency").loc[methods]
        image = cells(
            ax,
            100 * shares.to_numpy(),
            methods,
            places,
            least=0,
            most=100 * table["frequency"].max(),
            colours="Blues",
        )
        ax.tick_params(axis="x", rotation=0)
        canvas.title(ax, scope, canvas.tasks(some["tasks"].iloc[0]))
        canvas.label(ax, x="rank (1: best)")
    bar(figure, image, axes, "tasks (%)")
    canvas.note(figure, f"Methods in order of mean rank; those that tie share their ranks.{canvas.uneven_seeds(table)}")
    return figure


def friedman_test(table: pd.DataFrame) -> Figure:
    """A line a scope: how far its tasks agree in ranking the methods, and the p of Iman and Davenport's test.

    Parameters
    ----------
    table : DataFrame
        From `analysis.friedman_test`. One task, and tasks on which all methods tie, have no mark.
    """
    canvas.require_rows(table, "scope", "kendall_w", "by_chance", "f_p", "tasks", "methods")
    said = [f"p {_p(p)}, {canvas.tasks(n)}" for p, n in zip(table["f_p"], table["tasks"], strict=True)]
    note = f"Stroke: expected of random ranks. p: Friedman's test (Iman-Davenport).{canvas.uneven_seeds(table)}"
    return dots(
        table.assign(low=np.nan, high=np.nan, said=said),
        "kendall_w",
        rows="scope",
        label=f"agreement of the tasks in ranking {counted(table, 'methods')} methods (Kendall's W; 1: alike)",
        reference=0.0,
        tick="by_chance",
        beside="said",
        note=note,
    )


def nemenyi(table: pd.DataFrame) -> Figure:
    """A row and a column a method, the best first: by how much their mean ranks differ; dotted where it is sure.

    Parameters
    ----------
    table : DataFrame
        From `analysis.nemenyi`. `critical_difference` shows the same on one axis.
    """
    canvas.require_single(
        table, "method_a", "method_b", "difference", "distinguishable", "critical_difference", "level"
    )
    methods = list(dict.fromkeys([*table["method_a"], *table["method_b"]]))
    flipped = table.rename(columns={"method_a": "method_b", "method_b": "method_a"})
    both = pd.concat([table, flipped.assign(difference=-table["difference"])])
    most = float(table["difference"].max())
    difference = float(table["critical_difference"].iloc[0])
    return heat_map(
        pd.DataFrame(square(both, "difference", methods), methods, methods),
        label="mean rank of column minus that of row (above 0: row is better)",
        least=-most,
        most=most,
        colours="PuOr_r",
        marked=square(both.astype({"distinguishable": float}), "distinguishable", methods) > 0,
        note=f"Dot: above the critical difference of {difference:.2f} (Nemenyi, {table['level'].iloc[0]:.0%})."
        f"{canvas.uneven_seeds(table)}",
    )


def critical_difference(table: pd.DataFrame) -> Figure:
    """Mean ranks on one axis, the best on the left; what a thick bar joins differs by no more than CD.

    Parameters
    ----------
    table : DataFrame
        From `analysis.critical_difference`.
    """
    canvas.require_single(
        table, "method", "mean_rank", "critical_difference", "tasks", "level", "friedman_p", "kendall_w"
    )
    table = table.sort_values("mean_rank", kind="stable")
    ranks = table["mean_rank"].tolist()
    difference = float(table["critical_difference"].iloc[0])
    least, most = math.floor(min(ranks)), math.ceil(max(ranks))
    most = max(most, least + 1)
    rows = _rows_of(_cliques(ranks, difference))
    half = math.ceil(len(ranks) / 2)
    first = 1.2 + 0.55 * len(rows)  # the row of the first name, below the axis at 0 and the bars
    names = canvas.text_width(table["method"]) + 0.35
    height = 0.19 * (first + half + 3.2)
    figure, [ax] = canvas.panels(1, columns=1, width=4.6, height=height, left=names, right=names)
    reach = 0.03 * (most - least)
    for i, (method, rank) in enumerate(zip(table["method"], ranks, strict=True)):
        on_left = i < half
        y = first + (i if on_left else len(ranks) - 1 - i)
        end = least - reach if on_left else most + reach
        ax.plot([rank, rank, end], [0, y, y], color="#9A9A9A", linewidth=0.7, zorder=1)
        looks = canvas.look(style(method), 4.5)
        ax.plot(rank, 0, **looks, zorder=4, clip_on=False)
        ax.plot(end, y, **looks, zorder=4, clip_on=False)
        text = f"{canvas.short(method)}  {rank:.1f}" if on_left else f"{rank:.1f}  {canvas.short(method)}"
        ax.text(
            end + (-reach if on_left else reach),
            y,
            text,
            ha="right" if on_left else "left",
            va="center",
            fontsize=canvas.SMALL,
            color=_INK,
        )
    for depth, row in enumerate(rows):
        for low, high in row:
            pad = 0.006 * (most - least)
            ax.plot([low - pad, high + pad], [0.75 + 0.55 * depth] * 2, color="#000000", linewidth=2.6, zorder=3,
                    solid_capstyle="butt")  # fmt: skip
    _ruler(ax, least, most, difference)
    ax.set_ylim(first + half - 0.4, -3.0)
    ax.set_xlim(least - 2 * reach, most + 2 * reach)
    ax.axis("off")
    p, agree = float(table["friedman_p"].iloc[0]), float(table["kendall_w"].iloc[0])
    agreement = "" if math.isnan(agree) else f", Kendall's W {agree:.2f}"
    canvas.note(
        figure,
        f"Mean rank over {canvas.tasks(table['tasks'].iloc[0])} (1: best). CD: Nemenyi's critical difference at"
        f" {table['level'].iloc[0]:.0%}. Friedman (Iman-Davenport): p {_p(p)}{agreement}.{canvas.uneven_seeds(table)}",
    )
    return figure


def _ruler(ax: Axes, least: int, most: int, difference: float) -> None:
    """The axis of ranks, and the length of the critical difference above it."""
    ax.plot([least, most], [0, 0], color=_INK, linewidth=0.8, zorder=2)
    step = max(1, math.ceil((most - least) / 12))
    for place in range(least, most + 1, step):
        ax.plot([place, place], [0, -0.3], color=_INK, linewidth=0.8)
        ax.text(place, -0.5, str(place), ha="center", va="bottom", fontsize=canvas.SMALL, color=_INK)
    shown = min(difference, most - least)
    cut = "" if shown == difference else " (longer than the axis)"
    ax.plot([least, least + shown], [-2.0, -2.0], color="#000000", linewidth=1.6)
    for end in (least, least + shown):
        ax.plot([end, end], [-2.2, -1.8], color="#000000", linewidth=1.0)
    text = f"CD = {difference:.2f}{cut}"
    ax.text(least + shown / 2, -2.25, text, ha="center", va="bottom", fontsize=canvas.SMALL, color=_INK)


def _cliques(ranks: list[float], difference: float) -> list[tuple[float, float]]:
    """The widest spans of sorted `ranks` whose ends differ by no more than `difference`; a method alone is none."""
    spans: list[tuple[float, float]] = []
    for i, low in enumerate(ranks):
        high = max(rank for rank in ranks[i:] if rank - low <= difference)
        if high > low and (not spans or high > spans[-1][1]):
            spans.append((low, high))
    return spans


def _rows_of(spans: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The spans in as few rows as keep them apart."""
    rows: list[list[tuple[float, float]]] = []
    for span in spans:
        free = next((row for row in rows if row[-1][1] < span[0] - 0.05), None)
        if free is None:
            rows.append([span])
        else:
            free.append(span)
    return rows


def _p(p: float) -> str:
    return "not defined" if math.isnan(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"
