from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import MlpMixer
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import toy
from petl_study import execution, frozen, methods
from petl_study.inputs import Normalisation, Pixels

FAMILIES = {  # a small model of each, and how many stages it has
    "vit": (lambda: VisionTransformer(**VIT, depth=3), 3),
    "swin": (
        lambda: SwinTransformer(32, 4, embed_dim=12, depths=(1, 1, 2), num_heads=(1, 1, 2), window_size=2, **STILL),
        3,
    ),
    "convnext": (lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)), 4),
    "mixer": (lambda: MlpMixer(img_size=32, patch_size=8, embed_dim=32, num_blocks=2), 2),
}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 3}
STILL = {"drop_path_rate": 0.0}


def carrying(method: str, model: nn.Module, **hyperparameters: object) -> nn.Module:
    return methods.create(method, **hyperparameters).apply(model)


def cut(model: nn.Module, images: Tensor) -> frozen.Cut | None:
    return frozen.cut(model, methods.trainable_parameters(model, classifier=True), images)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["linear", "selective"])
def test_both_parts_of_every_family_say_what_the_model_says(family, method, images):
    make, stages = FAMILIES[family]
    torch.manual_seed(0)
    last = {"part": "mlp", "blocks": "-1"} if method == "selective" else {}
    model = carrying(method, make().eval(), **last)
    parts = cut(model, images)
    assert parts is not None
    assert parts.place == (stages - 1 if last else stages + 1)
    torch.testing.assert_close(parts.rest(parts.before(images)), model(images), rtol=0, atol=0)


def test_the_part_that_learns_gets_the_gradients_of_the_whole(small_vit, images):
    carrying("selective", small_vit, part="attn", blocks="1,2")
    parts = cut(small_vit, images)
    assert parts is not None
    assert parts.place == 1
    tuned = methods.trainable_parameters(small_vit, classifier=True)
    gradients = []
    for forward, inputs in ((small_vit, images), (parts.rest, parts.before(images).detach())):
        small_vit.zero_grad()
        forward(inputs).square().sum().backward()
        gradients.append([p.grad.clone() for p in tuned.values()])
    for whole, part in zip(*gradients, strict=True):
        assert whole.abs().max() > 0
        torch.testing.assert_close(part, whole)


@pytest.mark.parametrize("method", ["lora", "full", "ssf", "vpt_deep", "vpt_shallow", "bitfit", "vqt"])
def test_what_learns_in_the_first_block_leaves_nothing_before_it(method, small_vit, images):
    assert cut(carrying(method, small_vit), images) is None


def test_a_norm_after_the_last_block_that_learns_stays_with_the_rest(small_vit, images):
    carrying("linear", small_vit)
    parts = frozen.cut(small_vit, {"norm.weight", "head.weight"}, images)
    assert parts is not None
    assert parts.place == len(small_vit.blocks)
    torch.testing.assert_close(parts.rest(parts.before(images)), small_vit(images), rtol=0, atol=0)


def test_where_paths_are_dropped_the_cut_comes_first_and_still_blocks_drop_none(images):
    def dropping() -> nn.Module:
        model = VisionTransformer(**VIT, depth=3, drop_path_rate=0.2)
        return carrying("selective", model, part="attn", blocks="2")

    model = dropping()
    assert cut(model, images).place == 1  # the first block's rate is 0, the second's 0.1
    frozen.still(model, methods.trainable_parameters(model, classifier=True))
    assert cut(model, images).place == 2
    assert model.blocks[1].drop_path1.drop_prob == 0
    assert model.blocks[2].drop_path1.drop_prob == pytest.approx(0.2)


def test_a_model_that_goes_its_own_way_is_not_cut(images):
    class Doubled(VisionTransformer):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    assert cut(carrying("linear", Doubled(**VIT, depth=1)), images) is None


# ---------------------------------------------------------------------------------------------------------- in training


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    frozen._kept.clear()
    yield
    frozen._kept.clear()


@pytest.mark.parametrize("fit", ["train", "trainval"])
@pytest.mark.parametrize(
    ("method", "hyperparameters"), [("linear", {}), ("selective", {"part": "mlp", "blocks": "4,5"})]
)
def test_a_trial_comes_out_as_if_nothing_had_been_kept(monkeypatch, fit, method, hyperparameters):
    given = toy.trial(method=method, hyperparameters=hyperparameters, fit=fit)
    curve, said, _ = toy.learn(given)
    monkeypatch.setattr(frozen, "cut", lambda *_: None)
    of_whole, said_by_whole, _ = toy.learn(given)
    assert_allclose(said, said_by_whole, rtol=1e-3, atol=1e-4)
    assert [row.keys() for row in curve] == [row.keys() for row in of_whole]
    assert [row["train_loss"] for row in curve] == pytest.approx([row["train_loss"] for row in of_whole], rel=1e-4)


def test_the_next_trial_takes_what_is_kept_and_its_cost_says_what_that_was_worth(monkeypatch):
    seen: list[int] = []
    of_pixels = Pixels.__call__
    monkeypatch.setattr(Pixels, "__call__", lambda self, index: seen.append(1) or of_pixels(self, index))
    first, said, learner = toy.learn(toy.trial())
    assert learner.reused_seconds == 0
    shown = len(seen)
    again, said_again, learner = toy.learn(toy.trial())
    assert len(seen) - shown == 1  # two images, to see whether the parts say what the whole says
    assert learner.reused_seconds > 0
    assert again == first
    np.testing.assert_array_equal(said_again, said)


def test_other_data_another_view_or_another_backbone_is_made_anew():
    keys = []
    for given in (toy.trial(), toy.trial(fit="trainval"), toy.trial(lr=1e-3, seed=3)):
        toy.learn(given)
        keys.append(set(frozen._kept))
    assert keys[0] == keys[1] == keys[2]  # train, val and test serve all of them
    assert len(keys[0]) == 3
    toy.learn(replace(toy.trial(), protocol=toy.trial().protocol.model_copy(update={"normalisation": "none"})))
    assert len(frozen._kept) == 6


def test_augmented_images_are_never_kept():
    flips = toy.trial().protocol.model_copy(update={"augmentation": "flip"})
    toy.learn(replace(toy.trial(), protocol=flips))
    assert {key[1] for key in frozen._kept} == {"val", "test"}


def test_what_does_not_fit_is_not_kept(monkeypatch):
    of_all, said, _ = toy.learn(toy.trial())
    frozen._kept.clear()
    monkeypatch.setattr(frozen, "KEPT_BYTES", 48 * 96 * 4)  # the features of test, of 48 images, alone
    curve, said_of_little, _ = toy.learn(toy.trial())
    assert {key[1] for key in frozen._kept} == {"test"}
    assert [row["val_loss"] for row in curve] == pytest.approx([row["val_loss"] for row in of_all], rel=1e-4)
    assert_allclose(said_of_little, said, rtol=1e-3, atol=1e-4)


def test_those_used_last_stay(monkeypatch):
    model = carrying("linear", VisionTransformer(**VIT, depth=1))
    split = toy.split(16, 0)
    pixels = Pixels(split, Normalisation((0.5,) * 3, (0.5,) * 3), torch.device("cpu"))
    parts = cut(model, pixels(slice(2)))
    monkeypatch.setattr(frozen, "KEPT_BYTES", 2 * 16 * 24 * 4)
    for key in ("a", "b", "a", "c"):
        frozen.made(parts, pixels, key, at_once=5)
    assert list(frozen._kept) == ["a", "c"]


def test_the_cost_of_a_run_counts_what_was_computed_for_the_one_before(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(frozen.time, "perf_counter", lambda: float(next(clock)))  # a second every time it is read
    first = execution.execute(toy.trial(fit="trainval"), tmp_path).header["cost"]
    again = execution.execute(toy.trial(fit="trainval", seed=1), tmp_path).header["cost"]
    # Making train, val and test reads the clock at the start and at the end: a second more for each, spent or reused.
    for name in ("fit_seconds", "predict_seconds"):
        assert again[name] == pytest.approx(first[name], abs=4)
        assert again[name] > 1
