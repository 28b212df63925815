from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from petl_study.backbones import micro
from petl_study.errors import DamagedRecord, InputError
from petl_study.pretraining import atlas as atlases
from petl_study.pretraining import card, cli, train
from petl_study.pretraining.digits import DigitsFigures
from petl_study.pretraining.source import CLASSES, draw

RECIPE = train.Recipe(steps=6, batch=32, learning_rate=2e-3, fonts=("dejavu_sans",))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing here is about how good the result is: a small validation set, and no look at `digits`."""
    monkeypatch.setattr(train, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(
        "petl_study.pretraining.digits.evaluate_digits", lambda model, split: DigitsFigures(split, 1, 1, 0.5, 0.5)
    )


def test_a_few_steps_make_the_loss_fall_on_images_never_drawn_before():
    recipe = train.Recipe(steps=40, batch=64, fonts=("dejavu_sans",))
    state, atlas = train.start(recipe), atlases.build(recipe.fonts)
    fresh = draw(atlas, 256, seed=-1, calm=1.0)
    before = loss(state.model, fresh)
    assert len(list(train.steps(state, atlas, recipe))) == 40
    assert before == pytest.approx(math.log(len(CLASSES)), abs=0.3)
    assert loss(state.model, fresh) < before - 0.04


def test_a_batch_seen_again_and_again_is_learnt(monkeypatch):
    recipe = train.Recipe(steps=50, batch=32, smoothing=0.0, fonts=("dejavu_sans",))
    atlas = atlases.build(recipe.fonts)
    batch = draw(atlas, 32, seed=-1)
    monkeypatch.setattr(train, "draw", lambda *_: batch)
    losses = list(train.steps(train.start(recipe), atlas, recipe))
    assert losses[-1] < 1 < 3 < losses[0]


@torch.no_grad()
def loss(model, batch):
    return float(F.cross_entropy(model(train.normalise(batch.images)), batch.labels))


def test_stopped_and_resumed_it_ends_where_it_would_have(tmp_path):
    lines: list[str] = []
    whole = train.pretrain(tmp_path / "whole", RECIPE, command="c", report=lines.append)

    state, atlas = train.start(RECIPE), atlases.build(RECIPE.fonts)
    for _ in train.steps(state, atlas, RECIPE):
        if state.step == 3:
            break
    (tmp_path / "halves").mkdir()
    train._save(tmp_path / "halves" / train.CHECKPOINT, state, RECIPE)
    resumed = train.pretrain(tmp_path / "halves", RECIPE, command="c", report=lines.append)

    assert resumed.read_bytes() == whole.read_bytes()
    assert any("going on at step 3 of 6" in line for line in lines)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    train.pretrain(tmp_path, RECIPE, command="c")
    with pytest.raises(InputError, match=r"belongs to another recipe: batch 32 \(now 16\)"):
        train.pretrain(tmp_path, replace(RECIPE, batch=16), command="c")


def test_a_file_is_no_place_to_train_in(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name a folder"):
        train.pretrain(tmp_path / "file", RECIPE, command="c")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / train.CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(DamagedRecord, match="remove it to start anew"):
        train.pretrain(tmp_path, RECIPE, command="c")


def test_what_was_trained_can_be_installed_and_loaded(tmp_path):
    weights = train.pretrain(tmp_path / "out", RECIPE, command="petl-study pretrain --steps 6")
    with pytest.raises(InputError, match=r"has no micro_vit\.safetensors"):
        train.install(tmp_path)
    installed = train.install(tmp_path / "out", tmp_path / "weights")
    assert {path.name for path in installed} == {"micro_vit.safetensors", "micro_vit.json", "MODEL_CARD.md"}
    model = micro.load(weights=installed[0])
    told = json.loads((tmp_path / "weights" / "micro_vit.json").read_text())
    assert told["parameters"] == sum(p.numel() for p in model.parameters())
    assert told["images_seen"] == 6 * 32
    assert (tmp_path / "out" / "source.png").exists()
    assert told["command"] in (tmp_path / "weights" / "MODEL_CARD.md").read_text()
    assert weights.read_bytes() == installed[0].read_bytes()


def test_validation_is_a_fixed_set():
    atlas = atlases.build(RECIPE.fonts)
    model = train.start(RECIPE).model
    first, again = (train.validate(model, atlas, seed=0, images=128) for _ in range(2))
    assert first == again
    assert set(first) == {"overall", "digits", "letters", "shapes", "textures"}


def test_training_leaves_torchs_own_generator_alone():
    before = torch.get_rng_state()
    train.start(RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_learning_rate_rises_and_falls_to_zero():
    factors = [train.schedule(step, 1000) for step in range(1001)]
    assert factors[0] == pytest.approx(0.02)
    assert max(factors) == factors[50] == 1
    assert factors[1000] == pytest.approx(0)
    assert factors[50:] == sorted(factors[50:], reverse=True)


def test_the_command_line_refuses_what_makes_no_sense():
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    with pytest.raises(InputError, match="--steps 0: give a whole number of 1 or more"):
        cli.run(parser.parse_args(["--steps", "0"]))


def test_the_shipped_cards_text_is_made_from_its_data():
    assert (micro.WEIGHTS.parent / "MODEL_CARD.md").read_text(encoding="utf-8") == card.text(micro.card())
