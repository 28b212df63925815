from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from petl_study.pretraining import atlas as atlases
from petl_study.pretraining import pen, source
from petl_study.pretraining.skeleton import thin
from petl_study.render.glyphs import MARGIN


@pytest.fixture(scope="module")
def atlas():
    return atlases.build(("dejavu_sans", "cm_roman"), size=32)


def test_a_batch_is_a_function_of_its_seed(atlas):
    first, again, other = (source.draw(atlas, 64, seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_images_are_finite_and_in_range_and_vary(atlas):
    images, labels = source.draw(atlas, 512, 3)
    assert images.shape == (512, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert (images.flatten(1).std(dim=1) > 0.01).float().mean() > 0.98
    assert labels.min() >= 0
    assert labels.max() < len(source.CLASSES)


def test_every_class_appears_in_its_familys_share(atlas):
    labels = torch.cat([source.draw(atlas, 1024, seed).labels for seed in range(4)])
    assert len(labels.unique()) == len(source.CLASSES)
    digits = (labels < 10).float().mean()
    assert digits == pytest.approx(source.SHARES["digits"], abs=0.03)


def test_classes_have_distinct_names_and_follow_the_atlas(atlas):
    assert len(set(source.CLASSES)) == len(source.CLASSES)
    assert source.CLASSES[: len(atlas.classes)] == atlas.classes


def test_an_unmoved_form_is_drawn_as_it_is(atlas):
    row = atlas.first[source.CLASSES.index("E")][None]
    still = torch.zeros(1)
    pose = source.Pose(
        size=torch.full((1,), 32.0),
        centre=torch.zeros(1, 2),
        rotation=still,
        shear=still,
        aspect=torch.ones(1),
        tilt=torch.zeros(1, 2),
        bend=torch.zeros(1, 1, 1, 2),
    )
    plain = source.Pen(hollow=still > 0, width=still, weight=still, softness=torch.ones(1))
    expected = (atlas.outline[row] * 32 + 0.5).clamp(0, 1)
    torch.testing.assert_close(source.stamp(atlas, row, pose, plain), expected, atol=1e-4, rtol=0)
    # a quarter turn of the pose is a quarter turn of the picture (clockwise, as y points down)
    turned = source.stamp(atlas, row, pose._replace(rotation=still + torch.pi / 2), plain)
    torch.testing.assert_close(turned, expected.rot90(-1, (1, 2)), atol=1e-3, rtol=0)
    # bolder means more ink, thinner less, and a shift to the right moves it there
    bold, fine = (source.stamp(atlas, row, pose, plain._replace(weight=still + w)).sum() for w in (-1, 1))
    assert bold > expected.sum() > fine
    moved = source.stamp(atlas, row, pose._replace(centre=torch.tensor([[4 / 16, 0.0]])), plain)
    torch.testing.assert_close(moved[..., 4:], expected[..., :-4], atol=1e-4, rtol=0)


def test_enlarging_is_what_pillow_does():
    # within the range where Pillow's own clipping between rows and columns plays no part
    small = np.random.default_rng(0).integers(80, 176, (8, 8), dtype=np.uint8)
    enlarge = source._enlarge(8)
    ours = (enlarge @ torch.from_numpy(small).float() @ enlarge.T).clamp(0, 255).numpy()
    pillows = np.asarray(Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.abs(ours - pillows).max() <= 1.5


def test_thinning_keeps_holes_and_leaves_lines():
    ring = np.zeros((1, 20, 20), dtype=bool)
    ring[0, 3:17, 3:17] = True
    ring[0, 8:12, 8:12] = False
    line = thin(ring)[0]
    assert line.sum() < ring.sum() / 2
    assert line[:8, 10].sum() == 1  # one pixel where the band was five
    assert not line[9, 9]
    assert (line & ~ring[0]).sum() == 0


@pytest.mark.parametrize("digit", sorted(pen.FORMS))
def test_pen_forms_fill_the_box_as_glyphs_do(digit):
    for form in range(len(pen.FORMS[digit])):
        on_path = np.argwhere(pen.pen_distance(digit, form, 48) < 1 / 48)
        extent = (on_path.max(axis=0) - on_path.min(axis=0)).max() / 48
        assert extent == pytest.approx(1 - 2 * MARGIN, abs=0.08)


def test_a_contact_sheet_shows_the_images_in_order(atlas):
    images = source.draw(atlas, 6, 0).images
    sheet = source.contact_sheet(images, columns=3)
    assert sheet.shape == (64, 96, 3)
    assert torch.equal(sheet[32:, 32:64], (images[4].permute(1, 2, 0) * 255).round().to(torch.uint8))
