"""`petl-study check` finds what would make a study wrong, and passes what would not."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
import yaml

import pictures
import toy
from petl_study import check, cli, places
from petl_study.check import sources_of
from petl_study.errors import InputError
from petl_study.places import Places
from petl_study.tasks import vtab1k

SIZES = {"train800.txt": 12, "val200.txt": 4, "test.txt": 6}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [])
    places.use(Places(data=tmp_path / "data", cache=tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def pets(data):
    return pictures.write_lists(data / "pets", SIZES, names=("ant", "bee", "cat"))


def checked(*arguments, **options):
    """The only task's report."""
    [source] = sources_of(arguments[0] if arguments else "folder:pets")
    return check.check(source, **options)


def command(*arguments):
    return cli.main(["check", *map(str, arguments)])


def relist(root, name, line, new):
    for file in (root / name, root / "train800val200.txt"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(new if one == line else one for one in lines) + "\n")


# -------------------------------------------------------------------------------------------------------------- VTAB-1K


@pytest.fixture
def vtab(data, monkeypatch):
    """All nineteen in miniature; `expect` says that they are as they should be."""
    for k, (name, known) in enumerate(vtab1k.TASKS.items()):
        sizes = {"train800.txt": 4, "val200.txt": 2, "test.txt": 3}
        pictures.write_lists(data / name, sizes, min(known.classes, 4), side=2, first=20 * k)

    def expect():
        monkeypatch.setattr(vtab1k, "TRAIN", 4)
        monkeypatch.setattr(vtab1k, "VAL", 2)
        small = {n: replace(known, test=3, classes=min(known.classes, 4)) for n, known in vtab1k.TASKS.items()}
        monkeypatch.setattr(vtab1k, "TASKS", small)

    return expect


def test_vtab1k_with_wrong_sizes_is_wrong(vtab, data, capsys):
    assert command("vtab1k", "--data", data, "--quick") == 1
    out = capsys.readouterr().out
    found = r"caltech101 +natural +4 of 800 +2 of 200 +3 of 6,084 +102, train 4, val 2, test 3 +0 to 3 "
    assert re.search(found, out)
    assert "cifar: problem: test has 3 examples and should have 10,000" in out
    assert f"In {data}: 19 wrong." in out


def test_vtab1k_as_it_should_be_is_usable(vtab, data, capsys):
    vtab()
    assert command("vtab1k", "--data", data, "--quick") == 0
    out = capsys.readouterr().out
    assert out.count("usable") == 20
    assert re.search(r"patch_camelyon .* 2 +0 to 1 ", out)


def test_labels_of_another_task_are_wrong(vtab, data, monkeypatch):
    vtab()
    monkeypatch.setitem(vtab1k.TASKS, "cifar", replace(vtab1k.TASKS["cifar"], classes=100))
    assert checked("vtab1k:cifar", decode=False).problems == [
        "96 of 100 classes have no images: the labels, or the lists, are another task's"
    ]


def test_what_is_missing_is_told_once(vtab, data, capsys):
    vtab()
    for name in ("cifar", "dtd", "kitti"):
        shutil.rmtree(data / name)
    assert command("vtab1k", "--data", data, "--quick") == 1
    out = capsys.readouterr().out
    assert out.count("there is no directory") == 1
    assert "(2 more are missing likewise)" in out
    assert f"In {data}: 16 usable, 3 missing." in out


# ------------------------------------------------------------------------------------------------------- what is found


def test_a_sound_task_has_nothing_to_tell(pets):
    report = checked()
    assert (report.verdict, report.problems, report.warnings) == ("usable", [], [])
    assert {name: part.examples for name, part in report.parts.items()} == {"train": 12, "val": 4, "test": 6}
    assert (report.known_classes, report.parts["train"].labels, report.parts["train"].classes) == (3, (0, 2), 3)
    assert report.duplicates == {"val": 0, "test": 0}
    assert len(report.fingerprint) == 64


def test_unreadable_images_are_named(pets):
    pictures.write(pets / "images/val200/00001.png")
    (pets / "images/test/00002.png").unlink()
    report = checked()
    assert report.verdict == "wrong"
    assert report.problems == [
        f"1 of 4 images of val cannot be read: {pets}/images/val200/00001.png (val200.txt, line 2):"
        " it is no image, or of a format that is not read here (JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000)",
        f"1 of 6 images of test cannot be read: {pets}/images/test/00002.png (test.txt, line 3): there is no such file",
    ]


def test_a_quick_check_decodes_nothing_but_misses_no_file(pets, monkeypatch):
    pictures.write(pets / "images/val200/00001.png")
    (pets / "images/test/00002.png").unlink()
    report = checked(decode=False)
    assert [len(part.unreadable) for part in report.parts.values()] == [0, 0, 1]


def test_classes_that_are_asked_about_and_were_not_learned_are_a_warning(pets):
    relist(pets, "val200.txt", "images/val200/00002.png 2", "images/val200/00002.png 3")
    test = (pets / "test.txt").read_text()
    (pets / "test.txt").write_text(test.replace("00005.png 2", "00005.png 3").replace("00004.png 1", "00004.png 4"))
    (pets / "classes.txt").write_text("ant\nbee\ncat\ndog\nelk\nfox\n")
    report = checked()
    assert report.verdict == "usable"
    assert report.warnings == [
        "val has images of 1 classes that train lacks: dog",
        "test has images of 1 classes that train and val lack: elk",
        "1 of 6 classes have no images",
    ]


def test_examples_that_were_trained_on_are_a_problem(pets):
    shutil.copy(pets / "images/train800/00003.png", pets / "images/test/00000.png")
    shutil.copy(pets / "images/val200/00003.png", pets / "images/test/00001.png")
    report = checked()
    assert report.duplicates == {"val": 0, "test": 2}
    assert report.problems == ["2 of 6 examples of test have the very content of one in train or val"]


def test_a_few_that_were_trained_on_are_a_warning(pets, monkeypatch):
    """Public data sets have some: two of dSprites' shapes look the same when they are turned."""
    monkeypatch.setattr(check, "LEAK", 0.5)
    shutil.copy(pets / "images/train800/00003.png", pets / "images/val200/00000.png")
    report = checked()
    assert report.verdict == "usable"
    assert report.warnings == ["1 of 4 examples of val have the very content of one in train"]


def test_shift_sets_are_checked_too(pets, data):
    pictures.write_lists(data / "sketch", {"test.txt": 3}, first=100)
    shutil.copy(pets / "images/train800/00003.png", data / "sketch/images/test/00001.png")
    pictures.write(data / "sketch/images/test/00002.png")
    (data / "study.yaml").write_text(
        yaml.safe_dump({"tasks": [{"folder:pets": {"shifts": {"sketch": "folder:sketch"}}}]})
    )
    report = checked(str(data / "study.yaml"))
    assert [problem.partition(":")[0] for problem in report.problems] == [
        "1 of 3 images of sketch cannot be read",
        "1 of 3 examples of sketch have the very content of one in train or val",
    ]


def test_what_stops_a_study_is_a_problem(pets):
    (pets / "test.txt").write_text("images/test/00000.png 7\n")
    report = checked()
    assert (report.verdict, report.found) == ("wrong", True)
    assert "(test.txt, line 1): label 7, but there are 3 classes" in report.problems[0]


def test_tasks_that_ship_are_sound():
    report = checked("toy")
    assert (report.verdict, report.problems) == ("usable", [])
    assert report.parts["test"].examples == 48


# -------------------------------------------------------------------------------------------------------- what is asked


def test_a_study_file_stands_for_its_tasks(pets, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(toy.study(tasks=["vtab1k", {"folder:pets": {"shots": 2}}, "digits"])))
    names = [source.name for source in sources_of(str(file))]
    assert names == [*vtab1k.TASKS, "pets@2shot", "digits"]


@pytest.mark.parametrize("content", ["", "[]", "tasks: []", "tasks: 3", "{"])
def test_a_file_that_is_no_study_is_refused(content, tmp_path):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(InputError, match=r"is no study file: it lists no `tasks`|is not valid YAML"):
        sources_of(str(tmp_path / "a.yaml"))


def test_unknown_names_are_wrong_input(capsys):
    assert command("vtab2k") == 2
    assert "unknown task 'vtab2k'; known:" in capsys.readouterr().err


def test_programs_get_everything(pets, data, capsys):
    assert command("folder:pets", "vtab1k:cifar", "--data", data, "--json") == 1
    found, missing = json.loads(capsys.readouterr().out)["tasks"]
    assert (found["verdict"], found["parts"]["val"]["examples"], found["duplicates"]["test"]) == ("usable", 4, 0)
    assert (missing["verdict"], missing["found"]) == ("missing", False)
    assert "there is no directory" in missing["problems"][0]
