"""Searches are driven here by hand: nothing is trained, records are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import toy
from petl_study import spec
from petl_study.search import grid, search, select
from petl_study.store import Record
from petl_study.trials import Trial

SPACE = {"rank": [1, 2], "lr": [1e-3, 1e-2], "weight_decay": [0.1]}


def record(trial: Trial, accuracy: float | None, loss: float = 1.0) -> Record:
    header = {"status": "failed" if accuracy is None else "finished", "results": {}}
    if accuracy is not None:
        header["results"] = {"val": {"accuracy": accuracy, "loss": loss}}
    spec = {"hyperparameters": trial.hyperparameters, "lr": trial.lr, "weight_decay": trial.weight_decay}
    name = json.dumps([trial.hyperparameters, trial.lr])
    return Record(Path("study", "trials", trial.task, trial.method, name), {**header, "spec": spec})


def drive(
    judge: Callable[[Trial], float | None], method: int = 1, **changes: object
) -> tuple[list[Trial], list[Trial]]:
    """Run a search with `judge` in place of training; its trials and its final runs."""
    study = spec.resolve(toy.study(**changes))
    batches = search(study, study.tasks[0], study.methods[method])
    trials, batch = [], next(batches)
    while batch[0].kind == "trial":
        trials += batch
        try:
            batch = batches.send([record(t, judge(t)) for t in batch])
        except StopIteration:
            return trials, []
    with pytest.raises(StopIteration):
        batches.send([record(t, 0.5) for t in batch])
    return trials, batch


def test_a_full_grid_is_every_point_once():
    points = grid(SPACE, 10, seed=0)
    assert len(points) == 4 == len({json.dumps(p) for p in points})


def test_a_part_of_a_grid_is_different_points_drawn_by_seed():
    many = {"a": list(range(10)), "b": list(range(10))}
    subset = grid(many, 20, seed=1)
    assert len({json.dumps(p) for p in subset}) == 20
    assert subset == grid(many, 20, seed=1) != grid(many, 20, seed=2)


def test_trials_see_train_and_the_best_goes_to_trainval_for_every_seed():
    trials, finals = drive(lambda t: 0.9 if (t.hyperparameters, t.lr) == ({"rank": 2}, 1e-3) else 0.5, search={})
    assert {t.fit for t in trials} == {"train"}
    assert len(trials) == 8  # rank x lr x the default two weight decays
    assert [(t.fit, t.hyperparameters, t.lr, t.seed) for t in finals] == [
        ("trainval", {"rank": 2}, 1e-3, 0),
        ("trainval", {"rank": 2}, 1e-3, 1),
    ]
    assert finals[0].selected["val_accuracy"] == 0.9
    assert finals[0].selected["trials"] == 8


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_the_same_answers_bring_the_same_questions(sampler):
    def judge(trial: Trial) -> float:
        return trial.lr * trial.hyperparameters["rank"]

    changes = {"search": {"sampler": sampler, "trials": 14}, "methods": ["linear", "lora"]}
    assert drive(judge, **changes) == drive(judge, **changes)
    assert len(drive(judge, **changes)[0]) == 14


def test_failed_trials_are_counted_and_passed_over():
    _, finals = drive(lambda t: None if t.lr == 1e-2 else 0.4, search={})
    assert finals[0].lr == 1e-3
    assert finals[0].selected["failed"] == 4


def test_where_all_failed_there_is_no_final_run():
    assert drive(lambda t: None)[1] == []


def test_ties_go_to_the_lower_loss_and_then_to_the_first():
    study = spec.resolve(toy.study(search={}))
    [trials] = [next(search(study, study.tasks[0], study.methods[1]))]
    a, b, c = trials[:3]
    assert select([record(a, 0.5, 0.9), record(b, 0.5, 0.2), record(c, 0.4, 0.1)]).path.name == record(b, 0).path.name
    assert select([record(a, 0.5, 0.2), record(b, 0.5, 0.2)]).path.name == record(a, 0).path.name
    assert select([record(a, None)]) is None


def test_the_seed_that_drew_the_examples_is_recorded():
    study = spec.resolve(toy.study(tasks=["toy", {"toy": {"shots": 4, "sample": 3, "name": "few"}}]))
    seeds = [next(search(study, task, study.methods[0]))[0].spec["seeds"] for task in study.tasks]
    assert seeds == [{"init": 0, "order": 0, "sampling": 0}, {"init": 0, "order": 0, "sampling": 3}]
