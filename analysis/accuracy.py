"""How accurate every method is: task by task, and on average."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparable import require_columns, require_comparable, require_complete, require_distinct
from analysis.intervals import require_level, summarise, t_interval
from petl_study.errors import InputError


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
        `low`, `high`, `level`, `interval`: what the interval is of (see `analysis.intervals.summarise`).
    """
    _require_averageable(runs)
    keys = ["task", *(["group"] if "group" in runs else []), "method"]
    return summarise(runs, keys, accuracy="test_accuracy", examples="test_examples", level=level)


def mean_accuracies(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean test accuracy of every method over tasks, beside the number of parameters it tuned.

    The tasks are taken as they are: the intervals are of these tasks' mean, not of tasks in general.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`, with every method on every task.

    Returns
    -------
    DataFrame
        `scope`, `method`, `tasks` (how many), `tuned_parameters`, `fewest_parameters`, `most_parameters` (mean and
        range over tasks: a searched size differs; NaN where one of them is not known), `accuracy`, `low`, `high`,
        `level`, `interval`. A scope is a group, ``all tasks`` or ``mean of groups``: the two means that the literature
        both calls *the* mean; they differ when groups differ in size. `interval` is ``t over seeds`` where all the
        method's tasks have the same two or more seeds, otherwise ``normal over examples``, or ``none`` where the number
        of examples is not known.
    """
    require_level(level)
    _require_averageable(runs)
    require_columns(runs, ["group"])
    if runs.empty:
        raise InputError("there are no runs, so there is nothing to average")
    unknown_here = {name: np.nan for name in ("test_examples", "tuned_parameters") if name not in runs}
    runs = runs.assign(**unknown_here)
    cells = runs.groupby(["task", "group", "method"], as_index=False).agg(
        accuracy=("test_accuracy", "mean"),
        examples=("test_examples", "first"),
        seeds=("seed", "size"),
        tuned=("tuned_parameters", "mean"),
    )
    table_of_all = cells.pivot_table(index="task", columns="method", values="accuracy")
    require_complete(table_of_all.reindex(index=sorted(set(runs["task"])), columns=sorted(set(runs["method"]))))
    group_of = cells.groupby("task")["group"].first()
    by_seeds = {
        method: some.pivot_table(index="task", columns="seed", values="test_accuracy")
        for method, some in runs.groupby("method")
    }
    table = []
    for scope, weights in _scopes(group_of).items():
        for method, of_method in cells[cells["task"].isin(weights.index)].groupby("method"):
            of_method = of_method.set_index("task").loc[weights.index]
            accuracy = weights.to_numpy() @ of_method["accuracy"].to_numpy()
            by_seed = by_seeds[method].loc[weights.index].dropna(axis="columns", how="all")
            if by_seed.shape[1] >= 2 and not by_seed.isna().to_numpy().any():
                low, high = np.clip(t_interval(weights.to_numpy() @ by_seed.to_numpy(), level), 0.0, 1.0)
                interval = "t over seeds"
            else:
                p, n = of_method["accuracy"], of_method["examples"].astype(float)
                half = stats.norm.ppf((1 + level) / 2) * float(
                    np.sqrt((weights**2 * p * (1 - p) / n).sum(skipna=False))
                )
                interval = "none" if np.isnan(half) else "normal over examples"
                low, high = accuracy - half, accuracy + half
            tuned = of_method["tuned"].astype(float)
            table.append(
                {
                    "scope": scope,
                    "method": method,
                    "tasks": len(weights),
                    "tuned_parameters": tuned.mean(skipna=False),
                    "fewest_parameters": tuned.min(skipna=False),
                    "most_parameters": tuned.max(skipna=False),
                    "accuracy": accuracy,
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


def _require_averageable(runs: pd.DataFrame) -> None:
    require_columns(runs, ["task", "method", "seed", "test_accuracy"])
    require_comparable(runs)
    require_distinct(runs)


def _scopes(group_of: pd.Series) -> dict[str, pd.Series]:
    """The weight of every task in every mean; `group_of` is indexed by task."""
    sizes = group_of.map(group_of.value_counts())
    groups = sorted(group_of.unique())
    scopes = {group: (1 / sizes)[group_of == group] for group in groups}
    scopes["all tasks"] = pd.Series(1 / len(group_of), index=group_of.index)
    scopes["mean of groups"] = 1 / sizes / len(groups)
    return scopes
