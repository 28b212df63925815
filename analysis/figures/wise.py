"""Weight-space ensembles of tuned and pre-trained models."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import dots
from analysis.palette import ordered, style
from petl_study.errors import InputError

_CURVE = ["task", "method", "merged"]
_MERGED = {"all": "all weights", "head": "head only"}
_SIDES = {"target": ("test in hindsight", ""), "under shift": ("shift in hindsight", "shift_")}
_POINT = ["accuracy", "low", "high", "shift_accuracy", "shift_low", "shift_high"]


def wise_curves(table: pd.DataFrame) -> Figure:
    """A panel a task and what moves, a line a method: target against shift accuracy from alpha 0 to alpha 1.

    Parameters
    ----------
    table : DataFrame
        From `analysis.wise_table`. The alpha that validation chose is the large mark, with its intervals: the result.
        The line is the sweep over alpha on these very images, and ends in a small mark at alpha 1, the tuned model,
        which has the intervals where the curves have no validation.
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
        canvas.title(ax, task, _MERGED.get(merged, merged))
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
        bars = canvas.what_bars_are(table[table["alpha"] == 1])
        result = f"No validation: no point is a result. {bars}"
    canvas.note(figure, f"{result}\n{sweep}")
    return figure


def wise_gain(table: pd.DataFrame) -> Figure:
    """Panels for target and shift, a line a method: what the alpha that validation chose gains over the tuned model.

    Parameters
    ----------
    table : DataFrame
        From `analysis.wise_gain`. The best alpha in hindsight is a stroke; without validation it is the mark, and no
        result.
    """
    canvas.require_rows(table, "task", "method", "merged", "choice", "gain", "low", "high", "shift_gain", "interval")
    validated = bool((table["choice"] == "validation").any())
    pieces = []
    for of, (hindsight, prefix) in _SIDES.items():
        best = table[table["choice"] == hindsight].set_index(_CURVE)
        if best.empty:
            continue
        chosen = table[table["choice"] == "validation"].set_index(_CURVE) if validated else best
        drawn = {name: chosen[f"{prefix}{name}"] for name in ("gain", "low", "high")}
        pieces.append(chosen.assign(**drawn, of=of, hindsight=best[f"{prefix}gain"]).dropna(subset="gain"))
    frame = pd.concat(pieces).reset_index()
    apart = [name for name in ("task", "merged") if len(set(frame[name])) > 1]
    named = frame.assign(merged=[_MERGED.get(name, name) for name in frame["merged"]])
    frame["panel"] = named[[*apart, "of"]].astype(str).agg(", ".join, axis=1)
    bars = canvas.what_bars_are(frame)
    if validated:
        note = (
            f"Alpha chosen on validation, against alpha 1. {bars}\nStrokes: the best alpha on these images (hindsight)."
        )
    else:
        note = f"No validation: the best alpha on these very images (hindsight), against alpha 1. No result. {bars}"
    return dots(
        frame.sort_values([*apart, "of"], kind="stable"),
        "gain",
        label="gain (percentage points)" if validated else "gain in hindsight (percentage points)",
        order=ordered(frame["method"]),
        panel="panel",
        unit=100,
        reference=0,
        tick="hindsight" if validated else None,
        note=note,
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
    validated = bool(table["chosen"].any())
    for method in methods:
        chosen = table[(table["method"] == method) & (table["chosen"] if validated else table["alpha"] == 1)]
        looks = style(method)
        for at, low, high, over, under, above in 100 * chosen[_POINT].to_numpy(dtype=float):
            ax.plot([low, high], [over, over], color=looks.colour, linewidth=0.8, alpha=0.6)
            ax.plot([at, at], [under, above], color=looks.colour, linewidth=0.8, alpha=0.6)
            if validated:
                ax.plot(at, over, **canvas.look(looks, 7.0), zorder=3)
    ax.set(xlim=shown[0], ylim=shown[1])
