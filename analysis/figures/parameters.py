"""Accuracy against the number of tuned parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.figures import canvas
from analysis.palette import ordered, style
from petl_study.errors import InputError


def accuracy_against_parameters(table: pd.DataFrame) -> Figure:
    """A panel a scope, a point a method: mean accuracy against tuned parameters on a logarithmic scale.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_accuracies`; its ``mean of groups`` is not drawn again beside the groups. A method that
        tunes nothing but the classifier stands at 0, left of a break in the axis. Horizontal bars span the sizes that
        the search chose on different tasks.
    """
    canvas.require_single(table, "scope", "method", "tuned_parameters", "accuracy", "low", "high")
    table = table[table["scope"] != "mean of groups"]
    scopes = list(dict.fromkeys(table["scope"]))
    columns = canvas.columns_of(len(scopes))
    methods = ordered(table.loc[table["tuned_parameters"].notna(), "method"])
    if not methods:
        raise InputError("tuned_parameters is not known of any method, so there is nothing to draw accuracy against")
    figure, axes = canvas.panels(len(scopes), columns=columns, width=2.8, height=2.3, **canvas.key(methods))
    sizes = table[["tuned_parameters", "fewest_parameters", "most_parameters"]].to_numpy(dtype=float)
    positive = sizes[sizes > 0]
    zero_at = 10 ** np.floor(np.log10(positive.min()) - 0.5) if len(positive) else 1.0
    has_zero = bool((sizes == 0).any())
    for i, (ax, scope) in enumerate(zip(axes, scopes, strict=True)):
        for row in table[table["scope"] == scope].itertuples():
            looks = style(row.method)
            x, left, right = (
                max(float(size), zero_at) for size in (row.tuned_parameters, row.fewest_parameters, row.most_parameters)
            )
            ax.plot([x, x], [100 * row.low, 100 * row.high], color=looks.colour, linewidth=1.0)
            ax.plot([left, right], [100 * row.accuracy] * 2, color=looks.colour, linewidth=1.0)
            ax.plot(x, 100 * row.accuracy, **canvas.look(looks, 5.5))
        logarithmic(ax, zero_at, positive.max() if len(positive) else 10.0, has_zero)
        canvas.title(ax, scope)
        canvas.label(
            ax,
            x="tuned parameters" if i >= len(scopes) - columns else "",
            y="mean test accuracy (%)" if i % columns == 0 else "",
        )
    canvas.legend(figure, methods, heading="method")
    unknown = sorted(set(table.loc[table["tuned_parameters"].isna(), "method"]))
    note = f"{canvas.what_bars_are(table)} Parameters without the classifier."
    canvas.note(figure, f"{note} Size not known everywhere: {', '.join(unknown)}." if unknown else note)
    return figure


def logarithmic(ax: Axes, zero_at: float, most: float, has_zero: bool) -> None:
    """A logarithmic x axis from below the smallest size to above `most`; 0 is shown at `zero_at`, behind a break."""
    ax.set_xscale("log")
    first = int(np.floor(np.log10(zero_at))) + (1 if has_zero else 0)
    last = int(np.ceil(np.log10(most)))
    step = 1 + (last - first) // 5
    decades = [10.0**power for power in range(first, last + 1, step)]
    ax.set_xticks([*([zero_at] if has_zero else []), *decades])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if has_zero and x == zero_at else short_number(x)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(zero_at / 2, 2 * 10.0**last)
    if has_zero:
        ax.plot(zero_at * 10**0.5, 0, marker=(2, 0, -25), markersize=6, color="#333333", clip_on=False,
                transform=ax.get_xaxis_transform())  # fmt: skip


def short_number(size: float) -> str:
    """1000 as 1k."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:g}{name}"
    return f"{size:g}"
