"""Accuracy against what it costs, with the front that no method is beyond."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas
from analysis.figures.dots import dots
from analysis.figures.parameters import logarithmic
from analysis.palette import ordered, style
from petl_study.errors import InputError

_LABELS = {  # what a cost is called, and in which unit it is drawn
    "tuned_parameters": ("tuned parameters", 1.0),
    "bytes": ("stored (kB)", 1e3),
    "fit_seconds": ("training (s)", 1.0),
    "search_seconds": ("search (s a task)", 1.0),
    "predict_seconds": ("prediction (s)", 1.0),
    "peak_memory_bytes": ("peak memory (MB)", 1e6),
    "ratio": ("training time (times the baseline's)", 1.0),
    "before": ("prediction (times the plain model's)", 1.0),
    "after": ("prediction, merged (times the plain model's)", 1.0),
}
_WIDE = 20  # from the least to the most: beyond that the axis is logarithmic


def pareto_front(table: pd.DataFrame) -> Figure:
    """A panel a scope, a mark a method: mean accuracy against cost, pale where it is off the front, which is the line.

    Parameters
    ----------
    table : DataFrame
        From `analysis.pareto_front`. Methods whose cost is not known are named in the note.
    """
    canvas.require_single(table, "scope", "method", "cost", "value", "accuracy", "low", "high", "on_front", "tasks")
    cost = str(table["cost"].iloc[0])
    label, unit = _LABELS.get(cost, (cost, 1.0))
    known = table[table["value"].notna()]
    canvas.require_rows(known)
    known = known.assign(value=known["value"] / unit)
    scopes, methods = list(dict.fromkeys(known["scope"])), ordered(known["method"])
    columns = canvas.columns_of(len(scopes))
    figure, axes = canvas.panels(len(scopes), columns=columns, width=2.9, height=2.4, **canvas.key(methods))
    for i, (ax, scope) in enumerate(zip(axes, scopes, strict=True)):
        some = known[known["scope"] == scope]
        _panel(ax, some)
        count = int(some["tasks"].iloc[0])
        canvas.title(ax, scope, f"{count} task{'s' if count > 1 else ''}")
        canvas.label(
            ax,
            x=label if i >= len(scopes) - columns else "",
            y="mean test accuracy (%)" if i % columns == 0 else "",
        )
    canvas.legend(figure, methods, heading="method")
    unknown = sorted(set(table["method"]) - set(methods))
    note = f"Line: the front. Pale: off it. {canvas.what_bars_are(known)} Bars of one panel move together."
    canvas.note(figure, f"{note} Cost not known: {', '.join(unknown)}." if unknown else note)
    return figure


def _panel(ax: Axes, table: pd.DataFrame) -> None:
    values = table["value"].to_numpy(dtype=float)
    positive = values[values > 0]
    wide = len(positive) > 0 and (values.max() > _WIDE * positive.min() or (values == 0).any())
    zero_at = 10 ** np.floor(np.log10(positive.min()) - 0.5) if wide else 0.0
    x = np.maximum(values, zero_at)
    for at, row in zip(x, table.to_dict("records"), strict=True):
        looks, pale = style(row["method"]), 1.0 if row["on_front"] else 0.4
        ax.plot([at, at], [100 * row["low"], 100 * row["high"]], color=looks.colour, linewidth=0.9, alpha=0.6 * pale)
        ax.plot(at, 100 * row["accuracy"], **canvas.look(looks, 5.5), alpha=pale, zorder=3 if row["on_front"] else 2)
    on = table["on_front"].to_numpy(dtype=bool)
    if wide:
        logarithmic(ax, zero_at, positive.max(), bool((values == 0).any()))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    right = ax.get_xlim()[1]
    steps = 100 * table["accuracy"].to_numpy()[on]
    ax.step([*x[on], right], [*steps, steps[-1]], where="post", color="#333333", linewidth=0.9, zorder=1)
    ax.set_xlim(right=right)


def front_probability(table: pd.DataFrame) -> Figure:
    """A panel a scope, a line a method, the cheapest on top: how likely it is to be on the front; shaded, it is.

    Parameters
    ----------
    table : DataFrame
        From `analysis.pareto_front`. Scopes of one task have no resamples, and no panel.
    """
    canvas.require_single(table, "scope", "method", "cost", "front_probability", "on_front", "interval")
    drawn = table[table["front_probability"].notna()]
    if drawn.empty:
        raise InputError("no scope has two tasks or more to redraw, so there are no probabilities to draw")
    whole = drawn[drawn["scope"] == "all tasks"]
    cost = str(table["cost"].iloc[0])
    note = f"The front of accuracy and {_LABELS.get(cost, (cost,))[0]}. Shaded: on that of the means."
    without = [scope for scope in dict.fromkeys(table["scope"]) if scope not in set(drawn["scope"])]
    note += f" Resamples: {' or '.join(sorted(set(drawn['interval'])))}."
    return dots(
        drawn.assign(low=np.nan, high=np.nan),
        "front_probability",
        panel="scope",
        order=(whole if len(whole) else drawn)["method"].drop_duplicates().tolist(),
        unit=100,
        label="probability of being on the front (%)",
        shade="on_front",
        note=f"{note} One task, and so none: {', '.join(without)}." if without else note,
    )
