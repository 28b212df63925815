"""Stored studies as data frames and arrays.

Every function takes the directory of a study, or several of them: their rows are joined, and a result that lies in more
than one (same key: same result) is taken once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from analysis.predictions import Predictions
from analysis.rows import (
    ACCURACY,
    ENSEMBLE,
    FAILURE,
    RUN,
    TRIAL,
    Row,
    accuracy_rows,
    ensemble_row,
    failure_row,
    read_row,
    run_row,
    trial_row,
)
from petl_study.errors import InputError, unknown
from petl_study.store import Entry, Kind, Record, Study, furthest

Paths = str | Path | Sequence[str | Path]
TRAINED: tuple[Kind, ...] = ("trial", "run")
T = TypeVar("T")


def load_runs(path: Paths) -> pd.DataFrame:
    """A row for every finished run.

    Returns
    -------
    DataFrame
        `task`, `group`, `method`, `seed` (of initialisation; `order_seed` and `sampling_seed` beside it); what the
        search chose: `hyperparameters` (a dict), `lr`, `weight_decay`, from `search_trials` trials of which
        `search_failed` failed and `search_stopped` were stopped early; `test_accuracy` and `val_accuracy` (fractions;
        the latter of the search's best trial, trained on train alone), `test_loss`, `val_loss` (nats), `test_examples`,
        `val_examples` and `train_examples` (that the run was trained on); `tuned_parameters` (without the classifier),
        `classifier_parameters`, `model_parameters`; `bytes` (of the tuned tensors and the classifier, stored or not);
        `fit_seconds`, `predict_seconds`, `peak_memory_bytes`, and on what: `hardware` (the processor's architecture or
        the GPU's name), `device`, `threads`, and whether `compiled` and `lean` (as `petl-study run` was told); and what
        it was made under: `protocol` (its name), `protocol_fingerprint`, `data`, `backbone`, `weights`, `head`, `key`,
        `study`.
    """
    return _frame([read_row(entry.open(), run_row) for entry in _entries(path, "run") if not entry.failed], RUN)


def load_trials(path: Paths) -> pd.DataFrame:
    """A row for every search trial, failed ones included.

    Returns
    -------
    DataFrame
        As `load_runs`, with `status` ("finished", or "failed": no accuracy, or "stopped" by the search's pruner),
        `selected`: whether a stored run was made with its hyperparameters, `epochs`: how many it trained,
        `best_val_accuracy`: of its best epoch (`val_accuracy` is of its last), and `classes`: how many the task has.

        A stopped trial has no `val_accuracy`, so that it is not taken for a finished one: `stopped_val_accuracy` is
        what it had reached after its `epochs`. Where studies are joined, and another finished the same trial, that
        counts.
    """
    winners = {record.header.get("selected", {}).get("trial") for record in _records(path, "run")}
    trials = furthest(_entries(path, "trial"))
    rows = [read_row(entry.open(), trial_row) | {"selected": entry.key in winners} for entry in trials]
    return _frame(rows, TRIAL)


def load_failures(path: Paths) -> pd.DataFrame:
    """A row for every trial and run that failed: what it was, `error` (its kind) and `reason`."""
    failed = [entry for kind in TRAINED for entry in _entries(path, kind) if entry.failed]
    return _frame([read_row(entry.open(), failure_row) for entry in failed], FAILURE)


def load_accuracies(path: Paths) -> pd.DataFrame:
    """A row for every set of examples that a finished run looked at.

    Returns
    -------
    DataFrame
        `task`, `group`, `method`, `seed`, `set`, `accuracy` (fraction), `loss` (nats), `examples`, and what the run was
        made under. A shift set ``noise:2`` has `kind` ``noise`` and `severity` 2; ``test`` has its own name as kind and
        severity 0; a set without a severity has none.
    """
    rows = [row for record in _records(path, "run") if not record.failed for row in read_row(record, accuracy_rows)]
    frame = _frame(rows, ACCURACY)
    return frame.assign(severity=frame["severity"].astype("Int64"))


def load_ensembles(path: Paths) -> pd.DataFrame:
    """A row for every stored ensemble.

    Returns
    -------
    DataFrame
        `task`, `group`, `method` (``ensemble:`` and the rule), `combine`, `members` (a list of dicts: method, seed,
        key, accuracies by set), `size`, accuracies as in `load_runs`, `best_member_accuracy` and
        `mean_member_accuracy` on test, what all members together tuned and took, and what they were made under.
    """
    return _frame(
        [read_row(record, ensemble_row) for record in _records(path, "ensemble") if not record.failed], ENSEMBLE
    )


def load_predictions(
    path: Paths,
    task: str,
    split: str = "test",
    methods: Sequence[str] | str | None = None,
    seeds: Sequence[int] | int | None = None,
) -> Predictions:
    """What the runs of one task said of one set of examples.

    Parameters
    ----------
    split : str
        ``test``, ``val`` (there, what the search's best trial said) or a shift set such as ``noise:2``.
    methods, seeds : optional
        Which runs; all of them by default. `methods` may also name stored ensembles, such as ``ensemble:vote``, which
        are otherwise left out; they have no seed, so `seeds` does not select among them.

    Returns
    -------
    Predictions
        Ordered by method and seed, ensembles last; `runs` as from `load_runs` (or `load_ensembles`).

    Raises
    ------
    InputError
        No such task, method, seed or split (the message lists what there is), or runs that looked at different
        examples.
    """
    records = _chosen(path, task, _listed(methods), _listed(seeds))
    if lacking := [record for record in records if split not in record.sets]:
        if len(lacking) == len(records):
            known = {name for record in records for name in record.sets}
            raise unknown("split", split, known, where=_place(path, task))
        raise InputError(
            f"{_place(path, task)}: {len(lacking)} of {len(records)} runs have no logits for {split!r}:"
            f" {', '.join(map(_name, lacking))}. Run those again, or leave them out with `methods` or `seeds`."
        )
    first = _Looked(records[0], split)
    said = first.record.logits(split)
    # Filled run by run: stacking a list of them would hold every logit twice.
    logits = np.empty((len(records), *said.shape), said.dtype)
    logits[0] = said
    for row, record in enumerate(records[1:], start=1):
        said = record.logits(split)
        _require_same_examples(first, logits.shape[1:], _Looked(record, split), said.shape)
        if said.dtype != logits.dtype:
            logits = logits.astype(np.result_type(said, logits))
        logits[row] = said
    rows = [read_row(record, ensemble_row if record.header["kind"] == "ensemble" else run_row) for record in records]
    runs = pd.DataFrame(rows)
    return Predictions(first.labels, logits, runs, first.ids)


# ------------------------------------------------------------------------------------------------------------- reading


def _studies(path: Paths) -> list[Study]:
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise InputError("no study was given; give the directory of one, or a list of them")
    return [Study.open(one) for one in paths]


def _entries(path: Paths, kind: Kind, task: str | None = None) -> Iterator[Entry]:
    seen: set[str] = set()
    for study in _studies(path):
        for entry in study.entries(kind, task):
            if entry.key not in seen:
                seen.add(entry.key)
                yield entry


def _records(path: Paths, kind: Kind, task: str | None = None) -> Iterator[Record]:
    return (entry.open() for entry in _entries(path, kind, task))


def _frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """`rows` with exactly these columns, so that an empty study gives an empty frame of the right shape."""
    order = [column for column in ("task", "method", "seed") if column in columns]
    return pd.DataFrame(rows, columns=columns).sort_values(order, kind="stable", ignore_index=True)


def _chosen(path: Paths, task: str, methods: list[str] | None, seeds: list[int] | None) -> list[Record]:
    """The finished records of `task` that are asked for, in the order of `load_predictions`."""
    runs = [record for record in _records(path, "run", task) if not record.failed]
    if not runs:
        known = {record.spec["task"] for record in _records(path, "run") if not record.failed}
        raise unknown("task", task, known, where=f"{_shown(path)}: finished runs")
    ensembles = [record for record in _records(path, "ensemble", task) if not record.failed]
    known_methods = {record.spec["method"] for record in (*runs, *ensembles)}
    known_seeds = {record.spec["seeds"]["init"] for record in runs}
    for method in methods or ():
        if method not in known_methods:
            raise unknown("method", method, known_methods, where=_place(path, task))
    for seed in seeds or ():
        if seed not in known_seeds:
            raise InputError(
                f"{_place(path, task)}: no run has seed {seed}; seeds: {', '.join(map(str, sorted(known_seeds)))}."
            )
    chosen = [
        record
        for record in runs
        if (methods is None or record.spec["method"] in methods)
        and (seeds is None or record.spec["seeds"]["init"] in seeds)
    ]
    chosen.sort(key=lambda record: (record.spec["method"], record.spec["seeds"]["init"], record.key))
    chosen += [record for record in ensembles if methods is not None and record.spec["method"] in methods]
    if not chosen:
        raise InputError(
            f"{_place(path, task)}: no finished run of {', '.join(methods or known_methods)} has seed"
            f" {', '.join(map(str, seeds or ()))}. Finish those runs, or ask for other methods or seeds."
        )
    return chosen


class _Looked:
    """The examples that a record's logits are of."""

    def __init__(self, record: Record, split: str):
        self.record, self.split = record, split
        self.ids, self.labels = record.examples(split)


def _require_same_examples(one: _Looked, shape: tuple[int, ...], other: _Looked, other_shape: tuple[int, ...]) -> None:
    """Refuse logits that are not of the same examples and classes, in the same order."""
    if shape != other_shape:
        what = f"have {shape[0]} examples of {shape[1]} classes and {other_shape[0]} of {other_shape[1]}"
    elif (differ := one.ids != other.ids).any():
        row = int(differ.argmax())
        what = (
            f"looked at different examples ({differ.sum()} of {len(differ)} ids differ; number {row} is"
            f" {str(one.ids[row])!r} and {str(other.ids[row])!r})"
        )
    elif (differ := one.labels != other.labels).any():
        row = int(differ.argmax())
        what = (
            f"disagree on {differ.sum()} of {len(differ)} labels (of {str(one.ids[row])!r}: {one.labels[row]} and"
            f" {other.labels[row]})"
        )
    else:
        return
    raise InputError(
        f"{one.split!r} of {_name(one.record)} and {_name(other.record)} cannot be put together: they {what}."
        f" Leave one of them out with `methods` or `seeds`: {one.record.path}, {other.record.path}."
    )


def _name(record: Record) -> str:
    seeds = record.spec.get("seeds")
    return f"{record.spec['method']}" + (f", seed {seeds['init']}" if seeds else "")


def _shown(path: Paths) -> str:
    return str(path) if isinstance(path, str | Path) else ", ".join(map(str, path))


def _place(path: Paths, task: str) -> str:
    return f"{_shown(path)}, task {task!r}"


def _listed(values: Sequence[T] | T | None) -> list[T] | None:
    if values is None:
        return None
    return [values] if isinstance(values, str | int | np.integer) else list(values)  # type: ignore[arg-type]
