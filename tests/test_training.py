from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import toy
from petl_study import places, training
from petl_study.augmentation import Augmentation
from petl_study.errors import InputError
from petl_study.inputs import Normalisation, Pixels
from petl_study.protocols import Protocol
from petl_study.tasks import Split
from petl_study.training import Diverged

HALF = Normalisation((0.5,) * 3, (0.5,) * 3)


def protocol(**changes: object) -> Protocol:
    return Protocol.model_validate({"base": "embedded", "epochs": 4, "warmup_epochs": 1, "batch_size": 24, **changes})


def pixels(split: Split, normalise: Callable[[torch.Tensor], torch.Tensor] = HALF, **how: Any) -> Pixels:
    return Pixels(split, normalise, torch.device("cpu"), **how)


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 3))


def fit(model: nn.Module, **changes: object) -> list[dict[str, float]]:
    given = {"lr": 0.01, "weight_decay": 1e-4, "order": 0, **changes}
    return training.fit(model, dict(model.named_parameters()), pixels(toy.split(64, 0)), protocol(), **given)


def test_normalising_is_the_textbook_formula():
    images = torch.arange(256, dtype=torch.uint8).repeat(3, 1)[None, :, :, None]
    given = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (given.mean, given.std))
    torch.testing.assert_close(given(images), (images / 255 - mean) / std)


def test_the_rate_warms_up_and_follows_a_cosine():
    p = protocol(epochs=11, warmup_epochs=1, warmup_lr=1e-6, min_lr=1e-5)
    assert training.learning_rate(0, 0.1, p) == 1e-6
    assert training.learning_rate(0.5, 0.1, p) == pytest.approx((1e-6 + 0.1) / 2)
    assert training.learning_rate(1, 0.1, p) == pytest.approx(0.1)
    assert training.learning_rate(6, 0.1, p) == pytest.approx((0.1 + 1e-5) / 2)
    assert training.learning_rate(11, 0.1, p) == pytest.approx(1e-5)
    assert training.learning_rate(0, 0.1, protocol(warmup_epochs=0)) == pytest.approx(0.1)


def test_biases_and_scales_do_not_decay_unless_asked():
    parameters = {"w": nn.Parameter(torch.ones(2, 2)), "b": nn.Parameter(torch.ones(2))}
    groups = training.parameter_groups(parameters, 0.1, protocol())
    assert [(g["weight_decay"], [p.ndim for p in g["params"]]) for g in groups] == [(0.1, [2]), (0, [1])]
    groups = training.parameter_groups(parameters, 0.1, protocol(decay="all"))
    assert [len(g["params"]) for g in groups] == [2]


def test_training_learns_and_its_curve_says_so():
    model = small_model()
    curve = fit(model, after_epoch=lambda: {"extra": 1.0})
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4]
    assert curve[-1]["train_loss"] < curve[0]["train_loss"]
    assert curve[-1]["extra"] == 1.0
    result = training.score(training.predict(model, toy.split(48, 2), HALF), toy.split(48, 2).labels)
    assert result["accuracy"] > 0.9


def test_same_seeds_same_bits_and_another_order_other_bits():
    a, b, c = (small_model() for _ in range(3))
    assert fit(a) == fit(b)
    fit(c, order=1)
    assert torch.equal(a[2].weight, b[2].weight)
    assert not torch.equal(a[2].weight, c[2].weight)


def test_a_batch_in_parts_takes_the_same_steps_but_for_rounding(monkeypatch):
    whole, parts = small_model(), small_model()
    of_whole = fit(whole)
    monkeypatch.setattr(training, "HELD_PIXELS", 7 * 32 * 32)
    assert training.micro_batch(32 * 32, protocol(), "cpu") == 7
    assert training.micro_batch(32 * 32, protocol(), "cuda:1") == 24
    of_parts = fit(parts)
    torch.testing.assert_close(parts[2].weight, whole[2].weight)
    assert not torch.equal(parts[2].weight, whole[2].weight)  # they went another way
    for row, other in zip(of_whole, of_parts, strict=True):
        assert other == pytest.approx(row)


def test_fewer_at_once_can_be_asked_for():
    before = places.here()
    try:
        places.use(replace(before, micro_batch=5))
        assert training.micro_batch(32 * 32, protocol(), "cuda") == 5
        assert training.micro_batch(32 * 32, protocol(batch_size=3), "cpu") == 3
    finally:
        places.use(before)
    with pytest.raises(InputError, match="--micro-batch must be a whole number of at least 1, got 0"):
        replace(before, micro_batch=0)


def test_images_are_augmented_by_the_seed_of_their_order():
    def fitted(seed: int) -> torch.Tensor:
        model, given = small_model(), {"lr": 0.01, "weight_decay": 0, "order": 0}
        crops = pixels(toy.split(24, 0), augment=Augmentation("crop-flip", seed))
        training.fit(model, dict(model.named_parameters()), crops, protocol(epochs=1), **given)
        return model[2].weight

    torch.testing.assert_close(fitted(0), fitted(0), rtol=0, atol=0)
    assert not torch.equal(fitted(0), fitted(1))


def test_a_protocol_says_whose_mean_and_std():
    own = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert training.normalisation(protocol(), own) == own
    assert training.normalisation(protocol(normalisation="none"), own) == Normalisation((0.0,) * 3, (1.0,) * 3)
    assert training.normalisation(protocol(normalisation="imagenet"), own).mean == (0.485, 0.456, 0.406)


def test_every_example_is_seen_once_an_epoch():
    seen: list[int] = []
    split = toy.split(64, 0)
    split.images[:, 0, 0, 0] = np.arange(64)

    def spy(images: torch.Tensor) -> torch.Tensor:
        seen.extend(images[:, 0, 0, 0].tolist())
        return HALF(images)

    model = small_model()
    seen_by_spy = pixels(split, spy)
    training.fit(model, dict(model.named_parameters()), seen_by_spy, protocol(), lr=0.1, weight_decay=0, order=0)
    assert [sorted(seen[i : i + 64]) for i in range(0, 256, 64)] == [list(range(64))] * 4
    assert seen[:64] != seen[64:128]


def test_a_diverging_training_says_where_and_keeps_its_curve():
    model = small_model()
    calls = []

    def poison() -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            model[2].bias.data[0] = math.nan
        return {}

    with pytest.raises(Diverged, match=r"the training loss became nan in epoch 3 of 4") as caught:
        fit(model, after_epoch=poison)
    assert [row["epoch"] for row in caught.value.curve] == [1, 2]


def test_infinite_logits_are_refused():
    model = small_model()
    model[2].weight.data.fill_(math.inf)
    with pytest.raises(Diverged, match="examples have NaN or infinite logits"):
        training.predict(model, toy.split(6, 0), HALF)


def test_prediction_does_not_depend_on_the_batch(rng):
    model, split = small_model(), toy.split(50, 3)
    whole = training.predict(model, split, HALF)
    np.testing.assert_allclose(training.predict(model, split, HALF, batch_size=7), whole, atol=1e-6)
    one = split.take(slice(4, 5))
    np.testing.assert_allclose(training.predict(model, one, HALF), whole[4:5], atol=1e-6)


def test_of_large_images_few_are_asked_about_at_once(monkeypatch):
    asked: list[int] = []

    def spy(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return HALF(images)

    training.predict(small_model(), toy.split(50, 3), spy)
    monkeypatch.setattr(training, "HELD_PIXELS", 5 * 32 * 32)
    training.predict(small_model(), toy.split(50, 3), spy)
    assert asked == [50, *[5] * 10]


def test_score_equals_torchs_cross_entropy(rng):
    logits, labels = rng.normal(size=(20, 5)) * 50, rng.integers(5, size=20)
    result = training.score(logits, labels)
    expected = nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item()
    assert result["loss"] == pytest.approx(expected)
    assert result["accuracy"] == (logits.argmax(1) == labels).mean()
