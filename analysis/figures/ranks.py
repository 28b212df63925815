"""Ranks: their means, their frequencies, and which of them differ by more than chance."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import bars_note, counted, dots
from analysis.figures.matrix import CELL, bar, cells
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
    known = table["low"].notna().any() and "interval" in table
    return dots(table, "mean_rank", label=label, note=bars_note(table) if known else "")


def ranking_frequency(table: pd.DataFrame) -> Figure:
    """A panel a scope, a row a method (the best on top), a column a rank: on how many of the tasks it has that rank.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ranking_frequency`.
    """
    canvas.require_rows(table, "scope", "method", "rank", "frequency", "tasks")
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
        canvas.title(ax, scope, f"{some['tasks'].iloc[0]} tasks")
        canvas.label(ax, x="rank (1: best)")
    bar(figure, image, axes, "tasks (%)")
    canvas.note(figure, "Methods in order of mean rank; those that tie share their ranks.")
    return figure


def critical_difference(table: pd.DataFrame) -> Figure:
    """Mean ranks on one axis, the best on the left; what a thick bar joins differs by no more than CD.

    Parameters
    ----------
    table : DataFrame
        From `analysis.critical_difference`.
    """
    canvas.require_rows(table, "method", "mean_rank", "critical_difference", "tasks", "level", "friedman_p")
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
    p = float(table["friedman_p"].iloc[0])
    canvas.note(
        figure,
        f"Mean rank over {table['tasks'].iloc[0]} tasks (1: best). CD: Nemenyi's critical difference at"
        f" {table['level'].iloc[0]:.0%}. Friedman (Iman-Davenport): p {_p(p)}.",
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
