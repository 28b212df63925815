"""A view does what the field's loaders do, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

import pictures
from petl_study.errors import InputError
from petl_study.images import AS_IS, View, resized

SIZES = [(1, 1), (7, 5), (5, 7), (32, 32), (33, 32), (31, 97), (97, 31), (64, 48), (36, 36), (300, 200), (2, 250)]


def picture(width, height):
    return Image.fromarray(pictures.image(width * 1000 + height, height, width))


@pytest.mark.parametrize("width,height", SIZES)
@pytest.mark.parametrize("size", [8, 32, 50])
def test_direct_is_torchvisions_resize_to_a_square(width, height, size):
    reference = Resize((size, size), InterpolationMode.BICUBIC, antialias=True)
    seen = View("direct", size)(picture(width, height))
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(reference(picture(width, height))))


@pytest.mark.parametrize("width,height", SIZES)
@pytest.mark.parametrize("size", [8, 32, 49])
def test_crop_is_torchvisions_resize_and_centre_crop(width, height, size):
    shorter = Resize(round(size * 256 / 224), InterpolationMode.BICUBIC, antialias=True)
    reference = Compose([shorter, CenterCrop(size)])
    seen = View("crop", size)(picture(width, height))
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(reference(picture(width, height))))


def test_crop_at_224_goes_by_way_of_256():
    whole = Resize(256, InterpolationMode.BICUBIC)(picture(300, 260))  # 295 x 256
    np.testing.assert_array_equal(View("crop", 224)(picture(300, 260)), np.asarray(whole)[16:240, 36:260])


def test_longer_sides_are_counted_as_torchvision_counts_them():
    for width in range(1, 40, 2):
        for height in range(3, 120, 3):
            reference = Resize(37)(Image.new("1", (width, height)))
            assert View._larger(width, height, 37) == reference.size


def test_as_is_changes_nothing():
    image = picture(7, 5)
    assert AS_IS(image) is image


def test_what_is_too_oblong_is_refused_before_it_is_resized():
    with pytest.raises(ValueError, match="1 x 400000 pixels are too oblong"):
        View("crop", 224)(Image.new("L", (1, 400_000)))


def test_a_size_and_a_way_there_belong_together():
    for resize, size in (("none", 224), ("direct", None), ("crop", None)):
        with pytest.raises(InputError, match="images that are resized need a size"):
            View(resize, size)


def test_arrays_are_seen_as_files_are():
    images = np.stack([pictures.image(k, 20, 30) for k in range(5)])
    for view in (View("direct", 16), View("crop", 16)):
        expected = np.stack([np.asarray(view(Image.fromarray(one))) for one in images])
        np.testing.assert_array_equal(resized(images, view)[:], expected)
        np.testing.assert_array_equal(resized(images, view)[np.array([3, 1])], expected[[3, 1]])
