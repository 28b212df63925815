"""Few-shot and many-shot: as many as were asked for, by seed, the smaller within the larger."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from petl_study import tasks
from petl_study.errors import InputError
from petl_study.tasks import Split, Task
from petl_study.tasks._sampling import sampled

COUNTS = (50, 20, 13, 3)  # of each class in train; a fifth as many, and at least 4, in val


def split(name, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = np.array([f"{name}/{k}" for k in range(len(labels))])
    order = np.random.default_rng(0).permutation(len(labels))
    return Split(np.zeros((len(labels), 2, 2, 3), np.uint8), labels[order], ids)


TASK = Task(
    "made",
    "natural",
    ("a", "b", "c", "d"),
    "for tests",
    split("train", COUNTS),
    split("val", [max(4, n // 5) for n in COUNTS]),
    split("test", (5, 5, 5, 5)),
)


def few(shots, seed=0):
    return sampled(TASK, shots=shots, examples=None, seed=seed)


def many(examples, seed=0, task=TASK):
    return sampled(task, shots=None, examples=examples, seed=seed)


def counts(split):
    return np.bincount(split.labels, minlength=4).tolist()


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_k_shots_are_k_of_each_class_and_as_many_to_validate_on(shots):
    task = few(shots)
    assert counts(task.train) == [shots] * 4
    assert counts(task.val) == [min(shots, 4)] * 4
    assert (task.test is TASK.test, task.shifts) == (True, TASK.shifts)


def test_at_most_4_of_each_class_are_validated_on():
    task = Task("three", "natural", TASK.classes[:3], "", *of_three())
    sample = sampled(task, shots=10, examples=None, seed=0)
    assert (counts(sample.train), counts(sample.val)) == ([10, 10, 10, 0], [4, 4, 4, 0])


def of_three():
    return (part.take(np.flatnonzero(part.labels < 3)) for part in (TASK.train, TASK.val, TASK.test))


def test_a_sample_is_of_its_own_split_with_its_own_labels():
    known = dict(zip(TASK.train.ids.tolist(), TASK.train.labels.tolist(), strict=True))
    for task in (few(2), many(40)):
        assert all(known[example] == label for example, label in zip(task.train.ids, task.train.labels, strict=True))
        assert set(task.val.ids) <= set(TASK.val.ids)


def test_a_sample_depends_on_its_seed_and_on_nothing_else():
    for draw in (lambda seed: few(3, seed), lambda seed: many(40, seed)):
        assert draw(0).train.ids.tolist() == draw(0).train.ids.tolist()
        assert draw(0).train.ids.tolist() != draw(1).train.ids.tolist()


def test_the_order_of_the_files_does_not_matter():
    mixed = np.random.default_rng(1).permutation(len(TASK.train))
    other = replace(TASK, train=TASK.train.take(mixed))
    assert set(sampled(other, shots=2, examples=None, seed=0).train.ids) == set(few(2).train.ids)


def test_larger_samples_hold_the_smaller():
    samples = [few(k) for k in (1, 2, 3)], [many(n) for n in range(2, 100)]
    for one, next_ in (pair for kind in samples for pair in pairwise(kind)):
        for part in ("train", "val"):
            assert set(getattr(one, part).ids) <= set(getattr(next_, part).ids)


@pytest.mark.parametrize("examples", [5, 40, 71, 100])
def test_many_shots_are_so_many_in_all_a_fifth_of_them_to_validate_on(examples):
    task = many(examples)
    assert len(task.trainval) == examples
    assert len(task.val) == examples // 5


def test_classes_keep_their_proportions():
    n = 64
    shares = np.array(COUNTS) * n / sum(COUNTS)
    np.testing.assert_allclose(counts(many(80).train), shares, atol=1)


def test_too_many_shots_are_refused_with_the_most_there_are():
    with pytest.raises(InputError, match=r"'made': 4 examples .* from train, and 1 of 4 .*, such as 'd'; .* at most 3"):
        few(4)


def test_shots_need_every_class_to_validate_on():
    task = Task(
        "made", "natural", TASK.classes, "", TASK.train, TASK.val.take(np.flatnonzero(TASK.val.labels)), TASK.test
    )
    with pytest.raises(
        InputError, match=r"1 examples of each class are wanted from val, .* such as 'a'; .* has 0\. Shots"
    ):
        sampled(task, shots=1, examples=None, seed=0)


def test_too_many_examples_are_refused_with_what_there_is():
    with pytest.raises(InputError, match=r"'made': 160 of the examples are wanted from train, which has 86"):
        many(200)


def test_any_task_can_be_sampled():
    task = tasks.load({"toy": {"shots": 2}})
    assert (counts(task.train), task.name) == ([2, 2, 2, 0], "toy@2shot")
    assert task.split("contrast:1").ids.tolist() == task.test.ids.tolist()
    assert tasks.load({"toy": {"examples": 20}}).fingerprint != tasks.load({"toy": {"examples": 21}}).fingerprint
