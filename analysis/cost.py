"""What every method costs: numbers to tune and to store, seconds and memory to train, seconds to predict.

Parameters and bytes are exact. Seconds are wall clock, of a machine that may have done other things at the time, and
memory is what that machine counts: of the whole process on a CPU, libraries included; of allocations on a GPU. So
methods are compared within a task, as ratios to a baseline on the same machine:

    ratio = exp(mean over tasks of (log seconds of the method - log seconds of the baseline))
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import ACROSS_TASKS, require_columns, require_comparable, require_distinct
from analysis.intervals import Interval, require_level, t_interval, welch_interval
from analysis.rows import MEASURED_ON, MEASURED_SO
from petl_study.errors import InputError, unknown

BASELINES = ("linear", "full")  # the first that there is, where none is named
MEASURED = ("fit_seconds", "predict_seconds", "search_seconds", "peak_memory_bytes")  # what depends on the machine
INFERENCE = [
    *("before_seconds", "after_seconds"),
    *("before", "before_low", "before_high", "after", "after_low", "after_high"),
]
_SHARED = (*ACROSS_TASKS, "data", "head", "task", "method")
_PARAMETERS = ["tuned_parameters", "classifier_parameters", "bytes"]
_RUNS = [*_PARAMETERS, "fit_seconds", "predict_seconds", "peak_memory_bytes"]


def costs(
    runs: pd.DataFrame,
    trials: pd.DataFrame | None = None,
    inference: pd.DataFrame | None = None,
    *,
    baseline: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """What every method costs, in every group of tasks and over all of them.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`. A method need not have every task: `tasks` says how many it has.
    trials : DataFrame, optional
        From `load_trials` of the same studies, for what the search took.
    inference : DataFrame, optional
        From `load_inference`, of the same backbone: what prediction takes before and after merging.
    baseline : str, optional
        What training time is compared with: by default ``linear``, or else ``full``, or nothing.

    Returns
    -------
    DataFrame
        A row for each `scope` (a group, or ``all tasks``), `machine` (hardware, device, threads: times of two are not
        averaged) and `method`, in order of `tuned_parameters`:

        - `tasks`, `runs` (how many);
        - `tuned_parameters` (without the classifier; mean over tasks) with `fewest_parameters` and `most_parameters`,
          as a searched size differs between tasks; `classifier_parameters`; `bytes` (tuned tensors and classifier);
        - `fit_seconds` with `fit_low` and `fit_high` (median and quartiles over runs), `predict_seconds` (median over
          runs, of all the sets that a run looked at), `peak_memory_bytes` (the most of any run);
        - `search_seconds` (training in all trials of one task; mean over tasks), `search_trials` (of a task) and
          `search_untimed` (how many trials in all have no time, having failed: it is not in `search_seconds`);
        - `ratio`: training time over the `baseline`'s, with `low`, `high`, `level` and `interval`: ``t over tasks``;
          ``Welch over seeds`` for one task; ``none`` for one run, and for the baseline itself. `ratio_tasks`: how many
          tasks both have;
        - `before` and `after` (merging): seconds of prediction over those of the plain model, each with `_low`, `_high`
          (quartiles), and `before_seconds`, `after_seconds` of one image, on `inference_machine`.

        What was not recorded, or not for all of a method's runs, is NaN.

    Raises
    ------
    InputError
        Runs that are not comparable, two for one task, method and seed, an unknown baseline; trials under another
        protocol; inference measured with another backbone.
    """
    require_level(level)
    require_columns(runs, ["task", "method", "seed"])
    require_comparable(runs)
    require_distinct(runs)
    if runs.empty:
        raise InputError("there are no runs, so there is no cost to tell")
    methods = set(runs["method"])
    if baseline is not None and baseline not in methods:
        raise unknown("baseline", baseline, methods, where="methods of these runs")
    baseline = baseline or next((name for name in BASELINES if name in methods), None)
    runs = _numeric(runs.assign(machine=machines(runs), group=runs.get("group", "")), _RUNS)
    searched = _searched(runs, trials)
    scopes = {str(name): some for name, some in runs.groupby("group") if name} | {"all tasks": runs}
    table = []
    for scope, of_scope in scopes.items():
        for machine, some in of_scope.groupby("machine", sort=True):
            base = some[some["method"] == baseline]
            for method, of_method in some.groupby("method", sort=True):
                row = {"scope": scope, "machine": machine, "method": method, **_spent(of_method)}
                row |= _search(searched, of_method, str(machine), str(method))
                is_baseline = method == baseline
                row |= {"baseline": baseline, **_ratio(of_method, base, level, is_baseline=is_baseline), "level": level}
                table.append(row)
    frame = pd.DataFrame(table)
    order = pd.Categorical(frame["scope"], list(scopes))
    frame = frame.assign(order=order).sort_values(["order", "machine", "tuned_parameters", "method"], ignore_index=True)
    return _with_inference(frame.drop(columns="order"), runs, inference)


def machines(frame: pd.DataFrame) -> pd.Series:
    """On what every row was measured, in words: ``x86_64, cpu, 1 thread``; ``not recorded`` where nothing is known.

    Times and memory of ``run --compile`` and ``--lean`` are as those of another machine: ``..., 1 thread, lean``.

    Two computers of one architecture cannot be told apart, and neither can two GPUs of one name.
    """
    there = pd.DataFrame({name: frame.get(name) for name in MEASURED_ON}, frame.index)
    devices = there["device"].map(lambda name: str(name).partition(":")[0], na_action="ignore")
    threads = pd.to_numeric(there["threads"]).map(lambda n: f"{n:g} thread{'s' if n != 1 else ''}", na_action="ignore")
    so = [frame[name].map({True: name}) for name in MEASURED_SO if name in frame]
    rows = zip(there["hardware"], devices, threads, *so, strict=True)
    words = [", ".join(str(part) for part in row if pd.notna(part)) or "not recorded" for row in rows]
    return pd.Series(words, frame.index, dtype=object)


# --------------------------------------------------------------------------------------------------------------- parts


def _numeric(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """`frame` with these columns as numbers; those that it lacks are all missing."""
    return frame.assign(**{n: pd.to_numeric(frame[n]).astype(float) if n in frame else np.nan for n in names})


def _spent(runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of one method took."""
    by_task = runs.groupby("task")[_PARAMETERS].mean(skipna=False)
    tuned = by_task["tuned_parameters"]
    seconds = runs["fit_seconds"].to_numpy()
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return {
        "tasks": len(by_task),
        "runs": len(runs),
        "tuned_parameters": tuned.mean(skipna=False),
        "fewest_parameters": tuned.min(skipna=False),
        "most_parameters": tuned.max(skipna=False),
        "classifier_parameters": by_task["classifier_parameters"].mean(skipna=False),
        "bytes": by_task["bytes"].mean(skipna=False),
        "fit_seconds": middle,
        "fit_low": low,
        "fit_high": high,
        "predict_seconds": runs["predict_seconds"].median(skipna=False),
        "peak_memory_bytes": runs["peak_memory_bytes"].max(skipna=False),
    }


def _searched(runs: pd.DataFrame, trials: pd.DataFrame | None) -> pd.DataFrame | None:
    """Seconds, number and number without a time of the trials of every machine, method and task."""
    if trials is None:
        return None
    require_columns(trials, ["task", "method"])
    shared = [name for name in _SHARED if name in runs and name in trials]
    require_comparable(pd.concat([runs[shared], trials[shared]]))
    timed = _numeric(trials.assign(machine=machines(trials)), ["fit_seconds"])
    of_search = timed.groupby(["machine", "method", "task"])["fit_seconds"]
    return pd.DataFrame({"seconds": of_search.sum(), "trials": of_search.size(), "timed": of_search.count()})


def _search(searched: pd.DataFrame | None, runs: pd.DataFrame, machine: str, method: str) -> dict[str, Any]:
    """What the search of one method took, on the tasks of `runs`; nothing where one of them has no trials."""
    names = ("search_seconds", "search_trials", "search_untimed")
    tasks = sorted(set(runs["task"]))
    if searched is None or not all((machine, method, task) in searched.index for task in tasks):
        return dict.fromkeys(names, np.nan)
    found = searched.loc[[(machine, method, task) for task in tasks]]
    nothing = (found["timed"] == 0).any()  # a sum over no times is 0, which no search takes
    untimed = int((found["trials"] - found["timed"]).sum())
    values = (np.nan if nothing else found["seconds"].mean(), found["trials"].mean(), untimed)
    return dict(zip(names, values, strict=True))


def _ratio(runs: pd.DataFrame, base: pd.DataFrame, level: float, *, is_baseline: bool) -> dict[str, Any]:
    """Training time over the baseline's, task by task, and its interval."""
    mine, theirs = _log_seconds(runs), _log_seconds(base)
    tasks = [task for task in mine if task in theirs]
    if not tasks:
        return _as_ratio(np.nan, Interval(), 0)
    logs = np.array([mine[task].mean() - theirs[task].mean() for task in tasks])
    interval = Interval()
    if is_baseline:
        logs = np.zeros(len(tasks))
    elif len(tasks) > 1:
        interval = Interval(*t_interval(logs, level), "t over tasks")
    elif min(len(mine[tasks[0]]), len(theirs[tasks[0]])) > 1:
        interval = Interval(*welch_interval(mine[tasks[0]], theirs[tasks[0]], level), "Welch over seeds")
    return _as_ratio(logs.mean(), interval, len(tasks))


def _log_seconds(runs: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Logarithms of the training seconds of every task, where all of its runs have some."""
    by_task = {str(task): some["fit_seconds"].to_numpy() for task, some in runs.groupby("task")}
    return {task: np.log(seconds) for task, seconds in by_task.items() if (seconds > 0).all()}


def _as_ratio(log: float, interval: Interval, tasks: int) -> dict[str, Any]:
    ratio, low, high = np.exp([log, interval.low, interval.high]).tolist()
    return {"ratio": ratio, "low": low, "high": high, "interval": interval.of, "ratio_tasks": tasks}


def _with_inference(table: pd.DataFrame, runs: pd.DataFrame, inference: pd.DataFrame | None) -> pd.DataFrame:
    if inference is None:
        return table.assign(**dict.fromkeys(INFERENCE, np.nan), inference_machine="")
    require_columns(inference, ["method", "backbone", *INFERENCE])
    if (twice := inference[inference["method"].duplicated()]).size:
        raise InputError(
            f"inference has two rows of method {twice['method'].iloc[0]!r}: of two backbones, machines or batch sizes?"
            " Take one, such as inference[inference.batch == 16]."
        )
    if "backbone" in runs and set(runs["backbone"]) != set(inference["backbone"]):
        names = ", ".join(sorted(set(map(str, inference["backbone"]))))
        raise InputError(
            f"inference was measured with {names}, but the runs are of {runs['backbone'].iloc[0]}. Measure that:"
            f" petl-study bench merged --backbone {runs['backbone'].iloc[0]} --out FILE; or, where both name one model,"
            " give it one name: inference.assign(backbone='NAME')."
        )
    joined = inference[["method", *INFERENCE]].assign(inference_machine=inference.get("inference_machine", ""))
    return table.merge(joined, on="method", how="left").fillna({"inference_machine": ""})
