"""A training that is stopped and gone on with is the training that never stopped, bit for bit."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

import toy  # noqa: F401 (registers the toy task)
from petl_study import checkpoint, execution, store, training, trials
from petl_study.protocols import Protocol
from petl_study.store import Record, Study
from petl_study.trials import Trial

# What draws numbers does: drop path, dropout inside a method, random crops.
PROTOCOL = {"base": "embedded", "name": "chancy", "epochs": 3, "warmup_epochs": 1, "batch_size": 32, "drop_path": 0.2}
PROTOCOL |= {"augmentation": "crop-flip", "resize": "crop", "image_size": 32}
METHODS = {
    "full": {},
    "lora": {"rank": 2, "dropout": 0.1},
    "vpt_deep": {"prompts": 2},
    "gps": {"connections": 1},
    "sct": {},
}


def trial(method: str, until: int | None = None, lr: float = 1e-3) -> Trial:
    return Trial(
        task="toy",
        backbone="micro_vit",
        method=method,
        hyperparameters=METHODS[method],
        lr=lr,
        weight_decay=1e-2,
        head="new",
        protocol=Protocol.model_validate(PROTOCOL),
        seed=0,
        fit="train",
        study="stops",
        until=until,
    )


def assert_same(one: Record, other: Record) -> None:
    assert one.key == other.key
    for part in ("status", "error", "spec", "results", "parameters", "curve"):
        assert one.header.get(part) == other.header.get(part)
    for name in one.sets:
        np.testing.assert_array_equal(one.logits(name), other.logits(name))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The record of every method, trained in one go."""
    return {name: execution.execute(trial(name), tmp_path_factory.mktemp("straight")) for name in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_stopped_twice_and_gone_on_with_it_is_the_same_training(method, straight, tmp_path):
    study = Study(tmp_path)
    for until in (1, 2):
        stopped = execution.execute(trial(method, until), tmp_path)
        assert (stopped.stopped, stopped.epochs, stopped.spec["until"]) == (True, until, until)
        assert stopped.header["curve"] == straight[method].header["curve"][:until]
        assert stopped.header["results"]["val"]["accuracy"] == stopped.header["curve"][-1]["val_accuracy"]
        random.seed(until), np.random.seed(until), torch.manual_seed(until)  # noqa: NPY002 (whatever ran meanwhile)
        assert len(checkpoint.load(study.checkpoint(stopped.spec)).curve) == until
    assert_same(execution.execute(trial(method), tmp_path), straight[method])


def test_going_on_trains_no_epoch_again(straight, tmp_path, monkeypatch):
    execution.execute(trial("lora", 2), tmp_path)
    seen = []
    score = training.score
    monkeypatch.setattr(training, "score", lambda *given: seen.append(1) or score(*given))
    whole = execution.execute(trial("lora"), tmp_path)
    assert len(seen) == 2  # after the last epoch, and of the result
    assert_same(whole, straight["lora"])


@pytest.mark.parametrize("harm", ["gone", "truncated", "changed", "of another machine"])
def test_without_its_checkpoint_it_trains_anew_to_the_same_bits(harm, straight, tmp_path):
    path = Study(tmp_path).checkpoint(execution.execute(trial("lora", 2), tmp_path).spec)
    content = path.read_bytes()
    if harm == "gone":
        shutil.rmtree(tmp_path / "checkpoints")
    elif harm == "truncated":
        path.write_bytes(content[:-8])
    elif harm == "changed":
        path.write_bytes(content[:-8] + bytes(8))
    else:
        checkpoint.load(path).save(path, environment={"device": "another"}, seconds=1.0)
    assert_same(execution.execute(trial("lora"), tmp_path), straight["lora"])


def test_a_checkpoint_is_plain_and_whole(tmp_path):
    path = Study(tmp_path).checkpoint(execution.execute(trial("lora", 1), tmp_path).spec)
    assert path.relative_to(tmp_path).parts[:3] == ("checkpoints", "toy", "lora")
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file
    with safetensors.safe_open(path, framework="np") as file:
        names = set(file.keys())
    assert {"generator/torch", "generator/shuffle", "parameter/head.weight"} <= names
    assert {"optimizer/step/head.weight", "optimizer/exp_avg/head.bias", "optimizer/exp_avg_sq/head.bias"} <= names


def test_what_fails_before_it_would_stop_is_the_failed_trial_of_a_whole_training(tmp_path, monkeypatch):
    """A failed trial has no other end, so it has the name of a whole one."""
    whole = execution.execute(trial("full", lr=1e30), tmp_path / "whole")
    stopped = execution.execute(trial("full", until=2, lr=1e30), tmp_path / "stopped")
    assert whole.failed
    assert_same(whole, stopped)
    assert not (tmp_path / "stopped" / "checkpoints").exists()


def test_a_stopped_trial_has_a_name_of_its_own_and_a_whole_one_keeps_its(straight):
    whole, stopped = trial("lora").spec, trial("lora", 2).spec
    assert "until" not in whole
    assert stopped == {**whole, "until": 2}
    assert replace(trial("lora", 2), until=None) == trial("lora", 2).whole == trial("lora")
    assert trials.trial_of(straight["lora"]).until is None
    assert straight["lora"].key == store.key_of(whole) != store.key_of(stopped)


def test_the_trial_of_a_stopped_record_is_known_again(tmp_path):
    record = execution.execute(trial("lora", 1), Path(tmp_path))
    assert trials.trial_of(record).until == 1
    assert trials.rebuildable(record).spec == record.spec
