"""How accuracy falls as the images change while the task does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparable import require_columns, require_comparable
from analysis.intervals import require_level, summarise
from analysis.over_seeds import kind_of_interval, over_seeds
from petl_study.errors import InputError, unknown


def shift_table(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of every method on the test set and on every shift set, with an interval.

    Parameters
    ----------
    accuracies : DataFrame
        From `load_accuracies`. The tasks without a shift set, and what was looked at on validation, are left out.

    Returns
    -------
    DataFrame
        `task`, (`group`,) `method`, `kind`, `severity` (``test``: 0), `seeds`, `examples`, `accuracy`, `low`, `high`,
        `level`, `interval` (see `analysis.intervals.summarise`), and `drop`: test accuracy minus this one.
    """
    rows = _shifted_tasks(accuracies)
    keys = ["task", *(["group"] if "group" in rows else []), "method", "kind", "severity"]
    table = summarise(rows, keys, accuracy="accuracy", examples="examples", level=level)
    table["severity"] = table["severity"].astype("Int64")
    on_test = table[table["kind"] == "test"].set_index(["task", "method"])["accuracy"]
    drop = (
        on_test.reindex(pd.MultiIndex.from_frame(table[["task", "method"]])).to_numpy() - table["accuracy"].to_numpy()
    )
    return table.assign(drop=drop)


def mean_over_shifts(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean accuracy over the kinds of shift, severity by severity.

    Only kinds that have every severity of their task are averaged, so that severities differ in nothing else; and every
    run must have been asked about all of them, so that methods do not either.

    Returns
    -------
    DataFrame
        `task`, `method`, `severity` (0: the test set itself), `kinds` (how many), `seeds`, `accuracy`, `low`, `high`,
        `level`, `interval`: ``t over seeds``, or ``none`` where a method has one seed (the kinds show the same
        images, so their examples cannot be counted as independent).

    Raises
    ------
    InputError
        A run that was not asked about a set that others of its task were; or two results for one run and set.
    """
    require_level(level)
    rows = _shifted_tasks(accuracies).dropna(subset="severity")
    table = []
    for task, of_task in rows.groupby("task"):
        _require_whole(str(task), of_task.pivot_table(index=["method", "seed"], columns="set", values="accuracy"))
        averaged = of_task[of_task["kind"].isin(whole_kinds(of_task))]
        for (method, severity), some in averaged.groupby(["method", "severity"]):
            by_seed = some.groupby("seed")["accuracy"].mean()
            measured: dict[str, Any] = {"kinds": some["kind"].nunique(), "seeds": len(by_seed)}
            measured |= over_seeds(by_seed, "accuracy", level=level)
            interval = {"level": level, "interval": kind_of_interval(len(by_seed))}
            table.append({"task": task, "method": method, "severity": severity, **measured, **interval})
    columns = ["task", "method", "severity", "kinds", "seeds", "accuracy", "low", "high", "level", "interval"]
    return pd.DataFrame(table, columns=columns)


def whole_kinds(of_task: pd.DataFrame) -> set[str]:
    """``test``, and the kinds of shift of which a task has every severity that it has of any."""
    kinds = of_task[of_task["kind"] != "test"].groupby("kind")["severity"].agg(set)
    severities = set().union(*kinds)
    return {"test", *kinds.index[[found == severities for found in kinds]]}


def target_against_shift(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of every method on the test set beside its mean over all shift sets, and what it retains.

    Returns
    -------
    DataFrame
        A row for each `task` and `method`: `seeds`; `accuracy`, `low`, `high` (test); `shift_sets` (how many, each
        counting the same), `shift_accuracy`, `shift_low`, `shift_high`; `retention` (shift accuracy / test accuracy;
        missing where the latter is 0), `retention_low`, `retention_high`; `level`, `interval`: ``t over seeds``, or
        ``none`` for one seed (the sets show the same images, so their examples cannot be counted as independent).

    Raises
    ------
    InputError
        No shift set at all; a run that was not asked about a set that others of its task were.
    """
    require_level(level)
    points = shifted(accuracies)
    points["retention"] = points["shift_accuracy"] / points["accuracy"].where(points["accuracy"] > 0)
    table = []
    for (task, method), some in points.groupby(["task", "method"], sort=True):
        row: dict[str, Any] = {"task": task, "method": method, "seeds": len(some)}
        row |= over_seeds(some["accuracy"], "accuracy", level=level)
        row["shift_sets"] = some["shift_sets"].iloc[0]
        row |= over_seeds(some["shift_accuracy"], "shift_accuracy", "shift_", level=level)
        row |= over_seeds(some["retention"], "retention", "retention_", level=level, bounds=(0.0, np.inf))
        table.append({**row, "level": level, "interval": kind_of_interval(len(some))})
    return pd.DataFrame(table)


def shifted(accuracies: pd.DataFrame, target: str = "test") -> pd.DataFrame:
    """`shift_means` of every method and seed, on the tasks that have shift sets; refuses where none has."""
    points = shift_means(accuracies, ["method", "seed"], target)
    if not (points["shift_sets"] > 0).any():
        tasks = ", ".join(map(str, points["task"].unique()))
        raise InputError(f"there are no shift sets of {tasks}, only {target!r}. Ask about a task that has some.")
    return points[points["shift_sets"] > 0].reset_index(drop=True)


def shift_means(accuracies: pd.DataFrame, keys: Sequence[str], target: str = "test") -> pd.DataFrame:
    """Accuracy on the target set and the mean over all shift sets, for every task and value of `keys`.

    Returns
    -------
    DataFrame
        `task`, `keys`, `accuracy`, `shift_accuracy` (missing where a task has no shift set), `shift_sets` (how many).

    Raises
    ------
    InputError
        No such target; or a set that some were asked about and some were not: means over other sets do not compare.
    """
    looked_at = one_of_each(accuracies, [*keys, "set"])
    if target not in set(looked_at["set"]):
        raise unknown("target", target, set(looked_at["set"]))
    pieces = []
    for task, of_task in looked_at.groupby("task", sort=True):
        sets = of_task.pivot_table(index=list(keys), columns="set", values="accuracy")
        _require_whole(str(task), sets)
        shifts = sets.drop(columns=target)
        means = {"accuracy": sets[target], "shift_accuracy": shifts.mean(axis=1), "shift_sets": shifts.shape[1]}
        pieces.append(pd.DataFrame(means).reset_index().assign(task=task))
    return pd.concat(pieces, ignore_index=True)[["task", *keys, "accuracy", "shift_accuracy", "shift_sets"]]


def one_of_each(accuracies: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """`accuracies` without validation, comparable, with one row for each task and value of `keys`.

    A run without a seed is that method's only one, and counts as seed 0.
    """
    require_columns(accuracies, ["task", *keys, "accuracy"])
    require_comparable(accuracies)
    looked_at = accuracies[accuracies["set"] != "val"]
    if "seed" in looked_at:
        looked_at = looked_at.assign(seed=looked_at["seed"].fillna(0))
    twice = looked_at[looked_at.duplicated(["task", *keys], keep=False)]
    if len(twice):
        first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in ("task", *keys))
        raise InputError(
            f"{len(twice)} rows are of the same thing as another, such as {first}; a mean over them would silently"
            " choose. Keep one of each, such as frame[frame.study == 'NAME']."
        )
    return looked_at


def _require_whole(task: str, sets: pd.DataFrame) -> None:
    holes = sets.isna().any(axis=1)
    if holes.any():
        first: dict[Any, Any] = sets[holes].reset_index().iloc[0].to_dict()
        which = ", ".join(f"{name} {first[name]}" for name in sets.index.names)
        lacking = ", ".join(str(name) for name in sets if pd.isna(first[name]))
        raise InputError(
            f"task {task!r}: {holes.sum()} of {len(sets)} rows have no accuracy on a set that others have, such as"
            f" {which}: {lacking}. Measure it there, or leave the set out of all: frame[frame.set != 'NAME']."
        )


def _shifted_tasks(accuracies: pd.DataFrame) -> pd.DataFrame:
    require_columns(accuracies, ["kind", "severity"])
    looked_at = one_of_each(accuracies, ["method", "seed", "set"])
    shifted = looked_at.loc[looked_at["set"] != "test", "task"].unique()
    return looked_at[looked_at["task"].isin(shifted)]
