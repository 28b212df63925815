"""How accurate every method is: task by task, and on average."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import cells_of, examples_of, seed_columns
from analysis.comparable import cell_columns, require_columns, require_comparable, require_distinct, require_known
from analysis.intervals import require_level, summarise, t_interval, wilson_mean_interval


def accuracy_table(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Test accuracy of every method on every task, with an interval.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`, or by hand: `task`, `method`, `seed`, `test_accuracy` (fraction); `test_examples` for the
        interval of a method with one seed.

    Returns
    -------
    DataFrame
        A row a task and method: `task`, `group` (where `runs` has it), `method`, `seeds`, `examples`, `accuracy`,
        `low`, `high`, `level`, `interval`: what the interval is of (see `analysis.intervals.summarise`). Cells without
        a run have no row; a frame without runs gives a table without rows.
    """
    require_columns(runs, ["task", "method", "seed", "test_accuracy"])
    require_comparable(runs)
    require_distinct(runs)
    require_known(runs, "task", "method", "test_accuracy")
    return summarise(runs, cell_columns(runs), accuracy="test_accuracy", examples="test_examples", level=level)


def mean_accuracies(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean test accuracy of every method over tasks, beside the number of parameters it tuned.

    The tasks are taken as they are: the intervals are of these tasks' mean, not of tasks in general.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`, with every method on every task; `group` for the means of groups.

    Returns
    -------
    DataFrame
        `scope`, `method`, `tasks` (how many), `fewest_seeds` and `most_seeds` (of the method on one of them),
        `tuned_parameters`, `fewest_parameters`, `most_parameters` (mean and range over tasks: a searched size differs;
        NaN where one of them is not known), `accuracy`, `low`, `high`, `level`, `interval`. A scope is a group, ``all
        tasks`` or, where every task has a group, ``mean of groups``: the two means that the literature both calls *the*
        mean; they differ when groups differ in size. `interval` is ``t over seeds`` where all the method's tasks have
        the same two or more seeds, otherwise ``Wilson over examples`` (`analysis.intervals.wilson_mean_interval`), or
        ``none`` where the number of examples is not known.
    """
    require_level(level)
    cells = cells_of(runs)
    methods, tasks = cells.methods, cells.tasks
    examples = examples_of(runs, cells)
    tuned = np.full(cells.means.shape, np.nan)
    if "tuned_parameters" in runs:
        cells_of_size = runs.groupby(["task", "method"])["tuned_parameters"].mean().astype(float)
        tuned = cells_of_size[list(itertools.product(tasks, methods))].to_numpy().reshape(tuned.shape)
    by_seeds = {
        method: some.pivot_table(index="task", columns="seed", values="test_accuracy")
        for method, some in runs.groupby("method")
    }
    table = []
    for scope, weights in _scopes(cells.groups).items():
        inside = weights > 0
        share, of_scope = weights[inside], [task for task, there in zip(tasks, inside, strict=True) if there]
        for m, method in enumerate(methods):
            by_seed = by_seeds[method].loc[of_scope].dropna(axis="columns", how="all")
            if by_seed.shape[1] >= 2 and not by_seed.isna().to_numpy().any():
                low, high = np.clip(t_interval(share @ by_seed.to_numpy(), level), 0.0, 1.0)
                interval = "t over seeds"
            else:
                low, high = wilson_mean_interval(cells.means[inside, m], examples[inside], share, level)
                interval = "none" if np.isnan(low) else "Wilson over examples"
            sizes = tuned[inside, m]
            table.append(
                {
                    "scope": scope,
                    "method": method,
                    "tasks": len(of_scope),
                    **seed_columns(cells.seeds[inside, m]),
                    "tuned_parameters": sizes.mean(),
                    "fewest_parameters": sizes.min(),
                    "most_parameters": sizes.max(),
                    "accuracy": share @ cells.means[inside, m],
                    "low": low,
                    "high": high,
                    "level": level,
                    "interval": interval,
                }
            )
    return pd.DataFrame(table)


def complete_methods(runs: pd.DataFrame) -> list[str]:
    """The methods that have a run on every task that any method has one on: those that a mean or a rank can compare."""
    tasks = runs.groupby("method")["task"].nunique()
    return sorted(tasks.index[tasks == runs["task"].nunique()])


def _scopes(groups: list[str]) -> dict[str, NDArray[np.float64]]:
    """The weight of every task in every mean, (T,) each; where a task has no group, there is no mean of groups."""
    of = np.array(groups, dtype=object)
    names = sorted(set(groups) - {""})
    scopes: dict[str, NDArray[np.float64]] = {name: (of == name) / (of == name).sum() for name in names}
    means = [*scopes.values()]
    scopes["all tasks"] = np.full(len(groups), 1 / len(groups))
    if names and "" not in groups:
        scopes["mean of groups"] = np.mean(means, axis=0)
    return scopes
