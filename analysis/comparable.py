"""What may be averaged or ranked together: results of one protocol, on the same data, from the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from petl_study.errors import InputError

ACROSS_TASKS = ("protocol", "protocol_fingerprint", "backbone", "weights")  # one value in whatever is put together
WITHIN_TASK = ("group", "data", "head", "test_examples")  # may differ between tasks, not inside one

_ZERO_SHOT = "zero_shot"  # the method that trains nothing: the classifier it asks is what it is, and no other's start
_SHOWN = 12  # characters of a fingerprint that an error shows: enough to find it
_FINGERPRINT = 64  # characters that it has
_LISTED = 12  # cells that an error lists


def require_comparable(runs: pd.DataFrame) -> None:
    """Refuse to put together results that were made under different conditions.

    Columns that `runs` lacks are not looked at, so a frame made by hand is taken at its word.

    Raises
    ------
    InputError
        Two protocols, backbones or weights; or, within a task, two groups, data fingerprints, heads or test sizes: the
        message lists the values and who has them. Or an accuracy that is no fraction, such as a percentage.
    """
    _require_fractions(runs)
    for column in ACROSS_TASKS:
        if column in runs and len(runs[column].unique()) > 1:
            raise InputError(_differing(runs, column))
    for column in WITHIN_TASK:
        if not {column, "task"} <= set(runs):
            continue
        alike = runs[runs["method"] != _ZERO_SHOT] if column == "head" and "method" in runs else runs
        for task, of_task in alike.groupby("task", sort=True):
            if len(of_task[column].unique()) > 1:
                raise InputError(f"task {task!r}: {_differing(of_task, column)}")


def require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Refuse a frame that lacks one of the columns `names`.

    Raises
    ------
    InputError
        Names those that are missing, and those that there are.
    """
    if missing := [name for name in names if name not in frame]:
        raise InputError(
            f"the frame has no column {', '.join(missing)}; it has {', '.join(map(str, frame)) or 'none'}."
            " Add what is missing, or rename what it is called here."
        )


def cell_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that say which method on which task a row is of: `task`, `group` where there is one, `method`."""
    return ["task", *(["group"] if "group" in frame else []), "method"]


def require_trials(trials: pd.DataFrame, *columns: str) -> None:
    """Refuse trials that lack a column, are none, were made under different conditions, or were stopped early.

    Raises
    ------
    InputError
        Of a search that stopped trials only those that looked good have an accuracy: nothing can be said of the search
        as if all had. Says how many, and what can be asked instead.
    """
    require_columns(trials, ["task", "method", "val_accuracy", *columns])
    require_some(trials, "trials")
    require_comparable(trials)
    stopped = trials[trials["status"] == "stopped"] if "status" in trials else trials.iloc[:0]
    if len(stopped):
        cells = sorted({f"{m!r} on {t}" for m, t in zip(stopped["method"], stopped["task"], strict=True)})
        raise InputError(
            f"{len(stopped)} of {len(trials)} trials were stopped early, so those that finished are no sample of the"
            f" search: {listed(cells)}."
            " Ask a study without a pruner, or, knowing that these are the best of each search, the finished ones:"
            " trials[trials.status != 'stopped']."
        )


def require_some(frame: pd.DataFrame, what: str = "runs") -> None:
    """Refuse an empty frame of `what`.

    Raises
    ------
    InputError
        There are no rows.
    """
    if frame.empty:
        raise InputError(f"there are no {what}, so there is nothing to compare. Load a study that has finished some.")


def require_known(runs: pd.DataFrame, *columns: str) -> None:
    """Refuse runs in which one of `columns` is missing or NaN: left out, they would change what is averaged.

    Raises
    ------
    InputError
        Names the task, method and seed of those runs.
    """
    for column in columns:
        lacking = runs[runs[column].isna()]
        if len(lacking):
            cells = [
                f"{method!r} on {task} (seed {seed})"
                for task, method, seed in lacking[["task", "method", "seed"]].itertuples(index=False)
            ]
            raise InputError(
                f"{column} is missing or NaN in {len(lacking)} of {len(runs)} runs: {listed(cells)}."
                f" Run those again, or leave them out: runs[runs.{column}.notna()]."
            )


def listed(items: Iterable[str]) -> str:
    """`items` as an error lists them: the first dozen, and how many more."""
    items = list(items)
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return "; ".join(items[:_LISTED]) + more


def by_protocol(runs: pd.DataFrame, table: Callable[..., pd.DataFrame], **options: Any) -> pd.DataFrame:
    """`table` of the runs of each protocol on their own, one below the other, with the column `protocol` first.

    What is made under two protocols is not averaged or ranked together, but it may be looked at side by side.

    Raises
    ------
    InputError
        No runs, no column `protocol`, or a run without one; and whatever `table` refuses.

    Examples
    --------
    >>> both = pd.concat([load_runs("runs/mine"), load_published(protocol="default")])
    >>> figures.mean_ranks(by_protocol(both, mean_ranks, rng=np.random.default_rng(0)))
    """
    require_columns(runs, ["protocol"])
    require_some(runs)
    if runs["protocol"].isna().any():
        raise InputError(f"{runs['protocol'].isna().sum()} of {len(runs)} runs have no protocol; give them its name.")
    parts = []
    for name, some in runs.groupby("protocol", sort=True):
        part = table(some, **options)
        part.insert(0, "protocol", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def require_distinct(runs: pd.DataFrame) -> None:
    """Refuse two results for one task, method and seed, between which an average would silently choose.

    Raises
    ------
    InputError
        Names the first such task, method and seed, and the keys of its runs.
    """
    columns = ["task", "method", "seed"]
    twice = runs[runs.duplicated(columns, keep=False)]
    if len(twice):
        (task, method, seed), same = next(iter(twice.groupby(columns, dropna=False)))
        named = [] if "key" not in same else same["key"].dropna().tolist()
        keys = f" (keys {', '.join(named)})" if named else ""
        raise InputError(
            f"{len(same)} runs of method {method!r} on task {task!r} have seed {seed}{keys}."
            " Keep one of them, such as runs[runs.study == 'NAME'] or runs[runs.key != 'KEY']."
        )


def require_complete(table: pd.DataFrame) -> None:
    """Refuse a (task x method) table with empty cells: a rank over them would favour whoever skipped the hard tasks.

    Raises
    ------
    InputError
        Lists the empty cells, method by method.
    """
    if not table.isna().to_numpy().any():
        return
    missing = [
        f"{method!r} has none on {', '.join(table.index[table[method].isna()])}"
        for method in table
        if table[method].isna().any()
    ]
    raise InputError(
        f"not every method has an accuracy on each of the {len(table)} tasks: {listed(missing)}."
        " Finish those runs (`missing_cells` lists them), or leave the method out: runs[runs.method != 'NAME']."
    )


def _require_fractions(frame: pd.DataFrame) -> None:
    for column in (name for name in frame if str(name).endswith("accuracy")):
        values = pd.to_numeric(frame[column], errors="coerce")
        if (odd := frame[values.isna() & frame[column].notna()][column]).size:
            raise InputError(f"{column} must be numbers; {len(odd)} of {len(frame)} are not, such as {odd.iloc[0]!r}.")
        if (outside := values[(values < 0) | (values > 1)]).size:
            raise InputError(
                f"{column} must be fractions from 0 to 1; {len(outside)} of {len(frame)} are not, such as"
                f" {outside.iloc[0]:g}. Divide percentages by 100."
            )


def _differing(runs: pd.DataFrame, column: str) -> str:
    """Which values of `column` there are, and whose they are."""
    whose = "study" if "study" in runs and len(runs["study"].unique()) > 1 else "method"
    values = [
        f"{_short(value)} ({whose} {', '.join(sorted(set(map(str, some[whose]))))})"
        for value, some in runs.groupby(column, sort=True, dropna=False)
    ]
    return (
        f"results with different {column.replace('_', ' ')} are not averaged or ranked together: {'; '.join(values)}."
        f" Take them one at a time, such as runs[runs.{column} == VALUE]; `petl-study diff A B` says what differs."
    )


def _short(value: object) -> str:
    text = str(value)
    return text[:_SHOWN] if len(text) == _FINGERPRINT else text
