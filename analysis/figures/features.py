"""How alike the features of methods are, place by place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.features import PRETRAINED
from analysis.figures import canvas, matrix
from analysis.figures.key import key
from analysis.palette import ordered, style
from petl_study.errors import InputError, unknown

_READABLE = 12  # methods: beyond that, numbers in cells would touch
_PLACES = 4  # panels that one looks at side by side
_SEEDS, _TEXT = "#999999", "CKA (1: alike)"


def feature_similarity(table: pd.DataFrame, layers: Sequence[str] | None = None) -> Figure:
    """A panel a place: CKA of every two methods, below the diagonal; on it, of a method with itself.

    Parameters
    ----------
    table : DataFrame
        From `analysis.feature_similarity_by_method`, of one task.
    layers : sequence of str, optional
        Which places; by default up to four, evenly spaced, the first and the last among them.
    """
    canvas.require_rows(table, "layer", "depth", "method_a", "method_b", "cka")
    _require_one_task(table)
    layers, methods = _chosen(_layers(table), layers), _methods(table)
    table = table[table["layer"].isin(layers)]
    several = bool((table["method_a"] == table["method_b"]).any())
    # What nothing tuned has no seeds, so its row has no diagonal.
    lonely = [name for name in methods[:1] if name == PRETRAINED or not several]
    down, across = [name for name in methods if name not in lonely], methods if several else methods[:-1]
    below = np.array([[methods.index(a) >= methods.index(b) for b in across] for a in down])
    cell = 0.3 if len(methods) <= _READABLE else matrix.CELL
    size, names = max(1.7, cell * len(methods)), canvas.text_width(methods)
    columns = min(2, len(layers))
    figure, axes = canvas.panels(
        len(layers), columns=columns, width=size + 0.3, height=size + 0.4 + names, left=names, right=0.7
    )
    known = table["cka"].dropna()
    least = min(0.9, float(known.min())) if len(known) else 0.0
    for i, (ax, layer) in enumerate(zip(axes, layers, strict=True)):
        cells = table[table["layer"] == layer].pivot_table(index="method_a", columns="method_b", values="cka")
        values = np.where(below, cells.reindex(index=down, columns=across).to_numpy(dtype=np.float64), np.nan)
        shown = down if i % columns == 0 else [""] * len(down)
        image = matrix.cells(ax, values, shown, across, least=least, most=1.0)
        if len(across) <= _READABLE:
            matrix.numbers(ax, image, "{:.2f}", size=5.5)
        canvas.title(ax, layer)
    matrix.bar(figure, image, axes, _TEXT)
    canvas.note(figure, "Diagonal: one method under two seeds." if several else "One seed: no method beside itself.")
    return figure


def features_along_blocks(table: pd.DataFrame) -> Figure:
    """A panel a method: how alike its features and those of the pre-trained backbone are, block after block.

    Parameters
    ----------
    table : DataFrame
        From `analysis.feature_similarity_by_method`, of one task, with the pre-trained backbone among the methods. The
        grey line, where there are seeds, is the method with itself.
    """
    canvas.require_rows(table, "layer", "depth", "method_a", "method_b", "cka", "cka_low", "cka_high", "level")
    _require_one_task(table)
    if PRETRAINED not in set(table["method_a"]):
        raise InputError(f"the table has no method {PRETRAINED!r} to compare the others with")
    layers, methods = _layers(table), [name for name in _methods(table) if name != PRETRAINED]
    columns = canvas.columns_of(len(methods))
    figure, axes = canvas.panels(len(methods), columns=columns, width=1.8, height=1.6, right=1.6)
    depths = {layer: depth for depth, layer in enumerate(layers)}
    least = np.inf
    for i, (ax, method) in enumerate(zip(axes, methods, strict=True)):
        of_method = table[table["method_a"] == method].assign(x=lambda rows: rows["layer"].map(depths)).sort_values("x")
        for other, colour in ((method, _SEEDS), (PRETRAINED, style(method).colour)):
            line = of_method[of_method["method_b"] == other]
            ax.plot(line["x"], line["cka"], color=colour, linewidth=1.4, marker="o", markersize=2.5)
            ax.fill_between(line["x"], line["cka_low"], line["cka_high"], color=colour, alpha=0.25, linewidth=0)
            least = min([least, *line["cka_low"].dropna()])
        ax.set_xticks(range(len(layers)), _short(layers))
        canvas.title(ax, method)
        last = i >= len(methods) - columns
        canvas.label(ax, x="block" if last else "", y=_TEXT if i % columns == 0 else "")
    for ax in axes:
        ax.set_ylim(least - 0.04 * (1 - least), 1 + 0.04 * (1 - least))
    level = f"{table['level'].iloc[0]:.0%}"
    lines = [
        Line2D([], [], color="#333333", linewidth=1.4, marker="o", markersize=2.5, label="and pre-trained"),
        Line2D([], [], color=_SEEDS, linewidth=1.4, marker="o", markersize=2.5, label="and itself,\nanother seed"),
    ]
    key(figure, lines, heading="the method")
    canvas.note(figure, f"Bands: {level} interval, halves of the images.")
    return figure


def _require_one_task(table: pd.DataFrame) -> None:
    if "task" in table and len(tasks := sorted(set(table["task"]))) > 1:
        raise InputError(f"the table is of {', '.join(tasks)}; draw one task at a time")


def _layers(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table.sort_values("depth", kind="stable")["layer"]))


def _chosen(layers: list[str], wanted: Sequence[str] | None) -> list[str]:
    """Those of `layers` that are drawn, in their order."""
    if wanted is None:
        spaced = np.linspace(0, len(layers) - 1, min(_PLACES, len(layers))).round().astype(int)
        return [layers[i] for i in spaced]
    for name in wanted:
        if name not in layers:
            raise unknown("layer", name, layers)
    return [name for name in layers if name in wanted]


def _methods(table: pd.DataFrame) -> list[str]:
    """What nothing tuned first, then as the palette has them."""
    methods = ordered([*table["method_a"], *table["method_b"]])
    return sorted(methods, key=lambda name: name != PRETRAINED)


def _short(layers: list[str]) -> list[str]:
    """Numbers for ``block 3`` and names for the rest; of many numbers every few."""
    step = 1 + (len(layers) - 1) // 8
    names = [name.removeprefix("block ") for name in layers]
    far = len(names) - 1.5 * step  # a name at the end needs room
    return [name if not name.isdigit() or (int(name) % step == 0 and i < far) else "" for i, name in enumerate(names)]
