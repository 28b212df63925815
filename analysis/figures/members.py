"""Which members an ensemble takes, and what validation saw in them."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures import canvas, rows
from analysis.palette import ordered, style

_FEW = 60  # subsets whose bars can be told apart
_SIZES = ("#56B4E9", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00")


def greedy_path(table: pd.DataFrame) -> Figure:
    """A mark a pick, in the look of its method: accuracy and loss of the ensemble after it, on validation.

    Parameters
    ----------
    table : DataFrame
        From `analysis.greedy_selection`. What comes after the vertical line is not part of the result.
    """
    canvas.require_rows(table, "step", "method", "accuracy", "loss", "selected")
    methods = ordered(table["method"])
    figure, axes = canvas.panels(2, columns=2, width=3.0, height=2.5, **canvas.key(methods))
    last = table.loc[table["selected"], "step"].max()
    for ax, column, scale, text in zip(
        axes, ("accuracy", "loss"), (100, 1), ("accuracy on validation (%)", "loss on validation (nats)"), strict=True
    ):
        ax.plot(table["step"], scale * table[column], color="#999999", linewidth=0.9)
        for row in table.to_dict("records"):
            ax.plot(row["step"], scale * row[column], **canvas.look(style(row["method"])))
        ax.axvline(last + 0.5, color="#333333", linewidth=0.8, linestyle=(0, (4, 3)))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.margins(y=0.1)
        canvas.label(ax, x="picks", y=text)
    canvas.legend(figure, methods, heading="picked")
    canvas.note(figure, "Left of the dashed line: the ensemble that is kept.")
    return figure


def subsets(table: pd.DataFrame) -> Figure:
    """A mark a subset: its accuracy on validation, which may choose, and on test, which may not.

    Parameters
    ----------
    table : DataFrame
        From `analysis.subsets`. The star is the subset that validation picks, with its interval; where there are few,
        the others have theirs.
    """
    canvas.require_rows(table, "size", "rank", "val_accuracy", "test_accuracy")
    sizes = sorted(set(table["size"]))
    names = [f"{size} member{'s' if size > 1 else ''}" for size in sizes]
    figure, [ax] = canvas.panels(1, columns=1, width=3.6, height=3.2, right=1.3)
    marker = {size: "osD^vP"[i % 6] for i, size in enumerate(sizes)}
    colour = {size: _SIZES[i % len(_SIZES)] for i, size in enumerate(sizes)}
    area = 14 if len(table) < 500 else 6
    for size in reversed(sizes):  # the many large ones below the few small ones
        some = table[table["size"] == size]
        x, y = 100 * some["val_accuracy"], 100 * some["test_accuracy"]
        ax.scatter(x, y, s=area, marker=marker[size], color=colour[size], alpha=0.6, linewidths=0)
    best = table[table["rank"] == table["rank"].min()]
    if "interval" in table:
        barred = table if len(table) <= _FEW else best
        colours = [colour[size] for size in barred["size"]]
        ends = 100 * barred["low"], 100 * barred["high"]
        ax.vlines(100 * barred["val_accuracy"], *ends, colors=colours, linewidth=0.7, alpha=0.5)
        ax.vlines(100 * best["val_accuracy"], 100 * best["low"], 100 * best["high"], colors="#000000", linewidth=1.2)
    ax.plot(100 * best["val_accuracy"], 100 * best["test_accuracy"], "*", color="#000000", markersize=11)
    canvas.label(ax, x="validation accuracy (%)", y="test accuracy (%)")
    handles = [Line2D([], [], linestyle="", marker=marker[size], color=colour[size], markersize=4.5) for size in sizes]
    handles.append(Line2D([], [], linestyle="", marker="*", color="#000000", markersize=9))
    figure.legend(
        handles,
        [*names, "picked on val"],
        loc="outside right upper",
        fontsize=canvas.SMALL,
        frameon=False,
        labelcolor="#333333",
    )
    gained = f" The star gains {100 * best['gain'].iloc[0]:+.1f} points over its member that validation would pick."
    if "interval" not in table:
        canvas.note(figure, f"No intervals.{gained if 'gain' in best else ''}")
        return figure
    low, high = (100 * best[f"gain_{end}"].iloc[0] for end in ("low", "high"))
    canvas.note(figure, f"{canvas.what_bars_are(table)}{gained[:-1]} [{low:+.1f}, {high:+.1f}].")
    return figure


def ensemble_weights(table: pd.DataFrame) -> Figure:
    """A row a method, a mark a member: its weight.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ensemble_weights`. The dashed line is an equal share.
    """
    canvas.require_rows(table, "method", "weight")
    methods = rows.by_value(table, "weight", ascending=False)
    figure, [ax] = rows.sheet(methods, width=3.2)
    ax.axvline(100 / len(table), color="#999999", linewidth=0.8, linestyle=(0, (4, 3)))
    rows.marks(ax, table, methods, "weight", scale=100)
    ax.set_xlim(-1, None)
    canvas.label(ax, x="weight (%)")
    canvas.note(figure, f"Dashed: the same weight for each of the {len(table)} members.")
    return figure
