"""Everything that a report shows, as data frames: what `analysis` answers about one study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import analysis
from petl_study.errors import InputError
from petl_study.store import Record, Study
from petl_study.strangers.foreign import foreign

DRAWS = 500  # of the bootstraps over what pairs of runs have in common
RULES = [rule for rule in analysis.COMBINE if rule != "geometric"]  # it says what mean_logit says


@dataclass(frozen=True)
class Evidence:
    """A study's answers. A frame is empty where there is nothing to compare.

    `means` and `ranks` are over the methods that have every task (`complete`); the disagreements and gains are of the
    tasks that have two runs; `missing` lists the (task, method, seed) that the study plans and that has neither
    finished nor failed. `mean_shifts` is of the tasks with severities, and `uneven` says of which tasks no mean over
    shifts is taken, and why. `unsteady` has the trainings whose loss jumped, `untrained` the classes of every task that
    nothing was learned of.
    """

    spec: dict[str, Any]
    environment: dict[str, Any]
    runs: pd.DataFrame
    trials: pd.DataFrame
    failures: pd.DataFrame
    unsteady: pd.DataFrame
    untrained: dict[str, list[str]]
    accuracy: pd.DataFrame
    complete: list[str]
    costs: pd.DataFrame
    means: pd.DataFrame
    ranks: pd.DataFrame
    disagreement: pd.DataFrame
    overlap: pd.DataFrame
    gains: pd.DataFrame
    shifts: pd.DataFrame
    mean_shifts: pd.DataFrame
    ensembles: pd.DataFrame
    missing: list[tuple[str, str, int]]
    uneven: list[str]


def gather(path: str | Path, *, top: float = 0.1) -> Evidence:
    """Ask everything of the study at `path`; `top` is the share of examples that count as confident.

    Raises
    ------
    InputError
        No study, nothing in it, a damaged record, or runs that must not be put together.
    """
    with foreign(Path(path) / "study.json"):
        return _gather(path, top)


def _gather(path: str | Path, top: float) -> Evidence:
    study = Study.open(path)
    records = list(study.records("run"))
    runs, failures = analysis.load_runs(path), analysis.load_failures(path)
    if runs.empty and failures.empty:
        raise InputError(f"{path} has no finished run yet. Let `petl-study run` get further, then ask again.")
    analysis.require_comparable(runs)
    complete = analysis.complete_methods(runs)
    compared = runs[runs["method"].isin(complete)]
    accuracies, trials = analysis.load_accuracies(path), analysis.load_trials(path)
    disagreement, overlap, gains = _of_predictions(path, runs, top)
    mean_shifts, uneven = _mean_shifts(accuracies)
    return Evidence(
        spec=study.spec,
        environment=next((record.header.get("environment") or {} for record in records), {}),
        runs=runs,
        trials=trials,
        failures=failures,
        unsteady=analysis.load_unsteady(path),
        untrained=_untrained(records),
        accuracy=analysis.accuracy_table(runs),
        complete=complete,
        costs=analysis.costs(runs, trials) if len(runs) else pd.DataFrame(),
        means=analysis.mean_accuracies(compared) if complete else pd.DataFrame(),
        ranks=analysis.mean_ranks(compared, rng=np.random.default_rng(0)) if complete else pd.DataFrame(),
        disagreement=disagreement,
        overlap=overlap,
        gains=gains,
        shifts=analysis.shift_table(accuracies),
        mean_shifts=mean_shifts,
        ensembles=analysis.load_ensembles(path),
        missing=_missing(study.spec, runs, failures),
        uneven=uneven,
    )


def _untrained(records: list[Record]) -> dict[str, list[str]]:
    found = {record.spec["task"]: (record.header.get("task") or {}).get("untrained_classes") for record in records}
    return {task: classes for task, classes in found.items() if classes}


def _of_predictions(
    path: str | Path, runs: pd.DataFrame, top: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Disagreement by method, confidence overlap by method and ensemble gains, of one task's logits after another's."""
    disagreement, overlap, gains = [], [], []
    for task in runs.sort_values(["group", "task"])["task"].unique():
        if (runs["task"] == task).sum() < 2:
            continue
        preds = analysis.load_predictions(path, task)
        one = {task: preds}
        disagreement.append(analysis.disagreement_by_method(one, rng=np.random.default_rng(0), draws=DRAWS))
        overlap.append(analysis.confidence_overlap_by_method(one, top, rng=np.random.default_rng(0), draws=DRAWS))
        for rule in RULES:
            gain = analysis.ensemble_gain(preds, analysis.ensemble(preds, rule), rng=np.random.default_rng(0))
            gains.append(gain.assign(task=task, combine=rule, members=len(preds)))
    if not gains:
        return pd.DataFrame(), pd.DataFrame(), pd.DataFrame()
    return (
        pd.concat(disagreement, ignore_index=True),
        pd.concat(overlap, ignore_index=True),
        pd.concat(gains, ignore_index=True),
    )


def _mean_shifts(accuracies: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The mean over kinds of shift of every task that can be averaged, and why the others cannot."""
    found, uneven = [analysis.mean_over_shifts(accuracies.iloc[:0])], []
    for _, of_task in accuracies.groupby("task"):
        try:
            found.append(analysis.mean_over_shifts(of_task))
        except InputError as error:
            uneven.append(str(error))
    table = pd.concat([table for table in found if len(table)] or found, ignore_index=True)
    graded = table.groupby("task")["severity"].max()
    return table[table["task"].isin(graded.index[graded > 0])].reset_index(drop=True), uneven


def _missing(spec: dict[str, Any], runs: pd.DataFrame, failures: pd.DataFrame) -> list[tuple[str, str, int]]:
    methods = [method["name"] if isinstance(method, dict) else method for method in spec.get("methods", [])]
    tasks = [task["name"] if isinstance(task, dict) else task for task in spec.get("tasks", [])]
    asked = spec.get("zero_shot") or []
    planned = [(task, "zero_shot", 0) for task in (tasks if asked is True else asked)]
    planned += [(t, m, s) for t in tasks for m in methods for s in spec.get("seeds", [])]
    there = pd.concat([runs, failures[failures["kind"] == "run"]])[["task", "method", "seed"]]
    done = set(there.itertuples(index=False, name=None))
    return [cell for cell in planned if cell not in done]
