"""ImageNet in miniature: four of its classes, in the layouts in which it and its test sets are published."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import analysis
import pictures
import toy
from analysis.rows import parse_set
from petl_study import places, spec, tasks
from petl_study.errors import InputError
from petl_study.execution import execute
from petl_study.images import View
from petl_study.tasks import imagenet
from petl_study.trials import Trial

TENCH, GOLDFISH, STINGRAY, ROBIN = WNIDS = ("n01440764", "n01443537", "n01498041", "n01558993")  # 0, 1, 6, 15
LAYOUT = {
    **{f"imagenet/train/{wnid}": 10 for wnid in WNIDS},
    **{f"imagenet/val/{wnid}": 3 for wnid in WNIDS},
    **{f"imagenetv2-matched-frequency-format-val/{number}": 2 for number in (0, 1, 2, 6, 10, 15)},
    **{f"sketch/{wnid}": 2 for wnid in (*WNIDS, "n02099712")},
    **{f"imagenet-r/{wnid}": 2 for wnid in (GOLDFISH, STINGRAY, "n01484850")},
    **{f"imagenet-a/{wnid}": 2 for wnid in (STINGRAY, ROBIN)},
}
SHIFTS = {"v2": "imagenet:v2", "sketch": "imagenet:sketch", "r": "imagenet:r", "a": "imagenet:a"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    for k, (folder, images) in enumerate(LAYOUT.items()):
        pictures.write_classes(data, {folder: images}, first=100 * k)
    for kind in ("fog", "weather/snow"):
        for severity in "123":
            shutil.copytree(data / "imagenet/val", data / "imagenet-c" / kind / severity)
    return data


@pytest.fixture
def data(written, monkeypatch):
    monkeypatch.setattr(places, "_here", [places.Places(data=written, cache_gb=0)])
    return written


@pytest.fixture
def changed(tmp_path, written, monkeypatch):
    """A copy of the data that a test may spoil."""
    shutil.copytree(written, tmp_path / "data")
    monkeypatch.setattr(places, "_here", [places.Places(data=tmp_path / "data", cache_gb=0)])
    return tmp_path / "data"


def shown(split, classes):
    """The class of every example, by the folder that its image lies in."""
    return [classes[split.only[label] if split.only is not None else label] for label in split.labels]


def test_the_classes_are_the_folders_there_are_and_val_is_tested_on(data):
    task = tasks.load("imagenet")
    assert task.classes == tuple(
        f"{n} ({w})" for n, w in zip(("tench", "goldfish", "stingray", "robin"), WNIDS, strict=True)
    )
    assert [len(split) for split in (task.train, task.val, task.test)] == [32, 8, 12]
    assert {path.split("/")[0] for path in (*task.train.ids, *task.val.ids)} == {"train"}
    assert set(task.val.labels) == {0, 1, 2, 3}
    for split in (task.train, task.val, task.test):
        assert shown(split, WNIDS) == [str(one).split("/")[1] for one in split.ids]


def test_no_more_than_ten_of_a_class_are_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [places.Places(data=tmp_path, cache_gb=0)])
    for wnid in WNIDS[:2]:
        for k in range(60):  # named, never read
            path = tmp_path / "imagenet" / "train" / wnid / f"{k}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        pictures.write_classes(tmp_path / "imagenet/val", {wnid: 1})
    task = tasks.load("imagenet")
    assert (len(task.train), len(task.val)) == (100, 20)


def test_shots_are_drawn_from_train_for_both(data):
    task = tasks.load(tasks.Source.model_validate({"imagenet": {"shots": 2}}))
    assert (task.name, len(task.train), len(task.val), len(task.test)) == ("imagenet@2shot", 8, 8, 12)
    assert not set(task.train.ids) & set(task.val.ids)


def test_further_sets_are_asked_about_the_classes_that_task_and_set_have(data):
    task = tasks.load(tasks.Source.model_validate({"imagenet": {"shifts": SHIFTS}}))
    assert {name: len(split) for name, split in task.shifts.items()} == {"v2": 8, "sketch": 8, "r": 4, "a": 4}
    folder = {"v2": ("0", "1", "6", "15")}
    for name, split in task.shifts.items():
        assert shown(split, folder.get(name, WNIDS)) == [path.split("/")[0] for path in split.images.paths]
    assert [WNIDS[k] for k in task.shifts["r"].only] == [GOLDFISH, STINGRAY]
    assert [WNIDS[k] for k in task.shifts["a"].only] == [STINGRAY, ROBIN]
    assert task.shifts["v2"].only is None and task.shifts["sketch"].only is None
    assert task.split("a", View("direct", 16)).pixels.shape == (4, 16, 16, 3)


def test_folders_of_v2_are_numbers_not_words(data):
    """Sorted as words, 10 comes before 2 and folder 6 would be another class."""
    v2 = tasks.load(tasks.Source.model_validate({"imagenet": {"shifts": {"v2": "imagenet:v2"}}})).shifts["v2"]
    label_of = {path.split("/")[0]: int(label) for path, label in zip(v2.images.paths, v2.labels, strict=True)}
    assert label_of == {"0": 0, "1": 1, "6": 2, "15": 3}


def test_timm_lists_two_hundred_classes_each():
    for known in (imagenet.SETS["r"], imagenet.SETS["a"]):
        assert len(imagenet._listed(known.indices)) == 200
    assert len(imagenet._numbers()) == 1000
    assert len(set(imagenet._called(tuple(imagenet._numbers())))) == 1000


def test_published_corruptions_show_the_test_split_and_are_not_cropped(data):
    task = tasks.load(tasks.Source.model_validate({"imagenet": {"shifts": {"c": "imagenet:c"}}}))
    assert list(task.shifts) == [f"c:{kind}:{severity}" for kind in ("fog", "snow") for severity in (1, 2, 3)]
    pictures.write(data / "imagenet-c/fog/2" / TENCH / "000.png", pictures.image(9999))
    seen, clean = task.split("c:fog:2", View("crop", 8)), task.split("test", View("direct", 8))
    np.testing.assert_array_equal(seen.ids, clean.ids)
    np.testing.assert_array_equal(seen.labels, clean.labels)
    changed = [str(one) for one, a, b in zip(seen.ids, seen.pixels, clean.pixels, strict=True) if (a != b).any()]
    assert changed == [f"val/{TENCH}/000.png"]


def test_what_is_prepared_is_resized_whole(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:4] = 255  # a crop would lose this
    Image.fromarray(pixels).save(tmp_path / "a.png")
    files = imagenet.Prepared(tmp_path, ("a.png",))
    assert files.seen(View("crop", 64))[0][:][0, 0].max() == 255
    assert files.seen(View("crop", 32))[0][:][0, 0].max() > 200


def test_published_and_generated_corruptions_are_grouped_alike():
    assert parse_set("c:fog:3") == ("c:fog", 3)
    assert parse_set("corrupt:fog:3") == ("corrupt:fog", 3)

    def table(prefix):
        errors = {"linear": (10, 20, 40, 30, 50), "lora": (5, 10, 20, 30, 70)}
        sets = ("test", *(f"{prefix}:{kind}:{severity}" for kind in ("fog", "snow") for severity in (1, 2)))
        rows = [
            {"task": "imagenet", "method": method, "seed": 0, "set": name, "accuracy": 1 - error / 100}
            | dict(zip(("kind", "severity"), parse_set(name), strict=True))
            for method, of_method in errors.items()
            for name, error in zip(sets, of_method, strict=True)
        ]
        frame = pd.DataFrame(rows).astype({"severity": "Int64"})
        return analysis.mean_corruption_error(frame, normaliser="linear").set_index("method")

    assert table("c").loc["lora", ["mce", "kinds"]].tolist() == [pytest.approx((30 / 60 + 100 / 80) / 2), 2]
    assert table("c").equals(table("corrupt"))


def test_a_study_may_ask_for_some_of_the_published_corruptions(data):
    def looked_at(shifts):
        study = spec.resolve(
            toy.study(
                tasks=[{"imagenet": {"shifts": {"c": "imagenet:c"}}}], keep={"shifts": shifts}, methods=["linear"]
            )
        )
        return study.keep.shifts_of(tasks.info(study.tasks[0]).shift_sets)

    assert looked_at(["c:fog"]) == ["c:fog:1", "c:fog:2", "c:fog:3"]
    assert looked_at(["c:fog:3", "corrupt:fog:3"]) == ["c:fog:3", "corrupt:fog:3"]
    assert len(looked_at(["c"])) == 6
    with pytest.raises(InputError, match=r"unknown shift set 'c:frog'.*Did you mean 'c:fog'"):
        looked_at(["c:frog"])


def test_the_corruptions_leave_the_fingerprint_alone_and_other_sets_do_not(data):
    plain = tasks.load("imagenet").fingerprint
    of = {
        name: tasks.load(tasks.Source.model_validate({"imagenet": {"shifts": {name: f"imagenet:{name}"}}}))
        for name in "ca"
    }
    assert of["c"].fingerprint == plain != of["a"].fingerprint


@pytest.mark.parametrize(
    ("moved", "shifts", "told"),
    [
        (("imagenet/val", None), {}, r"imagenet has no val/\. It must have train/ and val/"),
        (("imagenet", None), {}, r"there is no directory .*imagenet\..*--data"),
        ((f"imagenet/val/{TENCH}", None), {}, rf"val has no images of 1 of 4 classes, such as {TENCH}"),
        ((f"imagenet/train/{TENCH}", "tench"), {}, "'tench', which is no class of ImageNet-1K"),
        (("imagenet-a", None), {"a": "imagenet:a"}, r"no directory imagenet-a in .*--data DIR"),
        (("sketch", None), {"s": "imagenet:sketch"}, r"no directory imagenet-sketch or sketch in"),
        ((f"imagenet-a/{ROBIN}", None), {"a": "imagenet:a"}, rf"1 of 2 classes, such as {ROBIN}"),
        ((f"imagenet-r/{GOLDFISH}", "1000"), {"r": "imagenet:r"}, "'1000', which is no class of ImageNet-1K"),
        (("sketch", None), {"c": "imagenet:x"}, r"unknown test set of ImageNet 'x'; known: a"),
        (("imagenet-c", "imagenet_c"), {"c": "imagenet:c"}, r"no directory imagenet-c in"),
    ],
)
def test_what_is_missing_or_strange_is_told(changed, moved, shifts, told):
    folder, name = changed / moved[0], moved[1]
    shutil.rmtree(folder) if name is None else folder.rename(folder.with_name(name))
    with pytest.raises(InputError, match=told):
        tasks.load(tasks.Source.model_validate({"imagenet": {"shifts": shifts}}))


def test_its_sets_are_no_tasks_and_for_no_other_task(data):
    with pytest.raises(InputError, match=r"imagenet:v2 is no task\. .*under `shifts`"):
        tasks.load("imagenet:v2")
    with pytest.raises(
        InputError, match="imagenet:a is a test set for imagenet, and not for a task with classes such as"
    ):
        tasks.load(tasks.Source.model_validate({"folder:imagenet/train": {"shifts": {"a": "imagenet:a"}}}))


def test_a_run_stores_what_was_said_of_the_classes_that_a_set_has(data, tmp_path):
    protocol = {"base": "embedded", "epochs": 1, "warmup_epochs": 0, "resize": "direct", "image_size": 32}
    study = spec.resolve(
        toy.study(
            tasks=[{"imagenet": {"shots": 1, "shifts": {**SHIFTS, "c": "imagenet:c"}}}],
            protocol=protocol,
            keep={"shifts": ["r", "a", "v2", "c:fog:3"]},
        )
    )
    [task] = study.tasks
    point = {"hyperparameters": {}, "lr": 1e-3, "weight_decay": 0.0, "head": "new", "protocol": study.protocol}
    trial = Trial(
        task.name, "micro_vit", "linear", **point, seed=0, fit="trainval", study="toys", keep=study.keep, source=task
    )
    record = execute(trial, tmp_path / "study")
    shapes = {name: record.logits(name).shape for name in record.sets}
    assert shapes == {"test": (12, 4), "v2": (8, 4), "r": (4, 2), "a": (4, 2), "c:fog:3": (12, 4)}
    assert record.header["task"]["train_examples"] == 8
    np.testing.assert_array_equal(record.examples("c:fog:3")[0], record.examples("test")[0])
