"""Whether models are right as often as they are sure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.figures import canvas, rows
from analysis.palette import ordered, style


def reliability_diagrams(table: pd.DataFrame) -> Figure:
    """A panel a method, a line a run: accuracy by confidence, which are equal on the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.reliability`.
    """
    canvas.require_rows(table, "run", "method", "confidence", "accuracy", "low", "high", "examples", "level")
    methods = ordered(table["method"])
    columns = canvas.columns_of(len(methods))
    figure, axes = canvas.panels(len(methods), columns=columns, width=rows.panel_width(methods), height=1.75)
    for i, (ax, method) in enumerate(zip(axes, methods, strict=True)):
        ax.plot([0, 100], [0, 100], color="#999999", linewidth=0.8, linestyle=(0, (4, 3)))
        colour = style(method).colour
        for _, of_run in table[table["method"] == method].groupby("run"):
            x, y, low, high = (100 * of_run[name] for name in ("confidence", "accuracy", "low", "high"))
            share = of_run["examples"] / of_run["examples"].sum()
            ax.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.5)
            ax.plot(x, y, color=colour, linewidth=0.8, alpha=0.7)
            ax.scatter(x, y, s=3 + 60 * share, color=colour, linewidths=0, zorder=3)
        ax.set_xlim(0, 102)
        ax.set_ylim(0, 102)
        ax.set_xticks([0, 50, 100])
        ax.set_yticks([0, 50, 100])
        canvas.title(ax, method)
        canvas.label(
            ax,
            x="confidence (%)" if i >= len(methods) - columns else "",
            y="accuracy (%)" if i % columns == 0 else "",
        )
    level = table["level"].iloc[0]
    canvas.note(figure, f"Dots: bins; area: share of examples. Bars: {level:.0%} interval, Wilson. Lines: seeds.")
    return figure


def calibration_errors(before: pd.DataFrame, after: pd.DataFrame | None = None) -> Figure:
    """A row a method, a mark a run: root mean squared calibration error with its interval, and cross-entropy.

    Parameters
    ----------
    before : DataFrame
        From `analysis.calibration`.
    after : DataFrame, optional
        The same after temperature scaling. Then `before` is hollow.
    """
    for table in (before,) if after is None else (before, after):
        canvas.require_rows(table, "method", "rms_error", "low", "high", "loss", "level")
    methods = rows.by_value(before, "rms_error", ascending=True)
    figure, (error, loss) = rows.sheet(methods, panels=2)
    plain = ["low", "high"]
    rows.marks(error, before, methods, "rms_error", scale=100, filled=None if after is None else False)
    rows.marks(loss, before.drop(columns=plain), methods, "loss", filled=None if after is None else False)
    if after is not None:
        rows.marks(error, after, methods, "rms_error", scale=100, filled=True)
        rows.marks(loss, after.drop(columns=plain), methods, "loss", filled=True)
    canvas.label(error, x="calibration error, RMS (percentage points)")
    canvas.label(loss, x="cross-entropy (nats)")
    scaled = " Hollow: before temperature scaling; filled: after." if after is not None else ""
    canvas.note(figure, f"Unbiased; bars: {before['level'].iloc[0]:.0%} interval, bootstrap over examples.{scaled}")
    return figure


def temperatures(table: pd.DataFrame) -> Figure:
    """A row a method, a mark a run: the temperature that validation asks for.

    Parameters
    ----------
    table : DataFrame
        From `analysis.fit_temperatures`. A temperature at an end of its range is hollow.
    """
    canvas.require_rows(table, "method", "temperature", "at_bound")
    methods = rows.by_value(table, "temperature", ascending=True)
    figure, [ax] = rows.sheet(methods, width=3.2)
    for at_bound, some in table.groupby("at_bound"):
        rows.marks(ax, some, methods, "temperature", filled=not at_bound)
    ax.axvline(1, color="#333333", linewidth=0.8)
    ax.set_xscale("log")
    low, high = min(0.5, table["temperature"].min() / 1.2), max(2.0, table["temperature"].max() * 1.2)
    ax.set_xlim(low, high)
    ax.set_xticks([t for t in (0.01, 0.03, 0.1, 0.3, 0.5, 1, 2, 3, 10, 30, 100) if low <= t <= high])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    canvas.label(ax, x="temperature (above 1: too sure before)")
    canvas.note(figure, "Fitted on validation. Hollow: at an end of the range.")
    return figure
