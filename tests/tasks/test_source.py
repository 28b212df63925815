"""How a study file names its tasks, what becomes of it in records, and what is refused."""

from __future__ import annotations

import json

import pytest
import yaml

import pictures
import toy
from petl_study import cli, places, spec, tasks
from petl_study.errors import InputError
from petl_study.places import Places
from petl_study.tasks import Source, of_record


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [])
    places.use(Places(data=tmp_path / "data", cache=tmp_path / "cache"))
    return tmp_path / "data"


def source(entry):
    return Source.model_validate(entry)


@pytest.mark.parametrize(
    "entry,name,recorded",
    [
        ("digits", "digits", "digits"),
        ({"digits": None}, "digits", "digits"),
        ({"digits": {"shots": 4}}, "digits@4shot", {"name": "digits@4shot", "data": "digits", "shots": 4}),
        ("vtab1k:cifar", "cifar", {"name": "cifar", "data": "vtab1k:cifar"}),
        ("folder:zoo/pets", "pets", {"name": "pets", "data": "folder:zoo/pets"}),
        ({"folder:pets": {"name": "mine"}}, "mine", {"name": "mine", "data": "folder:pets"}),
        (
            {"folder:pets": {"examples": 100, "sample": 2, "group": "specialized"}},
            "pets@100.2",
            {"name": "pets@100.2", "data": "folder:pets", "group": "specialized", "examples": 100, "sample": 2},
        ),
        (
            {"folder:pets": {"shifts": {"sketch": "folder:sketched/pets/"}}},
            "pets",
            {"name": "pets", "data": "folder:pets", "shifts": {"sketch": "folder:sketched/pets"}},
        ),
        ({"data": "folder:pets"}, "pets", {"name": "pets", "data": "folder:pets"}),
    ],
)
def test_a_task_is_named_after_its_data_and_recorded_without_defaults(entry, name, recorded):
    made = source(entry)
    assert (made.name, made.recorded) == (name, recorded)


@pytest.mark.parametrize(
    "entry",
    [
        "digits",
        "vtab1k:cifar",
        {"folder:pets": {"shifts": {"sketch": "folder:sketch"}, "shots": 2, "sample": 1, "group": "structured"}},
    ],
)
def test_what_is_recorded_gives_the_source_back(entry):
    made = source(entry)
    assert source(json.loads(made.model_dump_json())) == made
    assert source(yaml.safe_load(yaml.safe_dump(made.model_dump()))) == made
    assert of_record({"task": made.name, **({} if entry == "digits" else {"source": made.recorded})}) == made
    assert source(made) is made


@pytest.mark.parametrize("form", ["named", "by fields"])
def test_no_path_of_this_machine_is_recorded(form, tmp_path):
    options = {"shifts": {"sketch": f"folder:{tmp_path}/b/sketch"}}
    data = f"folder:{tmp_path}/a/pets"
    made = source({data: options} if form == "named" else {"data": data, **options})
    assert made.recorded == {"name": "pets", "data": "folder:pets", "shifts": {"sketch": "folder:sketch"}}
    assert dict(places.here().folders) == {"pets": tmp_path / "a/pets", "sketch": tmp_path / "b/sketch"}


@pytest.mark.parametrize(
    "entry,told",
    [
        ({"toy": {"shot": 2}}, r"task 'toy': unknown option 'shot'; known: .*shots.* Did you mean 'shots'\?"),
        ({"toy": {"shots": 2, "examples": 9}}, "give `shots` .* or `examples` .*, not both"),
        ({"toy": {"shots": 0}}, r"tasks\.0\.shots: .* greater than or equal to 1, got 0"),
        ({"toy": {"shots": "4"}}, r"tasks\.0\.shots: .* valid integer, got '4'"),
        ({"toy": {"group": "nature"}}, r"tasks\.0\.group: .*'natural', 'specialized' or 'structured'.*, got 'nature'"),
        ({"toy": {"shifts": ["a"]}}, r"`shifts` are names and their data, such as .*; got \['a'\]"),
        ({"toy": {"shifts": "folder:a"}}, "`shifts` are names and their data"),
        ({"toy": {"shifts": {"a": None}}}, "`shifts` are names and their data"),
        ({"toy": {"shifts": {"test": "folder:a"}}}, "a shift set cannot be called 'test'"),
        ({"toy": {"shifts": {"val": "folder:a"}}}, "a shift set cannot be called 'val'"),
        ({"toy": {"shifts": {"corrupt": "folder:a"}}}, "a shift set cannot be called 'corrupt'"),
        ({"toy": {"shifts": {"noise:1": "folder:a"}}}, "a shift set cannot be called 'noise:1'"),
        ({"toy": {"shifts": {"contrast": "folder:a"}}}, "task 'toy' has shift sets called 'contrast' of its own"),
        ({"toy": {"shifts": {"other": "digits"}}}, "shift set 'other' cannot be 'digits'; give a folder"),
        ({"toy": {"shifts": {"other": "nothing"}}}, "unknown task 'nothing'; known: .*folder:/path/to/images"),
        ({"toy": {"name": ".."}}, r"a task cannot be called '\.\.': .* Give another with `name`"),
        ({"toy": {"name": "a/b"}}, "a task cannot be called 'a/b'"),
        ({"toy": {"name": "a\n"}}, "a task cannot be called"),
        ({"toy": {"name": "a" * 101}}, "a name has at most 100 characters"),
        ({"toy": {"data": "digits"}}, "a task is a name, or one name with options"),
        ({"toy": [1]}, "a task is a name, or one name with options"),
        ({"toy": {}, "digits": {}}, "a task is a name, or one name with options"),
        (7, "a task is a name, or one name with options .*; got 7"),
        ({7: {}}, "a task is a name, or one name with options"),
        ("folder:", "'folder:' names no folder"),
        ("toys", r"unknown task 'toys'; known: .* Did you mean 'toy'\?"),
        ("folder:none", r"there is no directory .*/data/none\. Say where the data lie with --data"),
    ],
)
def test_entries_that_are_wrong_are_refused_with_a_remedy(entry, told):
    with pytest.raises(InputError, match=told):
        spec.resolve(toy.study(tasks=[entry]))


def test_a_name_alone_is_refused_in_plain_words():
    with pytest.raises(InputError, match=r"^'torch/' is no task: name: a task cannot be called '': .* with `name`\.$"):
        tasks.source_of("torch/")


def test_tasks_of_one_name_are_refused():
    assert "task 'digits' is listed twice" in refused_all(["digits", {"toy": {"name": "digits"}}])


def refused_all(entries):
    with pytest.raises(InputError) as error:
        spec.resolve(toy.study(tasks=entries))
    return str(error.value)


def test_a_source_is_validated_wherever_it_comes_from():
    with pytest.raises(InputError, match=r"is no task: .*unknown option 'path'"):
        of_record({"task": "x", "source": {"name": "x", "data": "digits", "path": "/"}})
    with pytest.raises(InputError, match="is no task: shots: Input should be greater"):
        tasks.load({"digits": {"shots": -1}})


def test_examples_of_a_shift_set_are_not_taken_for_the_tests(data):
    """Their files often have the same names."""
    for name in ("pets", "sketch"):
        pictures.write_classes(data / name, {"ant": 6, "cat": 6}, first=len(name) * 100)
    task = tasks.load({"folder:pets": {"shifts": {"sketch": "folder:sketch"}}})
    assert "sketch/ant/000.png" in task.shifts["sketch"].ids
    assert not set(task.shifts["sketch"].ids) & set(task.test.ids)


def test_what_ships_is_recorded_as_it_always_was():
    names = ["digits", "letters", "textures", "cells", "count", "orientation"]
    assert spec.load("reference").model_dump()["tasks"] == names


def test_the_list_of_tasks_says_what_else_can_be_one(capsys):
    assert cli.main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert all(loader.example in out and loader.summary in out for loader in tasks.list_loaders())
    assert "`petl-study check TASK --data DIR`" in out
