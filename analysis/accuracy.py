"""How accurate every method is: task by task, on average, and in rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparable import require_comparable, require_complete, require_distinct
from analysis.intervals import require_level, summarise, t_interval


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
        range over tasks: a searched size differs), `accuracy`, `low`, `high`, `level`, `interval`. A scope is a
        group, ``all tasks`` or ``mean of groups``: the two means that the literature both calls *the* mean; they
        differ when groups differ in size. `interval` is ``t over seeds`` where all the method's tasks have the same
        two or more seeds, otherwise ``normal over examples``.
    """
    require_level(level)
    _require_averageable(runs)
    cells = runs.groupby(["task", "group", "method"], as_index=False).agg(
        accuracy=("test_accuracy", "mean"),
        examples=("test_examples", "first"),
        seeds=("seed", "size"),
        tuned=("tuned_parameters", "mean"),
    )
    require_complete(cells.pivot_table(index="task", columns="method", values="accuracy"))
    group_of = cells.groupby("task")["group"].first()
    table = []
    for scope, weights in _scopes(group_of).items():
        for method, of_method in cells[cells["task"].isin(weights.index)].groupby("method"):
            of_method = of_method.set_index("task").loc[weights.index]
            accuracy = weights.to_numpy() @ of_method["accuracy"].to_numpy()
            by_seed = (
                runs[(runs["method"] == method) & runs["task"].isin(weights.index)]
                .pivot_table(index="task", columns="seed", values="test_accuracy")
                .loc[weights.index]
            )
            if by_seed.shape[1] >= 2 and not by_seed.isna().to_numpy().any():
                low, high = np.clip(t_interval(weights.to_numpy() @ by_seed.to_numpy(), level), 0.0, 1.0)
                interval = "t over seeds"
            else:
                p, n = of_method["accuracy"], of_method["examples"].astype(float)
                half = stats.norm.ppf((1 + level) / 2) * float(np.sqrt((weights**2 * p * (1 - p) / n).sum()))
                low, high, interval = accuracy - half, accuracy + half, "normal over examples"
            tuned = of_method["tuned"].astype(float)
            table.append(
                {
                    "scope": scope,
                    "method": method,
                    "tasks": len(weights),
                    "tuned_parameters": tuned.mean(),
                    "fewest_parameters": tuned.min(),
                    "most_parameters": tuned.max(),
                    "accuracy": accuracy,
                    "low": low,
                    "high": high,
                    "level": level,
                    "interval": interval,
                }
            )
    return pd.DataFrame(table)


def mean_ranks(
    runs: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 10_000
) -> pd.DataFrame:
    """Mean rank of every method over tasks, with a bootstrap interval over tasks.

    Parameters
    ----------
    runs : DataFrame
        As for `accuracy_table`, with every method on every task. Seeds are averaged before ranking.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the T tasks, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a method, best first: `method`, `mean_rank` (1 is best of M, ties share), `low`, `high`, `level`,
        `tasks`. One task says nothing of others: its interval is NaN.
    """
    require_level(level)
    _require_averageable(runs)
    accuracy = runs.pivot_table(index="task", columns="method", values="test_accuracy")  # (T, M), mean over seeds
    require_complete(accuracy)
    # Rounded, so that two methods with equally many correct examples tie whatever the order their seeds were added in.
    ranks = accuracy.round(12).rank(axis="columns", ascending=False).to_numpy()  # (T, M)
    picks = rng.integers(len(ranks), size=(draws, len(ranks)))  # (draws, T)
    low, high = np.quantile(ranks[picks].mean(axis=1), [(1 - level) / 2, (1 + level) / 2], axis=0)  # (M,) each
    if len(ranks) == 1:
        low = high = np.full(ranks.shape[1], np.nan)
    columns = {
        "method": accuracy.columns,
        "mean_rank": ranks.mean(axis=0),
        "low": low,
        "high": high,
        "level": level,
        "tasks": len(ranks),
    }
    return pd.DataFrame(columns).sort_values(["mean_rank", "method"], ignore_index=True)


def complete_methods(runs: pd.DataFrame) -> list[str]:
    """The methods that have a run on every task that any method has one on: those that a mean or a rank can compare."""
    tasks = runs.groupby("method")["task"].nunique()
    return sorted(tasks.index[tasks == runs["task"].nunique()])


def _require_averageable(runs: pd.DataFrame) -> None:
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
