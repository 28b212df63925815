"""FGVC in miniature: three classes, in the layouts in which its splits are passed on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import pictures
from petl_study import places, tasks
from petl_study.errors import InputError
from petl_study.images import View
from petl_study.tasks import fgvc

FOLDERS = {"cub": "CUB_200_2011", "stanford_dogs": "Stanford-dogs", "flowers": "OxfordFlower"}
PICTURES = {
    "cub": ("001.Black_footed_Albatross", "014.Indigo_Bunting", "200.Common_Yellowthroat"),
    "stanford_dogs": ("n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02116738-African_hunting_dog"),
    "flowers": ("jpg", "jpg", "jpg"),
}
IDS = (1, 14, 200)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Three tasks; of every class three images to train on, one to validate on and two to test on."""
    monkeypatch.setattr(places, "_here", [places.Places(data=tmp_path, cache_gb=0)])
    for name, folder in FOLDERS.items():
        monkeypatch.setitem(fgvc.TASKS, name, replace(fgvc.TASKS[name], classes=3))
        lists = {"train": {}, "val": {}, "test": {}}
        for one, below in zip(IDS, PICTURES[name], strict=True):
            for k, split in enumerate(("train",) * 3 + ("val",) + ("test",) * 2):
                path = f"{below}/{one}_{k}.png"
                pictures.write(tmp_path / folder / fgvc.TASKS[name].images / path, pictures.image(one + k, 6 + k))
                lists[split][path] = one
        write(tmp_path / folder, lists)
    return tmp_path


def write(root, lists):
    for split, listed in lists.items():
        (root / f"{split}.json").write_text(json.dumps(listed))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_lists_are_the_splits_and_class_ids_in_order_the_labels(data, name):
    task = tasks.load(f"fgvc:{name}")
    assert (task.name, task.group, [len(s) for s in (task.train, task.val, task.test)]) == (name, "natural", [9, 3, 6])
    for split in (task.train, task.val, task.test):
        assert [IDS[label] for label in split.labels] == [int(str(i).split("/")[-1].split("_")[0]) for i in split.ids]
    assert task.split("test", View("direct", 8)).pixels.shape == (
        6,
        8,
        8,
        3,
    )  # the images are where they were looked for


def test_folders_tell_the_names_of_classes_where_they_have_them(data):
    assert tasks.load("fgvc:cub").classes == ("Black footed Albatross", "Indigo Bunting", "Common Yellowthroat")
    assert tasks.load("fgvc:stanford_dogs").classes == ("Chihuahua", "Japanese spaniel", "African hunting dog")
    assert tasks.load("fgvc:flowers").classes == ("class 0", "class 1", "class 2")


def test_a_list_without_a_class_numbers_the_others_as_the_rest_do(data):
    root = data / "CUB_200_2011"
    val = json.loads((root / "val.json").read_text())
    write(root, {"val": {path: one for path, one in val.items() if one != 1}})
    assert tasks.load("fgvc:cub").val.labels.tolist() == [1, 2]


def test_all_five_are_asked_for_by_one_name():
    assert tasks.expand("fgvc") == [
        f"fgvc:{name}" for name in ("cub", "nabirds", "flowers", "stanford_dogs", "stanford_cars")
    ]
    assert tasks.expected_sizes(tasks.Source.model_validate("fgvc:flowers")) == (1020, 1020, 6149)
    totals = {name: sum(known.sizes[:2]) for name, known in fgvc.TASKS.items()}
    assert totals == {"cub": 5994, "nabirds": 23929, "flowers": 2040, "stanford_dogs": 12000, "stanford_cars": 8144}


def test_a_folder_may_be_called_as_the_task(data):
    (data / "CUB_200_2011").rename(data / "cub")
    assert len(tasks.load("fgvc:cub").train) == 9


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda r: (r / "val.json").unlink(), r"CUB_200_2011 has no val\.json\. .*KMnP/vpt"),
        (lambda r: (r / "images").rename(r / "pictures"), r"has no images/, to which the paths in train\.json"),
        (lambda r: (r / "val.json").write_text("{"), r"val\.json cannot be read as JSON"),
        (
            lambda r: (r / "val.json").write_text('[["a.png", 1]]'),
            r"val\.json is no list of images: it must be an object",
        ),
        (lambda r: (r / "val.json").write_text('{"a.png": "1"}'), r"val\.json is no list of images: .*whole numbers"),
        (lambda r: (r / "val.json").write_text("{}"), r"val\.json is no list of images"),
        (lambda r: (r / "val.json").write_text('{"../../a.png": 1}'), r"'\.\./\.\./a\.png' leads out of"),
        (lambda r: (r / "val.json").write_text('{"/etc/a.png": 1}'), r"'/etc/a\.png' leads out of"),
        (
            lambda r: (r / "val.json").write_text('{"a.png": 2}'),
            r"the lists have 4 classes together, and fgvc:cub has 3",
        ),
        (lambda r: (r / "val.json").write_text((r / "test.json").read_text()), r"uses 6 ids more than once"),
        (lambda r: r.rename(r.with_name("birds")), r"no directory CUB_200_2011 \(or cub\) in .*KMnP/vpt.*--data"),
    ],
)
def test_what_is_missing_or_malformed_is_told(data, spoil, told):
    spoil(data / "CUB_200_2011")
    with pytest.raises(InputError, match=told):
        tasks.load("fgvc:cub")


def test_an_unknown_task_is_told():
    with pytest.raises(InputError, match=r"unknown task of FGVC 'cubs'; known: cub.*Did you mean 'cub'"):
        tasks.load("fgvc:cubs")
