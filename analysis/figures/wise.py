"""Weight-space ensembles of tuned and pre-trained models."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import dots
from analysis.palette import ordered, style
from petl_study.errors import InputError

_POINT = ["accuracy", "low", "high", "shift_accuracy", "shift_low", "shift_high"]


def wise_curves(table: pd.DataFrame) -> Figure:
    """A panel a task and what moves, a line a method: target against shift accuracy from alpha 0 to alpha 1.

    Parameters
    ----------
    table : DataFrame
        From `analysis.wise_table`. The alpha that validation chose is the large mark, with its intervals: the result.
        The line is the sweep over alpha on these very images, and ends in a small mark at alpha 1, the tuned model.
    """
    canvas.require_rows(table, "task", "method", "merged", "alpha", "chosen", *_POINT)
    table = table.dropna(subset="shift_accuracy")
    if table.empty:
        raise InputError("no task of the table has shift sets, so there is nothing to draw its accuracy against.")
    methods = ordered(table["method"])
    cells = list(dict.fromkeys(zip(table["task"], table["merged"], strict=True)))
    columns = canvas.columns_of(len(cells))
    figure, axes = canvas.panels(len(cells), columns=columns, width=3.3, height=3.0, **canvas.key(methods))
    for i, (ax, (task, merged)) in enumerate(zip(axes, cells, strict=True)):
        of_cell = table[(table["task"] == task) & (table["merged"] == merged)]
        _curves(ax, of_cell, [method for method in methods if method in set(of_cell["method"])])
        canvas.title(ax, task, {"all": "all weights", "head": "head only"}.get(merged, merged))
        canvas.label(
            ax,
            x="accuracy on the target (%)" if i >= len(cells) - columns else "",
            y="mean accuracy under shift (%)" if i % columns == 0 else "",
        )
    canvas.legend(figure, methods, heading="method", line=True)
    sweep = "Lines: the sweep over alpha on these images themselves (hindsight); small mark: alpha 1, tuned."
    if table["chosen"].any():
        bars = canvas.what_bars_are(table[table["chosen"]])
        result = f"Large mark: alpha chosen on validation, the result. {bars} Long ones are cut."
    else:
        result = "No validation: no point is a result."
    canvas.note(figure, f"{result}\n{sweep}")
    return figure


def wise_gain(table: pd.DataFrame) -> Figure:
    """Panels for target and shift, a line a method: what the alpha that validation chose gains over the tuned model.

    Parameters
    ----------
    table : DataFrame
        From `analysis.wise_gain`, of one value of `merged`, with validation. The best alpha in hindsight is a stroke.
    """
    canvas.require_rows(table, "task", "method", "merged", "choice", "gain", "low", "high", "shift_gain", "interval")
    if len(merged := sorted(set(table["merged"]))) > 1:
        raise InputError(f"the gains are of {', '.join(merged)}; draw one, such as gains[gains.merged == 'all']")
    by_choice = {str(choice): some.set_index(["task", "method"]) for choice, some in table.groupby("choice")}
    if "validation" not in by_choice:
        raise InputError("the gains have no alpha that was chosen on validation, so there is no result to draw.")
    chosen = by_choice["validation"]
    pieces = [chosen.assign(of="target", hindsight=by_choice["test in hindsight"]["gain"])]
    if "shift in hindsight" in by_choice:
        under_shift = chosen.assign(gain=chosen["shift_gain"], low=chosen["shift_low"], high=chosen["shift_high"])
        pieces.append(under_shift.assign(of="under shift", hindsight=by_choice["shift in hindsight"]["shift_gain"]))
    frame = pd.concat(pieces).reset_index()
    several = len(set(frame["task"])) > 1
    frame["panel"] = frame["task"] + ", " + frame["of"] if several else frame["of"]
    result = f"Alpha chosen on validation, against alpha 1. {canvas.what_bars_are(frame)}"
    return dots(
        frame.sort_values(["task", "of"], kind="stable"),
        "gain",
        label="gain (percentage points)",
        order=ordered(frame["method"]),
        panel="panel",
        unit=100,
        reference=0,
        tick="hindsight",
        note=f"{result}\nStrokes: the best alpha on these images (hindsight).",
    )


def _curves(ax: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    for method in methods:
        curve = table[table["method"] == method].sort_values("alpha")
        target, shift = (100 * curve[name].to_numpy(dtype=float) for name in ("accuracy", "shift_accuracy"))
        looks = style(method)
        ax.plot(target, shift, color=looks.colour, linewidth=0.9, marker=".", markersize=2.0, alpha=0.75)
        ax.plot(target[-1:], shift[-1:], **canvas.look(looks, 3.0))
    # The curves, not the intervals, decide how much is shown: over two seeds an interval is wider than any curve.
    ax.margins(0.08)
    shown = ax.get_xlim(), ax.get_ylim()
    for method in methods:
        chosen = table[(table["method"] == method) & table["chosen"]]
        looks = style(method)
        for at, low, high, over, under, above in 100 * chosen[_POINT].to_numpy(dtype=float):
            ax.plot([low, high], [over, over], color=looks.colour, linewidth=0.8, alpha=0.6)
            ax.plot([at, at], [under, above], color=looks.colour, linewidth=0.8, alpha=0.6)
            ax.plot(at, over, **canvas.look(looks, 7.0), zorder=3)
    ax.set(xlim=shown[0], ylim=shown[1])
