"""Accuracies as an array: a cell is one method on one task, and holds an accuracy for every seed.

Where cells have different numbers of seeds nothing is dropped: every table says how many its numbers rest on, in the
columns `fewest_seeds` and `most_seeds` (of a cell), and its figure repeats it. Only a statistic that would weigh tasks
by their seeds refuses them (`require_even`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import (
    listed,
    require_columns,
    require_comparable,
    require_complete,
    require_distinct,
    require_known,
    require_some,
)
from petl_study.errors import InputError


@dataclass(frozen=True, eq=False)
class Cells:
    """Accuracies of M methods on T tasks.

    `accuracy` is (T, M, S), the seeds of a cell first; a cell with fewer than S seeds ends in NaN. `groups` (T,) names
    the group of every task, empty where it is not known.
    """

    tasks: list[str]
    groups: list[str]
    methods: list[str]
    accuracy: NDArray[np.float64]

    @cached_property
    def seeds(self) -> NDArray[np.intp]:
        """How many seeds a cell has: (T, M)."""
        return (~np.isnan(self.accuracy)).sum(axis=-1)

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean over seeds: (T, M)."""
        return seed_means(self.accuracy)

    def only(self, tasks: list[str]) -> Cells:
        """The cells of some of the tasks."""
        rows = [self.tasks.index(task) for task in tasks]
        return Cells([self.tasks[i] for i in rows], [self.groups[i] for i in rows], self.methods, self.accuracy[rows])

    def scopes(self) -> dict[str, Cells]:
        """These cells by group, in order of name, and then those of ``all tasks``; no groups where none are known."""
        names = sorted(set(self.groups) - {""})
        by_group = {name: [t for t, g in zip(self.tasks, self.groups, strict=True) if g == name] for name in names}
        return {**{name: self.only(tasks) for name, tasks in by_group.items()}, "all tasks": self}

    def counts(self) -> dict[str, int]:
        """How much a number over all cells rests on, as columns: `tasks`, `fewest_seeds`, `most_seeds`."""
        return {"tasks": len(self.tasks), **{name: int(n) for name, n in seed_columns(self.seeds.ravel()).items()}}


def seed_columns(seeds: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """`fewest_seeds` and `most_seeds` of the cells along the first axis: (cells, ...) -> (...) each."""
    return {"fewest_seeds": seeds.min(axis=0), "most_seeds": seeds.max(axis=0)}


def cells_of(runs: pd.DataFrame, accuracy: str = "test_accuracy") -> Cells:
    """The column `accuracy` of `runs` by task, method and seed.

    Raises
    ------
    InputError
        No runs, a missing column, runs that are not comparable, two for one task, method and seed, a run whose
        accuracy is missing or NaN, or a method without a run on a task: the message names the cells.
    """
    require_columns(runs, ["task", "method", "seed", accuracy])
    require_some(runs)
    require_known(runs, "task", "method", accuracy)
    require_comparable(runs)
    require_distinct(runs)
    require_complete(runs.pivot_table(index="task", columns="method", values=accuracy, aggfunc="size", observed=True))
    tasks, methods = sorted(set(runs["task"])), sorted(set(runs["method"]))
    ordered = runs.sort_values("seed", kind="stable")
    place = ordered.groupby(["task", "method"]).cumcount().to_numpy()
    values = np.full((len(tasks), len(methods), place.max() + 1), np.nan)
    rows = pd.Index(tasks).get_indexer(ordered["task"].to_numpy())
    columns = pd.Index(methods).get_indexer(ordered["method"].to_numpy())
    values[rows, columns, place] = ordered[accuracy].to_numpy(dtype=np.float64)
    group_of = runs.groupby("task")["group"].first().dropna().to_dict() if "group" in runs else {}
    return Cells(tasks, [str(group_of.get(task, "")) for task in tasks], methods, values)


def seed_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis, seeds, of which NaN are none.

    Rounded, so that two methods with equally many correct examples tie whatever the order their seeds were added in.
    """
    if values.shape[-1] == 1:
        return values[..., 0].round(12)
    return np.nanmean(values, axis=-1).round(12)


def examples_of(runs: pd.DataFrame, cells: Cells) -> NDArray[np.float64]:
    """How many test examples each task of `cells` has, NaN where `runs` does not say: (T,)."""
    if "test_examples" not in runs:
        return np.full(len(cells.tasks), np.nan)
    return runs.groupby("task")["test_examples"].first()[cells.tasks].to_numpy(dtype=np.float64, na_value=np.nan)


def missing_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are missing for every method to have every seed on every task that any method has one on.

    Returns
    -------
    DataFrame
        `task`, `method`, `seed`; empty where nothing is missing.
    """
    require_columns(runs, ["task", "method", "seed"])
    there = runs[["task", "method", "seed"]].drop_duplicates()
    if there["seed"].isna().any():
        nameless = there["method"][there["seed"].isna()].iloc[0]
        raise InputError(f"a run of {nameless!r} has no seed, so which seeds are missing cannot be said; give it one.")
    wanted: list[list[Any]] = [sorted(set(there[name])) for name in there]
    every = pd.MultiIndex.from_product(wanted, names=list(there))
    return every.difference(pd.MultiIndex.from_frame(there)).to_frame(index=False)


def require_even(cells: Cells) -> None:
    """Refuse cells with different numbers of seeds, where a statistic would weigh some tasks more than others.

    Raises
    ------
    InputError
        Names the cells that have fewer seeds than the most.
    """
    most = int(cells.seeds.max())
    fewer = [
        f"{cells.methods[m]!r} on {cells.tasks[t]} has {cells.seeds[t, m]}" for t, m in np.argwhere(cells.seeds < most)
    ]
    if fewer:
        raise InputError(
            f"not every method has {most} seeds on every task: {listed(fewer)}. Finish those runs"
            " (`missing_cells` lists them), or take the seeds that all have, such as runs[runs.seed == 0]."
        )


def require_several(cells: Cells) -> None:
    """Refuse the cells of a single method, where methods are compared with each other."""
    if len(cells.methods) < 2:
        raise InputError(f"a comparison of methods needs at least two; got {cells.methods[0]}. Load more methods.")
