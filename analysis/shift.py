"""How accuracy falls as the images change while the task does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparable import require_columns, require_comparable
from analysis.intervals import require_level, summarise
from analysis.one_seed import mean_of_all, over_seeds_or_examples, with_ends
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
        `level`, `interval` (see `analysis.intervals.summarise`); and `drop`, test accuracy minus this one, seed by
        seed, with `drop_low`, `drop_high`: over seeds, or for one seed conservative over examples (see
        `analysis.one_seed`).
    """
    rows = _with_drop(with_ends(_shifted_tasks(accuracies), level))
    keys = ["task", *(["group"] if "group" in rows else []), "method", "kind", "severity"]
    table = summarise(rows, keys, accuracy="accuracy", examples="examples", level=level)
    drops = [
        over_seeds_or_examples(some, {"drop": "drop_"}, level=level, bounds=(-1.0, 1.0))
        for _, some in rows.groupby(keys, sort=True, dropna=False)  # in the order of the table
    ]
    columns = {name: [of_row[name] for of_row in drops] for name in ("drop", "drop_low", "drop_high")}
    return table.astype({"severity": "Int64"}).assign(**columns)


def _with_drop(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows`, a row a run and set, with what the run loses against the test set, and the ends of one seed."""
    itself = (rows["set"] == "test").to_numpy()
    runs = ["task", "method", "seed"]
    of_run = pd.MultiIndex.from_frame(rows[runs])
    on_test = rows[itself].set_index(runs).reindex(of_run)
    columns = {}
    for name, test, shift in (("drop", "", ""), ("drop_low", "_low", "_high"), ("drop_high", "_high", "_low")):
        lost = on_test[f"accuracy{test}"].to_numpy(dtype=float) - rows[f"accuracy{shift}"].to_numpy(dtype=float)
        columns[name] = np.where(itself, 0.0 * lost, lost)  # unknown stays unknown
    return rows.assign(**columns)


def mean_over_shifts(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean accuracy over the kinds of shift, severity by severity.

    Only kinds that have every severity of their task are averaged, so that severities differ in nothing else; and every
    run must have been asked about all of them, so that methods do not either.

    Returns
    -------
    DataFrame
        `task`, `method`, `severity` (0: the test set itself), `kinds` (how many), `seeds`, `accuracy`, `low`, `high`,
        `level`, `interval`: ``t over seeds``; where a method has one seed ``conservative over examples`` (see
        `analysis.one_seed`: the kinds show the same images, so their examples cannot be counted as independent), or
        ``none`` where the number of examples is not known.

    Raises
    ------
    InputError
        A run that was not asked about a set that others of its task were; or two results for one run and set.
    """
    require_level(level)
    rows = with_ends(_shifted_tasks(accuracies).dropna(subset="severity"), level)
    table = []
    for task, of_task in rows.groupby("task"):
        _require_whole(str(task), of_task.pivot_table(index=["method", "seed"], columns="set", values="accuracy"))
        averaged = of_task[of_task["kind"].isin(whole_kinds(of_task))]
        for (method, severity), some in averaged.groupby(["method", "severity"]):
            by_seed = some.groupby("seed")[["accuracy", "accuracy_low", "accuracy_high"]].agg(mean_of_all)
            row: dict[str, Any] = {"task": task, "method": method, "severity": severity}
            row |= {"kinds": some["kind"].nunique(), "seeds": len(by_seed)}
            table.append(row | over_seeds_or_examples(by_seed, {"accuracy": ""}, level=level))
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
        missing where the latter is 0), `retention_low`, `retention_high`; `level`, `interval`: ``t over seeds``; for
        one seed ``conservative over examples`` (see `analysis.one_seed`), or ``none`` where the number of examples is
        not known.

    Raises
    ------
    InputError
        No shift set at all; a run that was not asked about a set that others of its task were.
    """
    require_level(level)
    points = shifted(accuracies, level=level)
    points["retention"] = points["shift_accuracy"] / points["accuracy"].where(points["accuracy"] > 0)
    points["retention_low"] = points["shift_accuracy_low"] / points["accuracy_high"]
    points["retention_high"] = points["shift_accuracy_high"] / points["accuracy_low"].where(points["accuracy"] > 0)
    parts = {"accuracy": "", "shift_accuracy": "shift_"}
    table = []
    for (task, method), some in points.groupby(["task", "method"], sort=True):
        row: dict[str, Any] = {"task": task, "method": method, "seeds": len(some)}
        row["shift_sets"] = some["shift_sets"].iloc[0]
        row |= over_seeds_or_examples(some, {"retention": "retention_"}, level=level, bounds=(0.0, np.inf))
        table.append(row | over_seeds_or_examples(some, parts, level=level))
    order = ["task", "method", "seeds", "accuracy", "low", "high", "shift_sets", "shift_accuracy", "shift_low"]
    order += ["shift_high", "retention", "retention_low", "retention_high", "level", "interval"]
    return pd.DataFrame(table)[order]


def shifted(accuracies: pd.DataFrame, target: str = "test", *, level: float = 0.95) -> pd.DataFrame:
    """`shift_means` of every method and seed, on the tasks that have shift sets; refuses where none has."""
    points = shift_means(accuracies, ["method", "seed"], target, level=level)
    if not (points["shift_sets"] > 0).any():
        tasks = ", ".join(map(str, points["task"].unique()))
        raise InputError(f"there are no shift sets of {tasks}, only {target!r}. Ask about a task that has some.")
    return points[points["shift_sets"] > 0].reset_index(drop=True)


def shift_means(
    accuracies: pd.DataFrame, keys: Sequence[str], target: str = "test", *, level: float = 0.95
) -> pd.DataFrame:
    """Accuracy on the target set and the mean over all shift sets, for every task and value of `keys`.

    Returns
    -------
    DataFrame
        `task`, `keys`, `accuracy`, `shift_accuracy` (missing where a task has no shift set), `shift_sets` (how many);
        and their intervals over examples, `accuracy_low`, `accuracy_high`, `shift_accuracy_low`, `shift_accuracy_high`
        (see `analysis.one_seed`; missing where a number of examples is not known).

    Raises
    ------
    InputError
        No such target; or a set that some were asked about and some were not: means over other sets do not compare.
    """
    looked_at = one_of_each(accuracies, [*keys, "set"])
    pieces = []
    for task, of_task in with_ends(looked_at, level).dropna(subset="accuracy").groupby("task", sort=True):
        rows = of_task.assign(row=np.arange(len(of_task))).pivot_table(index=list(keys), columns="set", values="row")
        if target not in rows:
            raise unknown("target", target, rows.columns, where=f"task {task!r}")
        _require_whole(str(task), rows)
        on_target = rows[target].to_numpy(dtype=np.int64)  # (K,)
        on_shifts = rows.drop(columns=target).to_numpy(dtype=np.int64)  # (K, sets)
        means = rows.index.to_frame(index=False)
        for name in ("accuracy", "accuracy_low", "accuracy_high"):
            values = of_task[name].to_numpy(dtype=np.float64)
            means[name] = values[on_target]
            means[f"shift_{name}"] = values[on_shifts].mean(axis=1) if on_shifts.size else np.nan
        pieces.append(means.assign(task=task, shift_sets=on_shifts.shape[1]))
    columns = ["accuracy", "shift_accuracy", "shift_sets", "accuracy_low", "accuracy_high"]
    return pd.concat(pieces, ignore_index=True)[["task", *keys, *columns, "shift_accuracy_low", "shift_accuracy_high"]]


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
