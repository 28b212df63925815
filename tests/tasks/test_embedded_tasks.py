"""What holds for every embedded task, and the exact data each one is."""

import importlib
from functools import cache

import numpy as np
import pytest

from petl_study import tasks
from petl_study.tasks._rendered import SIZES, render_example

RENDERED = ("cells", "count", "letters", "orientation", "textures")
EMBEDDED = ("digits", *RENDERED)

# A changed fingerprint is a changed task: results made before and after must not be compared.
FINGERPRINTS = {
    "cells": "afe4b26903906fbc4f168b4f6a9ff1f12105b4501a3fb827889596d1b13f94de",
    "count": "da9d6336f0dc2726709e1c29b8a4d8d7f2a4905ebc970a5931f52346d5f0f8cc",
    "digits": "7beb642acc3435ab3c08513e737f98c132996d1936392b6b11da84fb79a1eb04",
    "letters": "3f7081cd00a9d497c5a859fa6448ac1f79f2a96381ffbbc8b33c68c724918796",
    "orientation": "8d104b3603b42c3f32da900d0259d1eadf87b262546a71434d38be119d74c585",
    "textures": "75233117bd669f3aa4c48378e6106e91d473ce98578adc0520ff26fc6a6ae2c8",
}


load = cache(tasks.load)  # which keeps two: every test would draw its task anew


@pytest.fixture(params=EMBEDDED)
def task(request):
    return load(request.param)


@pytest.fixture(params=RENDERED)
def rendered(request):
    return load(request.param)


def examples(task):
    return [task.train, task.val, task.test]


def test_two_tasks_are_embedded_in_each_group():
    groups = [tasks.info(name).group for name in EMBEDDED]
    assert sorted(groups) == sorted(tasks.GROUPS * 2)


def test_sizes_follow_the_protocol(task):
    assert [len(part) for part in examples(task)] == [800, 200, 797 if task.name == "digits" else 1000]
    assert len(task.trainval) == 1000
    assert tasks.info(task.name).sizes == tuple(map(len, examples(task)))  # known without making them


def test_images_are_small_rgb_bytes(task):
    for part in examples(task):
        assert part.images.shape == (len(part), 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64


def test_ids_name_one_example_each(task):
    ids = np.concatenate([part.ids for part in examples(task)])
    assert len(set(ids.tolist())) == len(ids)
    assert all(str(i).startswith(f"{task.name}/") for i in ids)


def test_no_image_is_in_the_task_twice(task):
    images = [image.tobytes() for part in examples(task) for image in part.images]
    assert len(set(images)) == len(images)


def test_classes_are_balanced_in_every_split(task):
    for part in examples(task):
        share = np.bincount(part.labels, minlength=len(task.classes)) / len(part)
        assert len(share) == len(task.classes)
        assert np.abs(share * len(task.classes) - 1).max() < 0.15


def test_trainval_is_train_then_val(task):
    assert task.trainval.ids.tolist() == [*task.train.ids, *task.val.ids]


def test_data_are_what_they_were(task):
    assert task.fingerprint == FINGERPRINTS[task.name]


def test_metadata_agree_with_the_loaded_task(task):
    info = tasks.info(task.name)
    assert (info.name, info.group, info.classes, info.summary) == (task.name, task.group, task.classes, task.summary)
    assert info.shift_sets == tuple(task.shifts)


def test_an_example_drawn_alone_is_the_one_in_the_split(rendered):
    draw = importlib.import_module(f"petl_study.tasks.{rendered.name}").draw
    for split, k in (("train", 799), ("val", 0), ("test", 123), ("test", 124)):
        image, label, example = render_example(tasks.info(rendered.name), draw, split, k)
        part = rendered.split(split)
        assert len(part) == SIZES[split]
        assert (label, example) == (part.labels[k], part.ids[k])
        np.testing.assert_array_equal(image, part.images[k])


def test_brightness_and_colour_alone_do_not_solve_a_rendered_task(rendered):
    def colour(part):
        x = part.images.mean(axis=(1, 2))  # (N, 3)
        return np.column_stack([x, x**2, np.ones(len(x))]) / 255

    # least squares on one-hot labels: a linear classifier in closed form
    weights, *_ = np.linalg.lstsq(colour(rendered.trainval), np.eye(len(rendered.classes))[rendered.trainval.labels])
    accuracy = (np.argmax(colour(rendered.test) @ weights, axis=1) == rendered.test.labels).mean()
    assert accuracy < 1 / len(rendered.classes) + 0.1


def test_a_nearest_neighbour_in_pixels_does_not_solve_a_rendered_task(rendered):
    from sklearn.neighbors import KNeighborsClassifier

    train, test = rendered.train, rendered.test.take(slice(0, 300))
    flat = [part.images.reshape(len(part), -1) / 255.0 for part in (train, test)]
    assert KNeighborsClassifier(1).fit(flat[0], train.labels).score(flat[1], test.labels) < 0.5


def test_digits_are_the_scans_of_their_ids():
    from sklearn.datasets import load_digits

    scans = load_digits()
    task = tasks.load("digits")
    for part in examples(task):
        index = np.array([int(i.removeprefix("digits/")) for i in part.ids.tolist()])
        np.testing.assert_array_equal(part.labels, scans.target[index])
        blocks = part.images[:, 4:28, 4:28, 0].reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4)) * (16 / 255)  # (N, 8, 8)
        assert np.abs(blocks - scans.images[index]).mean() < 1
