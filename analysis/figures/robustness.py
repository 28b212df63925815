"""Robustness: what is lost under shift, what is lost beyond expectation, and whether the model knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import expit, logit

from analysis.figures import canvas, matrix
from analysis.figures.dots import dots
from analysis.palette import ordered, style


def target_against_shift(table: pd.DataFrame, line: pd.DataFrame | None = None) -> Figure:
    """A panel a task, a point a method: accuracy on the test set against the mean under shift, with both intervals.

    Parameters
    ----------
    table : DataFrame
        From `analysis.target_against_shift`.
    line : DataFrame, optional
        From `analysis.effective_robustness` of the same tasks: its fitted line is drawn, too.
    """
    canvas.require_rows(table, "task", "method", "accuracy", "low", "high", "shift_accuracy", "shift_low", "shift_high")
    tasks, methods = sorted(set(table["task"])), ordered(table["method"])
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=3.2, height=2.9, **canvas.key(methods))
    doubted = {} if line is None else _doubted(line)
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        of_task = table[table["task"] == task]
        if line is not None and (fitted := line[line["task"] == task]).size:
            least, most = of_task["accuracy"].min(), of_task["accuracy"].max()
            beyond = 0.2 * (most - least)
            reach = np.linspace(least - beyond, min(most + beyond, (1 + most) / 2), 100)
            expected = expit(fitted["slope"].iloc[0] * logit(reach) + fitted["intercept"].iloc[0])
            ax.plot(100 * reach, 100 * expected, color="#999999", linewidth=1.0, linestyle="--", zorder=0)
        for row in of_task.itertuples():
            looks, x, y = style(row.method), 100 * row.accuracy, 100 * row.shift_accuracy
            ax.plot([100 * row.low, 100 * row.high], [y, y], color=looks.colour, linewidth=0.9, alpha=0.6)
            ax.plot([x, x], [100 * row.shift_low, 100 * row.shift_high], color=looks.colour, linewidth=0.9, alpha=0.6)
            ax.plot(x, y, **canvas.look(looks, 5.5))
        canvas.title(ax, task, doubted.get(task, ""))
        canvas.label(
            ax,
            x="accuracy on the test set (%)" if i >= len(tasks) - columns else "",
            y="mean accuracy under shift (%)" if i % columns == 0 else "",
        )
    canvas.legend(figure, methods, heading="method")
    fitted_line = f" Dashed: fitted to the reference models.{_doubts(doubted)}" if line is not None else ""
    canvas.note(figure, f"{canvas.what_bars_are(table)}{fitted_line}")
    return figure


def retention(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: the share of its test accuracy that it keeps under shift.

    Parameters
    ----------
    table : DataFrame
        From `analysis.target_against_shift`.
    """
    canvas.require_rows(table, "task", "method", "retention", "retention_low", "retention_high", "interval")
    frame = table.assign(low=table["retention_low"], high=table["retention_high"])
    label = "shift accuracy / test accuracy (%)"
    return dots(
        frame, "retention", label=label, order=_best_first(table, "retention", ascending=False), panel="task",
        unit=100, note=canvas.what_bars_are(frame),
    )  # fmt: skip


def corruption_error(table: pd.DataFrame) -> Figure:
    """Panels for mCE and relative mCE, a line a method; left of the upright fewer errors than the normaliser makes.

    Parameters
    ----------
    table : DataFrame
        From `analysis.mean_corruption_error`.
    """
    canvas.require_rows(table, "task", "method", "mce", "low", "high", "relative_mce", "normaliser", "interval")
    relative = table.assign(low=table["relative_low"], high=table["relative_high"], mce=table["relative_mce"])
    frame = pd.concat([table.assign(of="mCE"), relative.assign(of="relative mCE")])
    frame["panel"] = frame["task"] + ", " + frame["of"]
    label = f"errors ({table['normaliser'].iloc[0]}: 1)"
    return dots(
        frame.sort_values(["task", "of"], kind="stable"), "mce", label=label, panel="panel", reference=1,
        order=_best_first(table, "mce", ascending=True), note=canvas.what_bars_are(table),
    )  # fmt: skip


def corruption_by_kind(table: pd.DataFrame) -> Figure:
    """A panel a task: CE of every method (down) under every corruption (across).

    Parameters
    ----------
    table : DataFrame
        From `analysis.corruption_errors`. Colours are logarithmic around 1, the normaliser.
    """
    canvas.require_rows(table, "task", "method", "kind", "ce", "normaliser")
    tasks, methods, kinds = sorted(set(table["task"])), ordered(table["method"]), sorted(set(table["kind"]))
    left, below = canvas.text_width(methods), canvas.text_width(kinds)
    columns = canvas.columns_of(len(tasks))
    width, height = 0.36 * max(len(kinds), 5), matrix.CELL * max(len(methods), 5)
    figure, axes = canvas.panels(
        len(tasks), columns=columns, width=width + left + 0.2, height=height + below + 0.6, right=0.8
    )
    logs = np.log2(table["ce"].clip(lower=2.0**-6))
    reach = max(float(logs.abs().max()), 0.1)
    digits = 1 if reach >= 1 else 2
    for ax, task in zip(axes, tasks, strict=True):
        of_task = table.assign(ce=logs)[table["task"] == task].pivot_table(index="method", columns="kind", values="ce")
        values = of_task.reindex(index=methods, columns=kinds).to_numpy().round(digits) + 0.0  # no -0
        image = matrix.cells(ax, values, methods, kinds, least=-reach, most=reach, colours="PuOr_r")
        matrix.numbers(ax, image, f"{{:+.{digits}f}}")
        canvas.title(ax, task)
    matrix.bar(figure, image, axes, "log2 of CE")
    canvas.note(figure, f"CE: errors over those of {table['normaliser'].iloc[0]}. +1: twice as many, -1: half as many.")
    return figure


def effective_robustness(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: shift accuracy beyond what the fitted line expects of its test accuracy.

    Parameters
    ----------
    table : DataFrame
        From `analysis.effective_robustness`. Methods that the line is fitted to stand on a shaded ground. Beside the
        name of a task stands why its line is none to go by, where it is so.
    """
    columns = "effective_robustness", "low", "high", "in_line", "line_doubt", "interval"
    canvas.require_rows(table, "task", "method", *columns)
    doubted = _doubted(table)
    table = table.assign(subtitle=[doubted.get(task, "") for task in table["task"]])
    everyone = bool(table["in_line"].all())
    fitted = "The line is fitted to all of them." if everyone else "The line is fitted to the shaded ones."
    return dots(
        table, "effective_robustness", label="effective robustness (percentage points)", panel="task", unit=100,
        order=_best_first(table, "effective_robustness", ascending=False), reference=0,
        shade=None if everyone else "in_line", subtitle="subtitle",
        note=f"{canvas.what_bars_are(table)} {fitted}{_doubts(doubted)}",
    )  # fmt: skip


def _doubted(line: pd.DataFrame) -> dict[str, str]:
    """What is wrong with the lines of those tasks that have one to doubt."""
    doubts = line.groupby("task")["line_doubt"].first()
    return {str(task): str(doubt) for task, doubt in doubts[doubts != ""].items()}


def _doubts(doubted: dict[str, str]) -> str:
    if not doubted:
        return ""
    return f" No line to go by, and no robustness to read from it: {', '.join(sorted(doubted))}."


def calibration_by_severity(table: pd.DataFrame) -> Figure:
    """A panel a task, a line a method: calibration error by severity of the shift.

    Parameters
    ----------
    table : DataFrame
        From `analysis.calibration_by_severity`.
    """
    canvas.require_rows(table, "method", "severity", "ece", "low", "high", "interval")
    table = table if "task" in table else table.assign(task="")
    tasks, methods = sorted(set(table["task"])), ordered(table["method"])
    columns = canvas.columns_of(len(tasks))
    figure, axes = canvas.panels(len(tasks), columns=columns, width=3.0, height=2.6, **canvas.key(methods))
    for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
        for place, method in enumerate(methods):
            rows = table[(table["task"] == task) & (table["method"] == method)].sort_values("severity")
            x = rows["severity"].to_numpy(dtype=float) + (place - (len(methods) - 1) / 2) * 0.3 / len(methods)
            ece, low, high = (100 * rows[name].to_numpy(dtype=float) for name in ("ece", "low", "high"))
            ax.vlines(x, low, high, color=style(method).colour, linewidth=0.8, alpha=0.6)
            ax.plot(x, ece, **canvas.look(style(method), 3.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.title(ax, task)
        y = "mean calibration error (%)" if i % columns == 0 else ""
        canvas.label(ax, x="severity of the shift (0: test set)", y=y)
    canvas.legend(figure, methods, heading="method", line=True)
    canvas.note(figure, canvas.what_bars_are(table))
    return figure


def _best_first(table: pd.DataFrame, value: str, *, ascending: bool) -> list[str]:
    """The methods by their mean over tasks."""
    return table.groupby("method")[value].mean().sort_values(ascending=ascending, kind="stable").index.tolist()
