"""VTAB-1K: nineteen tasks with the groups, classes and test sets they were published with, from the field's lists."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import pictures
from petl_study import places, spec, tasks
from petl_study.errors import InputError
from petl_study.places import Places
from petl_study.tasks import vtab1k


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [])
    places.use(Places(data=tmp_path, cache=tmp_path / "cache"))
    return tmp_path


SIZES = {"train800.txt": 12, "val200.txt": 4, "test.txt": 6}


def kitti(data, **options):
    return pictures.write_lists(data / "kitti", SIZES, 4, **options)


def test_there_are_nineteen_in_three_groups():
    assert len(vtab1k.TASKS) == 19
    assert Counter(known.group for known in vtab1k.TASKS.values()) == {"natural": 7, "specialized": 4, "structured": 8}


@pytest.mark.parametrize(
    "name,group,classes,test",
    [
        # arXiv 1910.04867, table 2, and the sizes of the original test sets.
        ("caltech101", "natural", 102, 6084),
        ("cifar", "natural", 100, 10000),
        ("dtd", "natural", 47, 1880),
        ("oxford_flowers102", "natural", 102, 6149),
        ("oxford_iiit_pet", "natural", 37, 3669),
        ("svhn", "natural", 10, 26032),
        ("sun397", "natural", 397, 21750),
        ("patch_camelyon", "specialized", 2, 32768),
        ("eurosat", "specialized", 10, 5400),
        ("resisc45", "specialized", 45, 6300),
        ("diabetic_retinopathy", "specialized", 5, 42670),
        ("clevr_count", "structured", 8, 15000),
        ("clevr_dist", "structured", 6, 15000),
        ("dmlab", "structured", 6, 22735),
        ("kitti", "structured", 4, 711),
        ("dsprites_loc", "structured", 16, 73728),
        ("dsprites_ori", "structured", 16, 73728),
        ("smallnorb_azi", "structured", 18, 12150),
        ("smallnorb_ele", "structured", 9, 12150),
    ],
)
def test_each_is_what_was_published(name, group, classes, test):
    known = vtab1k.TASKS[name]
    assert (known.group, known.classes, known.test) == (group, classes, test)


def test_the_lists_are_the_splits(data):
    kitti(data)
    task = tasks.load("vtab1k:kitti")
    assert (task.name, task.group, len(task.classes)) == ("kitti", "structured", 4)
    assert task.classes == ("class 0", "class 1", "class 2", "class 3")
    assert [len(part) for part in (task.train, task.val, task.test)] == [12, 4, 6]
    assert task.train.ids[1] == "images/train800/00001.png"
    assert task.summary == "how far the nearest vehicle is"
    view = spec.Protocol.model_validate({"base": "embedded", "resize": "direct", "image_size": 8}).view
    seen = task.split("trainval", view)
    np.testing.assert_array_equal(seen.pixels[:][0], pictures.image(1, 8, 8, channel=0))
    assert seen.ids.tolist() == [*task.train.ids, *task.val.ids]


def test_classes_have_names_where_there_are_some(data):
    kitti(data, names=["near", "close", "far", "none"])
    assert tasks.load("vtab1k:kitti").classes == ("near", "close", "far", "none")


def test_a_task_keeps_all_its_classes_when_few_are_seen(data):
    pictures.write_lists(data / "svhn", SIZES, 3)
    assert len(tasks.load("vtab1k:svhn").classes) == 10


@pytest.mark.parametrize(
    "change,told",
    [
        (lambda root: (root / "val200.txt").unlink(), r"val200\.txt cannot be read as a list: No such file"),
        (lambda root: (root / "train800.txt").unlink(), r"train800\.txt cannot be read as a list: No such file"),
        (lambda root: (root / "test.txt").write_text("images/a.jpg 4\n"), r"\(test\.txt, line 1\): label 4, but .* 4"),
        (lambda root: (root / "test.txt").write_text("/images/a.jpg 1\n"), r"test\.txt, line 1: .* leads out of"),
        (lambda root: (root / "test.txt").write_text("../a.jpg 1\n"), r"test\.txt, line 1: .* leads out of"),
        (lambda root: (root / "test.txt").write_text("images/val200/00000.png 1\n"), "uses 1 ids more than once"),
        (
            lambda root: (root / "test.txt").write_text("a.jpg 1\nb.jpg 1\na.jpg 2\n"),
            "line 3: .* is listed before",
        ),
        (lambda root: (root / "train800val200.txt").write_text("a.jpg 1\n"), "train800val200.txt is not .*: 17 lines"),
        (lambda root: (root / "classes.txt").write_text("a\nb\nc\n"), "classes.txt names 3 classes, and kitti has 4"),
    ],
)
def test_lists_that_are_wrong_are_refused(change, told, data):
    change(kitti(data))
    with pytest.raises(InputError, match=told):
        tasks.load("vtab1k:kitti")


def test_another_label_in_the_joint_list_is_noticed(data):
    both = kitti(data) / "train800val200.txt"
    both.write_text(both.read_text().replace("train800/00001.png 1", "train800/00001.png 2"))
    with pytest.raises(InputError, match=r"2 lines are in one alone, such as 'images/train800/00001\.png 1'"):
        tasks.load("vtab1k:kitti")


def test_the_joint_list_may_be_in_another_order_or_missing(data):
    both = kitti(data) / "train800val200.txt"
    both.write_text("\n".join(reversed(both.read_text().splitlines())))
    fingerprint = tasks.load("vtab1k:kitti").fingerprint
    both.unlink()
    tasks._registry._load.cache_clear()
    assert tasks.load("vtab1k:kitti").fingerprint == fingerprint


def test_unknown_and_missing_tasks_are_told_apart(data):
    with pytest.raises(InputError, match=r"unknown task of VTAB-1K 'kiti'; known: .* Did you mean 'kitti'\?"):
        tasks.load("vtab1k:kiti")
    with pytest.raises(InputError, match=r"there is no directory .*/kitti\. Say where the data lie with --data DIR"):
        tasks.load("vtab1k:kitti")


def test_vtab1k_alone_is_all_of_it(data):
    for name, known in vtab1k.TASKS.items():
        pictures.write_lists(data / name, {"train800.txt": 2, "val200.txt": 2, "test.txt": 2}, known.classes, side=1)
    study = spec.resolve(
        {
            "name": "vtab",
            "backbone": "micro_vit",
            "tasks": ["vtab1k"],
            "methods": ["linear"],
            "protocol": {"base": "embedded", "resize": "direct", "image_size": 32},
        }
    )
    assert [task.name for task in study.tasks] == list(vtab1k.TASKS)
    assert study.model_dump()["tasks"][0] == {"name": "caltech101", "data": "vtab1k:caltech101"}
