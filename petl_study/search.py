"""The search of one method on one task: ask Optuna, have trials trained, tell, select, then the final runs.

Nothing is trained here. `search` is a generator that yields batches of trials and is sent their records, so the same
search runs in one process or on many machines. Restarted with the same records it asks the same trials again: that,
with the records on disk, is all there is to resuming.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from petl_study import halving
from petl_study.spec import MethodSpec, StudySpec
from petl_study.store import ZERO_SHOT, Record
from petl_study.tasks import Source
from petl_study.trials import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

Batches = Generator[list[Trial], list[Record], None]


def searches(study: StudySpec) -> Iterator[Batches]:
    """Everything that `study` asks for, task by task, so that what a task needs is loaded once."""
    for task in study.tasks:
        if task.name in study.zero_shot_tasks:
            yield zero_shot(study, task)
        for method in study.methods:
            yield search(study, task, method)


def zero_shot(study: StudySpec, task: Source) -> Batches:
    """Yield the one run of `task` of which nothing is searched, trained or left to chance."""
    yield [
        Trial(
            task=task.name,
            source=task,
            backbone=study.backbone,
            method=ZERO_SHOT,
            hyperparameters={},
            lr=0.0,
            weight_decay=0.0,
            head="zero_shot",
            protocol=study.protocol,
            seed=0,
            fit="none",
            study=study.name,
            keep=study.keep,
        )
    ]


def search(study: StudySpec, task: Source, method: MethodSpec) -> Batches:
    """Yield the trials of `method` on `task` and then the final run for every seed; be sent the records of each batch.

    The sampler sees validation accuracy only. Where every trial failed there is nothing to select, and no final run.

    With a pruner, a batch has the trials that are trained up to a rung, and the last one those that are trained to
    their end: selection is among them. A record that is sent may be of the same trial trained further.
    """
    space = study.space(method)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in space.items()
    }
    pruner = InStep(study.search.pruner.factor) if study.search.pruner else optuna.pruners.NopPruner()
    sampler = optuna.create_study(direction="maximize", sampler=_sampler(study), pruner=pruner)
    if study.search.sampler == "grid":
        for point in grid(space, study.trials(method), study.search.seed):
            sampler.enqueue_trial(point)
    # TPE learns from each result before it asks again; the others have nothing to wait for.
    together = 1 if study.search.sampler == "tpe" else study.trials(method)
    records: list[Record] = []
    for _ in range(0, study.trials(method), together):
        asked = [sampler.ask(distributions) for _ in range(together)]
        if study.rungs:
            asked = yield from _climb(study, task, method, sampler, asked)
            if not asked:
                return
        answers = yield [_trial(study, task, method, a.params, seed=study.search.seed, fit="train") for a in asked]
        for question, record in zip(asked, answers, strict=True):
            if record.failed:
                sampler.tell(question, state=TrialState.FAIL)
            else:
                sampler.tell(question, record.header["results"]["val"]["accuracy"])
        records += answers
    if (best := select(records)) is None:
        return
    chosen = {
        "trial": best.key,
        "path": "/".join(best.path.parts[-4:]),  # within the study, wherever that is moved to
        "val_accuracy": best.header["results"]["val"]["accuracy"],
        "trials": len(records),
        "failed": sum(record.failed for record in records),
    }
    if study.rungs:
        told = [trial.state for trial in sampler.get_trials(deepcopy=False)]
        chosen |= {
            "trials": len(told),
            "failed": told.count(TrialState.FAIL),
            "stopped": told.count(TrialState.PRUNED),
        }
    point = {**best.spec["hyperparameters"], "lr": best.spec["lr"], "weight_decay": best.spec["weight_decay"]}
    yield [_trial(study, task, method, point, seed=seed, fit="trainval", selected=chosen) for seed in study.seeds]


def _climb(
    study: StudySpec, task: Source, method: MethodSpec, sampler: optuna.Study, asked: list[optuna.Trial]
) -> Generator[list[Trial], list[Record], list[optuna.Trial]]:
    """Yield the batches of `asked` up to every rung; return those that are left, to be trained to their end."""
    assert study.search.pruner
    begin = halving.brackets(len(asked), len(study.rungs), study.search.pruner.model_dump(), study.search.seed)
    for trial, bracket in zip(asked, begin, strict=True):
        trial.set_user_attr(InStep.BRACKET, bracket)
    left = list(asked)
    for rung, epochs in enumerate(study.rungs):
        compared = [trial for trial in left if trial.user_attrs[InStep.BRACKET] <= rung]
        if not compared:
            continue
        role = {"seed": study.search.seed, "fit": "train", "until": epochs}
        answers = yield [_trial(study, task, method, trial.params, **role) for trial in compared]
        for trial, record in zip(compared, answers, strict=True):
            if record.epochs < epochs:  # it failed before
                sampler.tell(trial, state=TrialState.FAIL)
                left.remove(trial)
                continue
            row = record.header["curve"][epochs - 1]
            trial.set_user_attr(InStep.LOSS, row["val_loss"])
            trial.report(row["val_accuracy"], epochs)
        stopped = [trial for trial in compared if trial in left and trial.should_prune()]
        for trial in stopped:
            sampler.tell(trial, state=TrialState.PRUNED)
            left.remove(trial)
    return left


class InStep(optuna.pruners.BasePruner):
    """Of the trials of a bracket that report at a rung, the best one in `factor` goes on; ties go to the lower loss.

    To be asked when all of them have reported. Optuna's own pruners judge a trial by those that reported before it:
    what they decide depends on the order in which trials finish.
    """

    LOSS = "val_loss"  # user attributes: validation loss at the last rung,
    BRACKET = "bracket"  # and the rung at which the trial is first compared, as from `halving.brackets`

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        rung, bracket = trial.last_step, trial.user_attrs[self.BRACKET]
        assert rung is not None  # it has reported
        rivals = [
            one
            for one in study.get_trials(deepcopy=False)
            if rung in one.intermediate_values and one.user_attrs[self.BRACKET] == bracket
        ]
        rivals.sort(key=lambda one: (-one.intermediate_values[rung], one.user_attrs[self.LOSS], one.number))
        going_on = rivals[: halving.promoted(len(rivals), self.factor)]
        return trial.number not in [one.number for one in going_on]


def select(records: list[Record]) -> Record | None:
    """The trial with the highest validation accuracy; of equals that with the lowest validation loss, then the first.

    On 200 images ties are common, and breaking them by position would favour whatever the grid lists first.
    """
    finished = [record for record in records if not record.failed]
    results = [record.header["results"]["val"] for record in finished]
    order = sorted(range(len(finished)), key=lambda i: (-results[i]["accuracy"], results[i]["loss"], i))
    return finished[order[0]] if order else None


def grid(space: dict[str, list[Any]], points: int, seed: int) -> list[dict[str, Any]]:
    """`points` different points of the grid: all of them in order, or a random subset where there are more.

    Every seed draws another subset; the same seed always the same.
    """
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if points >= len(every):
        return every
    return [every[i] for i in np.random.default_rng(seed).permutation(len(every))[:points]]


def _sampler(study: StudySpec) -> optuna.samplers.BaseSampler:
    if study.search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=study.search.seed)
    return optuna.samplers.RandomSampler(seed=study.search.seed)  # for a grid the points are in the queue already


def _trial(study: StudySpec, task: Source, method: MethodSpec, point: dict[str, Any], **role: Any) -> Trial:
    return Trial(
        task=task.name,
        source=task,
        backbone=study.backbone,
        method=method.name,
        hyperparameters={name: value for name, value in point.items() if name in method.space},
        lr=point["lr"],
        weight_decay=point["weight_decay"],
        head=study.head_of(task.name),
        protocol=study.protocol,
        study=study.name,
        keep=study.keep,
        **role,
    )
