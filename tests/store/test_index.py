from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import records
from petl_study import store
from petl_study.errors import DamagedRecord
from petl_study.store import Study, furthest, index


@pytest.fixture
def study(tmp_path: Path, monkeypatch) -> Study:
    """Two dozen trials, of which an index is saved as soon as one has no row."""
    monkeypatch.setattr(index, "FEW", 0)
    monkeypatch.setattr(index, "GROUP", 5)
    begun = Study.create(tmp_path / "study", {"name": "s"})
    for number in range(24):
        records.write(begun, number)
    return begun


@pytest.fixture
def unread(monkeypatch):
    """From here on, no record may be read."""

    def forbid() -> None:
        def fails(path: Path) -> None:
            raise AssertionError(f"{path} was read")

        monkeypatch.setattr(index, "read", fails)

    return forbid


def file(study: Study) -> Path:
    [path] = (study.path / ".index").glob("trials-*")
    return path


def listed(study: Study, task: str | None = None) -> list[Any]:
    """All that listing tells, of every record."""
    return [
        (e.path, e.key, e.task, e.method, e.status, e.epochs, e.whole, e.failed, e.stopped, e.open().header)
        for e in study.entries("trial", task)
    ]


def read_one_by_one(study: Study, task: str | None = None) -> list[Any]:
    found = []
    for path in sorted((study.path / "trials").glob(f"{store.safe_name(task) if task else '*'}/*/[!.]*")):
        r = store.read(path)
        at = r.spec["task"], r.spec["method"]
        found.append((path, r.key, *at, r.header["status"], r.epochs, r.whole, r.failed, r.stopped, r.header))
    return found


def test_what_is_listed_a_second_time_is_not_read_again(study, unread):
    first = listed(study)
    unread()
    assert listed(study) == first
    assert listed(study, "task:1") == [each for each in first if each[2] == "task:1"]
    assert [record.header for record in study.records("trial")] == [each[-1] for each in first]


def test_a_small_study_needs_no_index(study, monkeypatch):
    monkeypatch.setattr(index, "FEW", 24)
    assert listed(study) == read_one_by_one(study)
    assert not (study.path / ".index").exists()


def test_one_task_alone_makes_no_index(study):
    assert listed(study, "task:1") == read_one_by_one(study, "task:1")
    assert not (study.path / ".index").exists()


def test_a_record_more_is_read_without_a_new_index(study, unread, monkeypatch):
    listed(study)
    before = file(study).read_bytes()
    monkeypatch.setattr(index, "FEW", 1)
    records.write(study, 100)
    assert listed(study) == read_one_by_one(study)
    assert file(study).read_bytes() == before
    records.write(study, 101)
    assert listed(study) == read_one_by_one(study)
    assert file(study).read_bytes() != before


def _add(study: Study, chance: random.Random) -> None:
    records.write(study, chance.randrange(1000), said=chance.random())


def _remove(study: Study, chance: random.Random) -> None:
    shutil.rmtree(chance.choice(list(study.records("trial"))).path)


def _change(study: Study, chance: random.Random) -> None:
    """Another result in the place of one, of the same size and with the times of the old."""
    old = chance.choice(list(study.records("trial")))
    told = (old.path / "record.json").stat()
    header = {name: value for name, value in old.header.items() if name not in ("files", "format", "checksum")}
    logits, examples = {"val": old.logits("val") + 1}, {"val": old.examples("val")}
    shutil.rmtree(old.path)
    store.write(old.path, header, logits=logits, examples=examples)
    os.utime(old.path / "record.json", ns=(told.st_atime_ns, told.st_mtime_ns))


def _move(study: Study, chance: random.Random) -> None:
    """Two records in each other's place."""
    one, other = (record.path for record in chance.sample(list(study.records("trial")), 2))
    aside = one.with_name(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def _copy(study: Study, chance: random.Random) -> None:
    """The study as it is on another disk, with the index and all times as they were."""
    copy = study.path.with_name("copy")
    shutil.copytree(study.path, copy)
    shutil.rmtree(study.path)
    copy.rename(study.path)


def _move_all(study: Study, chance: random.Random) -> None:
    study.path.rename(study.path.with_name("elsewhere"))
    study.path.with_name("elsewhere").rename(study.path)


def _join(study: Study, chance: random.Random) -> None:
    """Another study's records copied in."""
    other = Study.create(study.path.with_name("other"), {"name": "s"})
    for number in range(1000, 1004):
        records.write(other, number, said=chance.random())
    listed(other)
    shutil.copytree(other.path, study.path, dirs_exist_ok=True)
    shutil.rmtree(other.path)


def _lose_index(study: Study, chance: random.Random) -> None:
    shutil.rmtree(study.path / ".index", ignore_errors=True)


def _tear_index(study: Study, chance: random.Random) -> None:
    for path in (study.path / ".index").glob("*"):
        path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


STEPS = (_add, _remove, _change, _move, _copy, _move_all, _join, _lose_index, _tear_index)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_to_records_they_are_listed_as_they_are(study, seed):
    chance = random.Random(seed)
    for step in [*STEPS, *chance.choices(STEPS, k=9)]:
        step(study, chance)
        assert listed(study) == read_one_by_one(study), step.__name__


def test_an_index_that_came_with_a_copy_is_not_looked_into(study, tmp_path, unread, monkeypatch):
    listed(study)
    shutil.copytree(study.path, tmp_path / "copy")
    opened = []
    monkeypatch.setattr(index._Index, "__init__", lambda self, file=None: opened.append(file))
    index._Index.of(tmp_path / "copy", "trial")
    assert opened == [None]
    index._Index.of(study.path, "trial")
    assert opened[1] is not None


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_in_the_index_change_nothing_that_is_listed(study, seed):
    expected = listed(study)
    whole, chance = file(study).read_bytes(), random.Random(seed)
    for _ in range(20):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file(study).write_bytes(bytes(data))
        assert listed(study) == expected


def test_a_record_that_was_truncated_after_it_was_indexed_is_named(study):
    [one, *_] = study.records("trial")
    path = one.path / "record.json"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedRecord, match=rf"{path} is damaged: it cannot be read"):
        study.entries("trial")


def test_a_symbolic_link_among_records_is_refused(study, tmp_path):
    (study.path / "trials" / "link").symlink_to(tmp_path)
    with pytest.raises(DamagedRecord, match="link is damaged: it is a symbolic link"):
        study.entries("trial")


@pytest.mark.parametrize("refused", ["access", "mkstemp", "rename"])
def test_where_no_index_can_be_saved_all_is_listed_without(study, refused, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    {
        "access": lambda: monkeypatch.setattr(index.os, "access", lambda *_: False),
        "mkstemp": lambda: monkeypatch.setattr(index.tempfile, "mkstemp", full),
        "rename": lambda: monkeypatch.setattr(index.Path, "rename", full),
    }[refused]()
    assert listed(study) == read_one_by_one(study)
    assert list((study.path / ".index").glob("*")) == []


def test_records_of_an_index_that_is_replaced_meanwhile_can_still_be_opened(study):
    listed(study)
    entries = study.entries("trial")
    for number in range(100, 150):
        records.write(study, number)
    listed(study)
    assert [entry.open().header["spec"]["lr"] for entry in entries] == [e.open().spec["lr"] for e in entries]
    assert len(entries) == 24


def test_it_can_be_listed_while_others_write_and_list(study):
    script = f"""
import sys
sys.path.insert(0, {str(Path(records.__file__).parent)!r})
import records
from pathlib import Path
from petl_study.store import Study, index
index.FEW = 0
study = Study(Path({str(study.path)!r}))
for number in range(1000, 1030):
    records.write(study, number); study.entries("trial")
"""
    writer = subprocess.Popen([sys.executable, "-c", script])
    seen = [24]
    while writer.poll() is None:
        found = {entry.path for entry in study.entries("trial")}
        assert all(path.exists() for path in found)
        seen.append(len(found))
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(seen) > 3
    assert listed(study) == read_one_by_one(study)
    assert len(listed(study)) == 54


def test_entries_and_records_agree_on_what_went_furthest(study):
    for until in (2, 4):
        records.write(study, 200, spec={"until": until})
    records.write(study, 201, spec={"until": 2})
    records.write(study, 201)
    of_entries = [entry.path for entry in furthest(study.entries("trial"))]
    assert of_entries == [record.path for record in furthest(study.records("trial"))]
    assert len(of_entries) == 24 + 2
    epochs = {e.open().spec["lr"]: e.epochs for e in furthest(study.entries("trial"))}
    assert (epochs[20.0], epochs[20.1]) == (4, 8)
