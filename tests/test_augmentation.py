"""Augmentation: what it does to a batch, and that nothing but its seed decides it."""

from __future__ import annotations

import pytest
import torch

from petl_study.augmentation import Augmentation
from petl_study.protocols import AUGMENTATIONS

RANDOM = [kind for kind in AUGMENTATIONS if kind != "none"]


@pytest.fixture
def batch() -> torch.Tensor:
    """32 images whose brightness says where a pixel was: red grows to the right, green downwards, blue by image."""
    across = torch.arange(32, dtype=torch.uint8) * 8
    red, green = across.expand(32, 32, 32), across[:, None].expand(32, 32, 32)
    return torch.stack([red, green, torch.arange(32, dtype=torch.uint8)[:, None, None].expand(32, 32, 32)], dim=1)


def fractions(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255


@pytest.mark.parametrize("kind", RANDOM)
def test_the_seed_alone_decides_batch_after_batch(kind, batch):
    one, same, other = Augmentation(kind, 0), Augmentation(kind, 0), Augmentation(kind, 1)
    torch.manual_seed(5)
    first = one(batch, fractions)
    before = torch.random.get_rng_state()
    second = one(batch, fractions)
    assert torch.equal(torch.random.get_rng_state(), before)  # dropout goes on as if nothing had been drawn
    torch.manual_seed(6)
    assert torch.equal(same(batch, fractions), first)
    assert torch.equal(same(batch, fractions), second)
    assert not torch.equal(first, second)
    assert not torch.equal(other(batch, fractions), first)


def test_none_is_what_normalising_gives_to_the_bit(batch):
    assert torch.equal(Augmentation("none", 0)(batch, fractions), fractions(batch))


def test_a_flip_turns_about_half_of_the_images_and_changes_nothing_else(batch):
    made = Augmentation("flip", 0)(batch, fractions)
    as_is = [torch.equal(image, plain) for image, plain in zip(made, fractions(batch), strict=True)]
    turned = [torch.equal(image, plain.flip(-1)) for image, plain in zip(made, fractions(batch), strict=True)]
    assert all(a != b for a, b in zip(as_is, turned, strict=True))
    assert 6 < sum(turned) < 26


def test_a_crop_is_a_part_of_its_own_image_in_the_size_of_the_whole(batch):
    made = Augmentation("crop-flip", 0)(batch, fractions)
    assert made.shape == (32, 3, 32, 32)
    blue = made[:, 2]
    assert torch.allclose(blue, fractions(batch)[:, 2], atol=1e-6)
    shown = (made[:, 0].amax((1, 2)) - made[:, 0].amin((1, 2))) * (made[:, 1].amax((1, 2)) - made[:, 1].amin((1, 2)))
    assert shown.min() < 0.4 * shown.max()  # areas from 8 % to all
    rightwards = made[:, 0, 16, -1] > made[:, 0, 16, 0]
    assert 6 < rightwards.sum() < 26


def test_randaugment_erases_a_quarter_of_the_images_with_noise_after_normalising(batch):
    grey = torch.full_like(batch, 128).repeat(4, 1, 1, 1)
    made = Augmentation("randaugment", 0)(grey, lambda images: images.float() * 0)
    erased = made.flatten(1).abs().amax(1) > 0
    assert 16 < erased.sum() < 50
    noise = made[made != 0]
    assert noise.mean().abs() < 0.1
    assert noise.std() == pytest.approx(1, abs=0.1)


def test_randaugment_changes_colours_and_places_of_most_images(batch):
    plain, made = Augmentation("crop-flip", 0), Augmentation("randaugment", 0)
    changed = (plain(batch, fractions) - made(batch, fractions)).abs().flatten(1).amax(1) > 0.05
    assert changed.float().mean() > 0.5
