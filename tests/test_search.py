"""Searches are driven here by hand: nothing is trained, records are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import toy
from petl_study import spec
from petl_study.plan import Plan
from petl_study.search import grid, search, select
from petl_study.store import Record
from petl_study.trials import Trial

SPACE = {"rank": [1, 2], "lr": [1e-3, 1e-2], "weight_decay": [0.1]}


def record(trial: Trial, accuracy: float | None, loss: float = 1.0, curve: list[float] | None = None) -> Record:
    header = {"status": "failed" if accuracy is None else "finished", "results": {}}
    header["curve"] = [{"val_accuracy": value, "val_loss": loss} for value in curve or ()]
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


# ------------------------------------------------------------------------------------------------- stopped at rungs

PRUNED = {"lr": [1e-3, 1e-2], "weight_decay": [0.1, 0.2], "pruner": {"name": "halving", "factor": 2, "first": 2}}
EPOCHS = {"base": "embedded", "name": "eight", "epochs": 8, "warmup_epochs": 1, "batch_size": 16}


def climb(
    judge: Callable[[Trial, int], float | None], further: bool = False, **changes: object
) -> tuple[list[list[Trial]], list[Trial]]:
    """Run a search with a pruner, `judge` in place of training: its batches and its final runs.

    `judge` says the accuracy after an epoch, or None where the trial fails in it. `further`: records are of the same
    trials trained to their end.
    """
    study = spec.resolve(toy.study(**{"search": PRUNED, "protocol": EPOCHS, **changes}))
    batches = search(study, study.tasks[0], study.methods[1])

    def answer(trial: Trial) -> Record:
        epochs = 8 if further else trial.until or 8
        curve = [judge(trial, epoch) for epoch in range(1, epochs + 1)]
        failed = None in curve
        reached = curve[: curve.index(None)] if failed else curve
        return record(trial, None if failed else curve[-1], 1.0, reached)

    asked, batch = [], next(batches)
    while batch[0].kind == "trial":
        asked.append(batch)
        try:
            batch = batches.send([answer(trial) for trial in batch])
        except StopIteration:
            return asked, []
    return asked, batch


def point(trial: Trial) -> tuple[int, float, float]:
    return trial.hyperparameters["rank"], trial.lr, trial.weight_decay


def test_at_each_rung_half_of_the_trials_go_on_and_the_last_are_whole():
    asked, finals = climb(lambda t, epoch: t.lr * t.hyperparameters["rank"] + t.weight_decay / 1e3)
    assert [[t.until for t in batch] for batch in asked] == [[2] * 8, [4] * 4, [None] * 2]
    assert {point(t) for t in asked[1]} == {(r, 1e-2, w) for r in (1, 2) for w in (0.1, 0.2)}
    assert [point(t) for t in asked[2]] == [(2, 1e-2, 0.1), (2, 1e-2, 0.2)]
    assert point(finals[0]) == (2, 1e-2, 0.2)
    assert {k: finals[0].selected[k] for k in ("trials", "failed", "stopped")} == {
        "trials": 8,
        "failed": 0,
        "stopped": 6,
    }


@pytest.mark.parametrize("name", ["halving", "hyperband"])
@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_records_of_trials_that_were_trained_on_bring_the_same_decisions(name, sampler):
    def judge(trial: Trial, epoch: int) -> float:
        return (hash((point(trial), epoch)) % 1000) / 1000  # of numbers: the same in every process

    changes = {"search": {**PRUNED, "pruner": {**PRUNED["pruner"], "name": name}, "sampler": sampler, "trials": 8}}
    one, other = climb(judge, **changes), climb(judge, further=True, **changes)
    assert one == other
    assert len(one[0][0]) < 8 or name == "halving"


def test_selection_is_among_trials_that_ran_to_their_end():
    def judge(trial: Trial, epoch: int) -> float:  # the best of all at the first rungs falls behind
        favourite = point(trial) == (1, 1e-3, 0.1)
        return (0.9 if epoch < 8 else 0.1) if favourite else 0.2 + trial.lr

    asked, finals = climb(judge)
    assert (1, 1e-3, 0.1) in [point(t) for t in asked[2]]
    assert point(finals[0])[1] == 1e-2


def test_what_fails_before_a_rung_is_counted_as_failed_and_others_go_on_in_its_place():
    asked, finals = climb(lambda t, epoch: None if t.lr == 1e-2 and epoch > 2 * t.hyperparameters["rank"] else 0.4)
    # Rank 1 fails between the rungs and rank 2 after the second: what reached a rung counts there.
    assert [len(batch) for batch in asked] == [8, 4, 1]
    assert (finals[0].selected["failed"], finals[0].selected["stopped"]) == (2, 5)


def test_where_all_fail_on_the_way_there_is_no_final_run():
    asked, finals = climb(lambda t, epoch: None if epoch > 3 else 0.4)
    assert [len(batch) for batch in asked] == [8, 4]
    assert finals == []


@pytest.mark.parametrize("name", ["halving", "hyperband"])
def test_what_is_trained_is_what_was_planned(name):
    changes = {**PRUNED, "pruner": {"name": name, "factor": 2, "first": 2}}
    study = spec.resolve(toy.study(search=changes, protocol=EPOCHS))
    asked, _ = climb(lambda t, epoch: t.lr, search=changes)
    reached: dict[object, int] = {}
    legs = []
    for batch in asked:
        for trial in batch:
            legs.append((trial.until or 8) - reached.get(point(trial), 0))
            reached[point(trial)] = trial.until or 8
    assert sorted(legs) == sorted(Plan(study.model_dump()).legs("lora"))
