"""How accurate every run is, and which differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas, matrix, rows
from analysis.palette import style


def accuracy_intervals(table: pd.DataFrame) -> Figure:
    """A row a method, a mark a run: accuracy with its interval, and how often the run was the most accurate.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_intervals`. The most accurate method is on top.
    """
    canvas.require_rows(table, "method", "accuracy", "low", "high", "best", "level")
    methods = rows.by_value(table, "accuracy", ascending=False)
    figure, (accuracy, best) = rows.sheet(methods, panels=2)
    rows.marks(accuracy, table, methods, "accuracy", scale=100)
    canvas.label(accuracy, x="test accuracy (%)")
    for y, method in enumerate(methods):
        of_method = table[table["method"] == method]
        for at, share in zip(rows.offsets(len(of_method)), of_method["best"], strict=True):
            best.plot([0, 100 * share], [y + at] * 2, color=style(method).colour, linewidth=2.2, solid_capstyle="butt")
    best.set_xlim(0, None)
    canvas.label(best, x="most accurate (% of resamples)")
    canvas.note(figure, f"Bars: {table['level'].iloc[0]:.0%} interval, bootstrap over examples, the same for all runs.")
    return figure


def accuracy_differences(table: pd.DataFrame, *, alpha: float = 0.05) -> Figure:
    """Every run against every other: accuracy of the row minus that of the column.

    Parameters
    ----------
    table : DataFrame
        From `analysis.accuracy_differences`. Runs are ordered by accuracy. A dot marks the pairs whose `p_holm` is
        below `alpha`.
    """
    canvas.require_rows(table, "run_a", "run_b", "difference", "p_holm", "accuracy_a", "accuracy_b")
    accuracy = dict(zip(table["run_a"], table["accuracy_a"], strict=True))
    accuracy |= dict(zip(table["run_b"], table["accuracy_b"], strict=True))
    order = sorted(accuracy, key=lambda run: (-accuracy[run], run))
    place = {run: i for i, run in enumerate(order)}
    differences, marked = np.full((len(order), len(order)), np.nan), np.zeros((len(order), len(order)), dtype=bool)
    for row in table.to_dict("records"):
        a, b = place[row["run_a"]], place[row["run_b"]]
        differences[a, b], differences[b, a] = 100 * row["difference"], -100 * row["difference"]
        marked[a, b] = marked[b, a] = row["p_holm"] < alpha
    names = _names(table)
    shown = [names[run] for run in order]
    most = float(np.nanmax(np.abs(differences)))
    return matrix.heat_map(
        pd.DataFrame(differences, shown, shown),
        label="row minus column (percentage points of accuracy)",
        least=-most,
        most=most,
        colours="PuOr",
        marked=marked,
        note=f"Dot: McNemar's mid-p below {alpha:g} after Holm's correction.",
    )


def _names(table: pd.DataFrame) -> dict[int, str]:
    """The name of every run, with its seed where a method has several."""
    sides = [table[[f"{name}_{side}" for name in ("run", "method", "seed")]].to_numpy().tolist() for side in "ab"]
    runs = {run: (method, seed) for run, method, seed in (*sides[0], *sides[1])}
    methods = [method for method, _ in runs.values()]
    several = {method for method in methods if methods.count(method) > 1}
    return {run: f"{method} {seed}" if method in several else method for run, (method, seed) in runs.items()}
