"""Any folder as a task: its three forms, further test sets by class, and whole studies on files."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pictures
import toy
from petl_study import cli, engines, places, runner, spec, tasks
from petl_study.errors import InputError
from petl_study.images import View
from petl_study.places import Places
from petl_study.store import KINDS, Study
from petl_study.tasks._lists import class_folders, read_folders

PETS = ("ant", "bee", "cat")
LISTS = {"train800.txt": 9, "val200.txt": 3, "test.txt": 6}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [])
    places.use(Places(data=tmp_path / "data", cache=tmp_path / "cache"))
    return tmp_path / "data"


def sizes(task):
    return [len(part) for part in (task.train, task.val, task.test)]


def classes(root, counts, first=0):
    return pictures.write_classes(root, dict(zip(PETS, counts, strict=True)), first=first)


# --------------------------------------------------------------------------------------------------------- three forms


def test_lists_come_first(data):
    pictures.write_lists(data / "pets", LISTS, names=PETS)
    task = tasks.load("folder:pets")
    assert (task.classes, task.group, sizes(task)) == (PETS, "natural", [9, 3, 6])


def test_without_names_the_largest_label_says_how_many_classes_there_are(data):
    pictures.write_lists(data / "pets", LISTS, 5)
    assert tasks.load("folder:pets").classes == tuple(f"class {k}" for k in range(5))


def test_a_missing_list_is_missed_and_not_passed_over_for_the_folder_of_images(data):
    pictures.write_lists(data / "pets", LISTS)
    (data / "pets" / "train800.txt").unlink()
    with pytest.raises(InputError, match=r"train800\.txt cannot be read as a list"):
        tasks.load("folder:pets")


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_of_splits_are_the_splits(val, data):
    for k, (name, counts) in enumerate({"train": (4, 4, 4), val: (2, 1, 1), "test": (2, 2, 3)}.items()):
        classes(data / "pets" / name, counts, first=100 * k)
    task = tasks.load("folder:pets")
    assert (task.classes, sizes(task)) == (PETS, [12, 4, 7])
    assert task.val.ids[0] == f"{val}/ant/000.png"


def test_without_val_a_fifth_of_every_class_is_held_out(data):
    classes(data / "pets" / "train", (10, 5, 2))
    classes(data / "pets" / "test", (1, 1, 1), first=100)
    task = tasks.load("folder:pets")
    assert np.bincount(task.val.labels).tolist() == [2, 1, 1]
    assert np.bincount(task.train.labels).tolist() == [8, 4, 1]


def test_a_folder_for_every_class_is_split_in_three(data):
    classes(data / "pets", (50, 25, 3))
    task = tasks.load("folder:pets")
    assert np.bincount(task.test.labels).tolist() == [10, 5, 1]
    assert np.bincount(task.val.labels).tolist() == [8, 4, 1]
    assert np.bincount(task.train.labels).tolist() == [32, 16, 1]
    assert not set(task.test.ids) & set(task.val.ids)


def test_what_is_held_out_depends_on_paths_alone(data, tmp_path):
    classes(data / "pets", (20, 20, 20))
    classes(tmp_path / "elsewhere" / "pets", (20, 20, 20), first=500)
    here = tasks.load("folder:pets")
    places.use(Places(data=tmp_path / "elsewhere", cache=tmp_path / "cache"))
    assert tasks.load("folder:pets").test.ids.tolist() == here.test.ids.tolist()
    assert tasks.load("folder:pets").fingerprint != here.fingerprint


def test_links_to_directories_are_followed_unless_they_lead_back(data):
    for kind in ("ant", "bee"):
        pictures.write(data / "pets" / kind / "a.png", pictures.image(1))
        pictures.write(data / "far" / kind / "deep" / "b.png", pictures.image(2))
        (data / "pets" / kind / "more").symlink_to(data / "far" / kind, target_is_directory=True)
        (data / "pets" / kind / "again").symlink_to(data / "pets", target_is_directory=True)
    split = read_folders(data / "pets", "", class_folders(data / "pets"))
    assert split.ids.tolist() == ["ant/a.png", "ant/more/deep/b.png", "bee/a.png", "bee/more/deep/b.png"]


@pytest.mark.parametrize("name", ["a.avif", "a.heic", "a.jxl"])
def test_images_of_formats_that_are_not_read_are_named_and_not_passed_by(data, name):
    for kind in ("ant", "bee"):
        for i in range(3):
            pictures.write(data / "pets" / kind / f"{i}.png", pictures.image(i))
    (data / "pets" / "ant" / name).write_bytes(b"of another format")
    with pytest.raises(InputError, match=rf"pets/ant/{name}.*of a format that is not read here"):
        task = tasks.load("folder:pets")
        for part in ("trainval", "test"):
            task.split(part, View("direct", 8))


def test_a_class_may_be_called_train(data):
    pictures.write_classes(data / "vehicles", {"bus": 3, "test": 3, "train": 3})
    assert tasks.load("folder:vehicles").classes == ("bus", "test", "train")


@pytest.mark.parametrize(
    "made,told",
    [
        ({"train/ant": 2, "train/bee": 2, "val/ant": 2}, r"none in test/\. If those in val/ .*, rename it test/"),
        ({"train/ant": 2, "train/bee": 2, "test/cow": 2}, "has images in cow, which is no class of the task"),
        ({"train/ant": 2, "train/bee": 1, "test/ant": 2}, "class 'bee' has 1 images; .* 2 are the fewest"),
        ({"ant": 3, "bee": 2}, "class 'bee' has 2 images; .* 3 are the fewest"),
        ({"ant": 9}, "has one class, 'ant': there is nothing to tell apart"),
        ({}, "is no task: it has neither train800.txt, val200.txt and test.txt, nor train/"),
    ],
)
def test_a_directory_in_no_form_is_refused(made, told, data):
    (data / "pets").mkdir(parents=True)
    pictures.write_classes(data / "pets", made)
    with pytest.raises(InputError, match=told):
        tasks.load("folder:pets")


# --------------------------------------------------------------------------------------------------------- shift sets


def shifted(data, **shifts):
    return tasks.load({"folder:pets": {"shifts": {name: f"folder:{at}" for name, at in shifts.items()}}}).shifts


def test_shift_sets_go_by_the_names_of_classes(data):
    classes(data / "pets", (5, 5, 5))
    pictures.write_lists(data / "lists", {"test.txt": 6}, 3, names=("cat", "ant", "dog"))
    (data / "lists" / "test.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 0\n")
    pictures.write_classes(data / "folders", {"cat": 2, "bee": 1})
    pictures.write_classes(data / "splits" / "test", {"bee": 1})
    pictures.write_classes(data / "splits" / "train", {"cow": 1})
    sets = shifted(data, lists="lists", folders="folders", splits="splits")
    assert sets["lists"].labels.tolist() == [2, 0, 2]
    assert sets["folders"].labels.tolist() == [1, 2, 2]
    assert sets["splits"].labels.tolist() == [1]


def test_without_names_they_go_by_number(data):
    pictures.write_lists(data / "pets", LISTS)
    pictures.write_lists(data / "named", {"test.txt": 3}, names=("x", "y", "z"))
    pictures.write_lists(data / "numbered", {"test.txt": 3})
    sets = shifted(data, named="named", numbered="numbered")
    assert sets["named"].labels.tolist() == sets["numbered"].labels.tolist() == [0, 1, 2]


def test_shift_sets_of_other_classes_are_refused(data):
    classes(data / "pets", (5, 5, 5))
    pictures.write_lists(data / "lists", {"test.txt": 3}, names=("ant", "cow", "bee"))
    with pytest.raises(InputError, match="has images of classes that the task has not: cow"):
        shifted(data, lists="lists")
    pictures.write_classes(data / "folders", {"cow": 1})
    with pytest.raises(InputError, match="has images in cow, which is no class of the task"):
        shifted(data, folders="folders")
    pictures.write_lists(data / "numbered", {"test.txt": 5}, 5)
    with pytest.raises(InputError, match=r"\(test\.txt, line 4\): label 3, but there are 3 classes"):
        shifted(data, numbered="numbered")


# ------------------------------------------------------------------------------------------------------ whole studies


class Silent:
    def started(self, trial):
        pass

    def finished(self, trial, record, stored_before):
        pass

    def without_result(self, task, method, trials):
        pass


PROTOCOL = {**toy.study()["protocol"], "resize": "direct", "image_size": 32}


def study(tasks_, **changes):
    search = {"lr": [1e-3], "weight_decay": [1e-4]}
    return toy.study(tasks=tasks_, methods=["bitfit"], protocol=PROTOCOL, search=search, seeds=[0], **changes)


def run(content, out, engine="serial"):
    with engines.create(engine, workers=1, threads=1, device="cpu") as running:
        return runner.run(spec.resolve(content), out, running, Silent())


def records(out):
    return [record for kind in KINDS for record in Study(out).records(kind)]


@pytest.fixture
def pets(data):
    classes(data / "pets", (15, 15, 15))
    classes(data / "sketch", (3, 2, 2), first=300)
    return [
        {"folder:pets": {"shifts": {"sketch": "folder:sketch"}}},
        {"folder:pets": {"shots": 2, "shifts": {"sketch": "folder:sketch"}}},
        {"folder:pets": {"examples": 10}},
    ]


def test_a_study_on_folders_runs_and_goes_on(pets, tmp_path):
    out = tmp_path / "out"
    assert run(study(pets), out).trained == 3 * 2
    assert run(study(pets), out).trained == 0
    runs = {record.spec["task"]: record for record in records(out) if record.header["kind"] == "run"}
    assert set(runs) == {"pets", "pets@2shot", "pets@10"}
    assert set(runs["pets"].sets) == {"sketch", "test", "val"}
    assert runs["pets"].header["task"]["train_examples"] == 36
    assert runs["pets@2shot"].header["task"]["train_examples"] == 12  # in the end validated on, too
    assert runs["pets@10"].header["task"]["train_examples"] == 10
    assert runs["pets"].examples("sketch")[0].tolist()[0] == "sketch/ant/000.png"
    assert "skipped" not in runs["pets"].header["task"]
    assert not any(str(tmp_path) in str(record.header) for record in records(out))


def test_processes_store_what_one_process_stores(pets, tmp_path):
    for engine in ("serial", "processes"):
        run(study(pets[:1]), tmp_path / engine, engine)
    one, other = records(tmp_path / "serial"), records(tmp_path / "processes")
    assert [record.key for record in one] == [record.key for record in other]
    for a, b in zip(one, other, strict=True):
        for name in a.sets:
            np.testing.assert_array_equal(a.logits(name), b.logits(name))


def test_a_bad_image_stops_a_study_or_is_skipped_and_recorded(pets, data, tmp_path):
    task = tasks.load("folder:pets")
    for split in ("train", "test"):
        (data / "pets" / getattr(task, split).ids[0]).write_text("no image")
    (data / "sketch" / "bee" / "001.png").unlink()
    (data / "sketch" / "bee" / "001.png").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"1 of \d+ images .*:\n .*it is no image.*\n.*--on-bad-image"):
        run(study(pets[:1]), tmp_path / "out")
    places.use(Places(data=tmp_path / "data", cache=tmp_path / "cache", on_bad_image="skip"))
    run(study(pets[:1]), tmp_path / "out")
    [final] = [record for record in records(tmp_path / "out") if record.header["kind"] == "run"]
    skipped = final.header["task"]["skipped"]
    assert set(skipped) == {task.train.ids[0], task.test.ids[0], "sketch/bee/001.png"}
    assert skipped["sketch/bee/001.png"] == "there is no such file"
    assert final.header["task"]["train_examples"] == 35
    assert len(final.examples("test")[0]) == len(task.test) - 1
    assert str(tmp_path) not in str(final.header)


def test_a_corrupted_test_set_of_files_is_made_of_what_the_model_sees(pets, tmp_path):
    run(study(pets[1:2], keep={"shifts": ["corrupt:contrast:5"]}), tmp_path / "out")
    [final] = [record for record in records(tmp_path / "out") if record.header["kind"] == "run"]
    assert final.examples("corrupt:contrast:5")[0].tolist() == final.examples("test")[0].tolist()


def test_status_needs_no_data(pets, data, tmp_path, capsys):
    run(study([{f"folder:{data}/pets": {"shifts": {"sketch": f"folder:{data}/sketch"}}}]), tmp_path / "out")
    data.rename(tmp_path / "gone")
    places._here.clear()
    assert cli.main(["status", str(tmp_path / "out")]) == 0
    assert re.search(r"pets +1/1 \+ 1/1", capsys.readouterr().out)


def test_images_of_many_sizes_need_a_protocol_that_resizes_them(data, tmp_path):
    classes(data / "pets", (5, 5, 5))
    for k, path in enumerate(sorted((data / "pets").rglob("*.png"))):
        pictures.write(path, pictures.image(k, 8 + k, 9))
    with pytest.raises(InputError, match="images of different sizes need a protocol that resizes them"):
        run({**study(["folder:pets"]), "protocol": toy.study()["protocol"]}, tmp_path / "out")
