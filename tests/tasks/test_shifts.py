"""Shift sets: the same examples, only further and further from how they looked."""

import hashlib
import pickle

import numpy as np
import pytest

from petl_study import tasks
from petl_study.errors import InputError
from petl_study.tasks.shifts import SEVERITIES, SHIFT_SETS, SHIFTS, shift

SHIFTED_DATA = "302ca4d05e41b6ebf09a31231172afd2b12137d70bc152de9e7ac40c23035d16"


@pytest.fixture(scope="module", params=["digits", "letters"])
def test_split(request):
    return tasks.load(request.param).test.take(slice(0, 60))


def distance(a, b):
    """Root mean squared difference of every example, in grey levels: (N,)."""
    return np.sqrt(((a.images.astype(float) - b.images) ** 2).mean(axis=(1, 2, 3)))


def test_natural_tasks_have_every_shift_set():
    assert len(SHIFT_SETS) == len(SHIFTS) * len(SEVERITIES) >= 18
    for name in ("digits", "letters"):
        assert tuple(tasks.load(name).shifts) == SHIFT_SETS


@pytest.mark.parametrize("name", SHIFT_SETS)
def test_a_shift_changes_pixels_and_nothing_else(test_split, name):
    shifted = shift(name, test_split)
    assert shifted.ids.tolist() == test_split.ids.tolist()
    assert shifted.labels.tolist() == test_split.labels.tolist()
    assert shifted.images.dtype == np.uint8
    assert shifted.images.shape == test_split.images.shape
    assert distance(shifted, test_split).min() > 0


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_higher_severity_is_further_from_the_clean_image(test_split, kind):
    near, middle, far = (distance(shift(f"{kind}:{severity}", test_split), test_split) for severity in SEVERITIES)
    assert near.mean() * 1.1 < middle.mean()
    assert middle.mean() * 1.1 < far.mean() or kind == "rotation"
    assert (middle > near).mean() > 0.9
    assert (far > middle).mean() > 0.9


@pytest.mark.parametrize("name", [f"{kind}:2" for kind in SHIFTS])
def test_an_example_is_shifted_alike_wherever_it_stands(test_split, name):
    order = np.array([17, 3, 40])
    np.testing.assert_array_equal(shift(name, test_split.take(order)).images, shift(name, test_split).images[order])


def test_shifted_data_are_what_they_were(test_split):
    few = tasks.load("digits").test.take(slice(0, 20)), tasks.load("letters").test.take(slice(0, 20))
    digest = hashlib.sha256()
    for name in SHIFT_SETS:
        for split in few:
            digest.update(shift(name, split).images.tobytes())
    assert digest.hexdigest() == SHIFTED_DATA


def test_a_task_hands_out_its_shift_sets_as_splits():
    task = tasks.load("digits")
    shifted = task.split("polarity:3")
    assert shifted.ids.tolist() == task.test.ids.tolist()
    np.testing.assert_array_equal(shifted.images, 255 - task.test.images)


def test_images_need_not_be_square(test_split):
    oblong = tasks.Split(test_split.images[:2, :20], test_split.labels[:2], test_split.ids[:2])
    assert {shift(name, oblong).images.shape for name in SHIFT_SETS} == {(2, 20, 32, 3)}


def test_a_task_with_shifts_can_be_sent_to_another_process():
    task = pickle.loads(pickle.dumps(tasks.load("digits")))
    assert task.split("blur:1").ids.tolist() == task.test.ids.tolist()


@pytest.mark.parametrize("name", ["blurr:1", "blur:4", "blur"])
def test_an_unknown_shift_set_is_answered_with_those_there_are(test_split, name):
    with pytest.raises(InputError, match=f"unknown shift set '{name}'; known: blur:1, .* Did you mean 'blur:"):
        shift(name, test_split)
