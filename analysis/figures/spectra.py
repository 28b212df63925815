"""What tuning does to the weights, layer by layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.figures import canvas
from analysis.palette import ordered, style
from petl_study.errors import InputError, unknown

_MEASURES = {
    "relative_norm": ("||dW|| / ||W|| (%)", 100.0, None),
    "effective_rank": ("effective rank of dW", 1.0, None),
    "stable_rank": ("stable rank of dW", 1.0, None),
    "energy_in_top": ("energy in W's top (%)", 100.0, "energy_by_chance"),
    "left_overlap": ("output overlap, cos² (%)", 100.0, "left_by_chance"),
    "right_overlap": ("input overlap, cos² (%)", 100.0, "right_by_chance"),
}


def weight_change(table: pd.DataFrame, measure: str = "relative_norm") -> Figure:
    """A panel a weight matrix of the block, a line a method, along the blocks; the mean over seeds.

    Parameters
    ----------
    table : DataFrame
        From `analysis.weight_change`, of one task. What a method leaves as it was is not drawn.
    measure : str
        A column of the table: ``relative_norm``, ``effective_rank``, ``stable_rank``, ``energy_in_top``,
        ``left_overlap``, ``right_overlap``. The last three stand beside what chance would give (grey).
    """
    if measure not in _MEASURES:
        raise unknown("measure", measure, _MEASURES)
    canvas.require_rows(table, "task", "method", "layer", "site", "rows", measure)
    if len(tasks := sorted(set(table["task"]))) > 1:
        raise InputError(f"the table is of {', '.join(tasks)}; draw one task at a time")
    matrices = table[table["rows"].notna() & table["layer"].notna() & (table["relative_norm"] > 0)]
    if matrices.empty:
        raise InputError("no method of the table changed a weight matrix inside a block: there is nothing to draw")
    axis, factor, chance = _MEASURES[measure]
    sites, methods = list(dict.fromkeys(table.loc[matrices.index.sort_values(), "site"])), ordered(matrices["method"])
    columns = len(sites) if len(sites) <= 4 else canvas.columns_of(len(sites))
    figure, axes = canvas.panels(len(sites), columns=columns, width=2.1, height=2.2, **canvas.key(methods))
    for i, (ax, site) in enumerate(zip(axes, sites, strict=True)):
        of_site = matrices[matrices["site"] == site]
        for method in methods:
            by_layer = factor * of_site[of_site["method"] == method].groupby("layer")[measure].mean()
            if len(by_layer):
                ax.plot(by_layer.index.to_numpy(dtype=float), by_layer.to_numpy(), **canvas.look(style(method), 3.5))
        if chance:
            ax.axhline(factor * of_site[chance].iloc[0], color="#999999", linewidth=1.0, linestyle="--", zorder=0)
        if measure == "relative_norm":
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            ax.yaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.title(ax, site)
        canvas.label(ax, x="block" if i >= len(sites) - columns else "", y=axis if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method", line=True)
    changed = "Methods that leave a matrix as it was are not in its panel."
    canvas.note(figure, f"{changed} Dashed: a change without direction." if chance else changed)
    return figure
