"""Many-shot: accuracy as modules grow, and as training sets do."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.figures import canvas
from analysis.figures.dots import dots
from analysis.figures.parameters import short_number
from analysis.palette import ordered, style
from petl_study.errors import InputError

_LABELS = {"tuned_parameters": "tuned parameters", "size": "size (rank or bottleneck)"}


def accuracy_by_size(table: pd.DataFrame, x: str = "tuned_parameters") -> Figure:
    """A panel a training set, a line a method: test accuracy by size; methods without a size are level lines.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_by_size`.
    x : str
        ``tuned_parameters``, or ``size``, where the numbers of parameters are not all known. What has no `x`, or 0,
        which has no place on a logarithmic scale, is drawn as a level line if the method has one size, and is counted
        in the note if it has several.
    """
    if x not in _LABELS:
        raise InputError(f"x must be one of {', '.join(_LABELS)}; got {x!r}")
    canvas.require_single(table, "dataset", "task", "train_examples", "method", "accuracy", "low", "high", x)
    table = table.assign(**{x: table[x].where(table[x] > 0)})
    order = ["dataset", "train_examples", "task"]
    tasks = table.sort_values(order, kind="stable")["task"].drop_duplicates().tolist()
    methods = ordered(table["method"])
    columns = min(3, len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=2.9, height=2.5, **canvas.key(methods))
    sizes = table.groupby(["task", "method"])["method"].transform("size")
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        some = table[table["task"] == task]
        for method in methods:
            of_method = some[some["method"] == method].sort_values(x)
            if len(of_method) == 1 and of_method[x].isna().all():
                looks = style(method)
                ax.axhline(100 * of_method["accuracy"].iloc[0], color=looks.colour, linewidth=1.0, linestyle="--")
            else:
                _line(ax, of_method, x, method)
        _logarithmic(ax)
        examples = some["train_examples"].iloc[0]
        canvas.title(ax, task, f"{examples:,.0f} examples" if pd.notna(examples) else "")
        x_label = _LABELS[x] if i >= len(tasks) - columns else ""
        canvas.label(ax, x=x_label, y="test accuracy (%)" if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method", line=True)
    left_out = int((table[x].isna() & (sizes > 1)).sum())
    note = f"{canvas.what_bars_are(table)} Dashed: no size known or none to vary."
    canvas.note(figure, f"{note} Not drawn: {left_out} results of unknown size." if left_out else note)
    return figure


def accuracy_by_examples(table: pd.DataFrame) -> Figure:
    """A panel a data set, a line a method: test accuracy by number of training examples.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_by_size`. A method with several sizes is drawn as a band over them and a line through
        their mean; choose one size beforehand to see that one.
    """
    canvas.require_single(table, "dataset", "train_examples", "method", "accuracy", "low", "high")
    several = table.groupby("dataset")["train_examples"].transform("nunique") > 1
    if not several.any():
        raise InputError("no data set has training sets of two sizes or more, so there is no curve to draw")
    table = table[several]
    datasets, methods = sorted(set(table["dataset"])), ordered(table["method"])
    columns = canvas.columns_of(len(datasets))
    figure, axes = canvas.panels(len(datasets), columns=columns, width=3.0, height=2.7, **canvas.key(methods))
    for i, (ax, dataset) in enumerate(zip(axes, datasets, strict=True)):
        for method in methods:
            some = table[(table["dataset"] == dataset) & (table["method"] == method)]
            found = 100 * some.groupby("train_examples")["accuracy"].agg(["mean", "min", "max"])
            looks = style(method)
            if some.groupby("train_examples").size().max() > 1:
                ax.fill_between(found.index, found["min"], found["max"], color=looks.colour, alpha=0.13, linewidth=0)
            else:
                ax.vlines(
                    some["train_examples"], 100 * some["low"], 100 * some["high"], color=looks.colour, linewidth=0.8
                )
            ax.plot(found.index, found["mean"], **canvas.look(looks, 4.5))
        _logarithmic(ax)
        canvas.title(ax, dataset)
        canvas.label(ax, x="training examples", y="test accuracy (%)" if i % columns == 0 else "")
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, f"{canvas.what_bars_are(table)} Band: range over a method's sizes, and their mean.")
    return figure


def overtaking(table: pd.DataFrame) -> Figure:
    """A panel a data set or training set, a line a method: how far it is ahead of the baseline, from first to last.

    Parameters
    ----------
    table : DataFrame
        From `analysis.overtaking`. The stroke is of the fewest examples (or the smallest size), the mark of the most;
        beside it stands where the lines cross, and between what if there are seeds. What ends left of 0 was overtaken,
        or was never ahead.
    """
    canvas.require_single(table, "dataset", "task", "method", "size", "baseline", "by", "first", "last", "crossing")
    lines = table[table["outcome"] != "not measured"]
    canvas.require_rows(lines)
    along_examples = table["by"].iloc[0] == "train_examples"
    places = ordered(lines["method"])
    lines = lines.sort_values(["method", "size"], key=lambda c: c.map(places.index) if c.name == "method" else c)
    sized = zip(lines["method"], lines["size"], strict=True)
    ends = lines[["first", "last"]]
    lines = lines.assign(
        line=[f"{method} {size:g}" if along_examples and pd.notna(size) else method for method, size in sized],
        crosses=[_where(row) for row in lines.to_dict("records")],
        low=ends.min(axis="columns"),
        high=ends.max(axis="columns"),
    )
    drawn = table[table["low"].notna()]
    interval = f" ({drawn['level'].iloc[0]:.0%} interval, {drawn['interval'].iloc[0]})" if len(drawn) else ""
    stroke = "fewest examples, mark: most" if along_examples else "smallest size, mark: largest"
    left_out = f" Not measured: {len(table) - len(lines)}." if len(table) > len(lines) else ""
    return dots(
        lines,
        "last",
        rows="line",
        panel="dataset" if along_examples else "task",
        unit=100,
        label=f"test accuracy minus that of {table['baseline'].iloc[0]} (percentage points)",
        reference=0.0,
        tick="first",
        beside="crosses",
        note=f"Stroke: {stroke}. Number: where they are equal{interval}.{left_out}{canvas.uneven_seeds(lines)}",
    )


def _where(row: dict[Any, Any]) -> str:
    """Where a series crosses the baseline, in two digits, and the interval of it; nothing if it does not."""
    if pd.isna(row["crossing"]):
        return ""
    where, low, high = (short_number(float(f"{row[name]:.2g}")) for name in ("crossing", "low", "high"))
    between = f" ({low} to {high})" if pd.notna(row["low"]) else ""
    return f"{where}{between}{' and more' if row['outcome'] == 'several crossings' else ''}"


def _line(ax: Axes, rows: pd.DataFrame, x: str, method: str) -> None:
    looks = style(method)
    ax.vlines(rows[x], 100 * rows["low"], 100 * rows["high"], color=looks.colour, linewidth=0.8, alpha=0.7)
    ax.plot(rows[x], 100 * rows["accuracy"], **canvas.look(looks, 4.0))


def _logarithmic(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    ax.xaxis.set_minor_locator(NullLocator())
