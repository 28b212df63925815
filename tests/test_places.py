"""Where data lie on this machine, and what records call them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from petl_study import places
from petl_study.errors import InputError
from petl_study.places import Places


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [])
    places.use(Places(data=tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def made(path):
    path.mkdir(parents=True)
    return path


def test_the_environment_says_where_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "_here", [])
    monkeypatch.setenv("PETL_STUDY_DATA", "/some/data")
    monkeypatch.setenv("PETL_STUDY_CACHE", "/some/cache")
    assert (str(places.here().data), str(places.here().cache)) == ("/some/data", "/some/cache")
    monkeypatch.delenv("PETL_STUDY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert places.here().cache == tmp_path / "petl_study"
    places.use(replace(places.here(), data=tmp_path))
    assert places.here().data == tmp_path


def test_who_has_no_home_has_a_cache_nonetheless(monkeypatch, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("PETL_STUDY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert Places().cache == tmp_path / ".cache" / "petl_study"
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert str(Places().cache) == "/some/cache/petl_study"


@pytest.mark.parametrize("gb", [-1, float("inf"), float("nan")])
def test_a_cache_is_of_a_size(gb):
    with pytest.raises(InputError, match="--cache-gb must be a number of at least 0"):
        Places(cache_gb=gb)


def test_names_are_below_the_data_directory(data):
    made(data / "vtab" / "pets")
    assert places.folder("vtab/pets") == data / "vtab" / "pets"


@pytest.mark.parametrize("given", ["folder:pets", "folder:./pets", "folder:pets/", "folder:cats/../pets"])
def test_one_folder_has_one_name(given, data):
    assert places.known_here(given) == "folder:pets"


def test_a_folder_named_by_its_path_is_recorded_by_its_name(data, tmp_path):
    pets = made(tmp_path / "far" / "pets")
    assert places.known_here(f"folder:{pets}/") == "folder:pets"
    assert places.folder("pets") == pets
    assert places.known_here("folder:pets") == "folder:pets"


def test_a_home_directory_may_be_written_short(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.known_here("folder:~/pets") == "folder:pets"
    assert dict(places.here().folders) == {"pets": tmp_path / "pets"}
    assert places.known_here("folder:~no-one/pets") == "folder:~no-one/pets"


def test_two_folders_of_one_name_are_refused(data, tmp_path):
    a, b = made(tmp_path / "a" / "pets"), made(tmp_path / "b" / "pets")
    places.known_here(f"folder:{a}")
    with pytest.raises(InputError, match="have the same name, which is what records call them"):
        places.known_here(f"folder:{b}")


def test_a_path_must_not_take_the_name_of_another_folder_below_the_data_directory(data, tmp_path):
    pets = made(tmp_path / "a" / "pets")
    made(data / "pets")
    with pytest.raises(InputError, match="Rename one, or give --data a directory above both"):
        places.known_here(f"folder:{pets}")


def test_two_ways_to_one_folder_are_one(data, tmp_path):
    pets = made(data / "pets")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "pets").symlink_to(pets)
    for path in (pets, tmp_path / "link" / "pets"):
        assert places.known_here(f"folder:{path}") == "folder:pets"


@pytest.mark.parametrize("given", ["folder:", "folder:.", "folder:/"])
def test_a_folder_needs_a_name(given, data):
    with pytest.raises(InputError, match=r"names no folder: give its path below --data"):
        places.known_here(given)


@pytest.mark.parametrize("name", ["../pets", "a/../../pets", "/etc"])
def test_no_name_leads_out_of_the_data_directory(name, data):
    with pytest.raises(InputError, match="leads out of the data directory"):
        places.folder(name)


def test_a_missing_folder_is_told_with_a_remedy(data):
    (data / "loop").symlink_to("loop")
    for name in ("pets", "loop"):
        with pytest.raises(InputError, match=rf"there is no directory {data}/{name}\. Say .* --data DIR"):
            places.folder(name)


@pytest.mark.parametrize("name", ["digits", "vtab1k:cifar", "torch/cifar10"])
def test_what_is_no_folder_keeps_its_name(name, data):
    assert places.known_here(name) == name
