from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from petl_study import store
from petl_study.errors import DamagedRecord, InputError
from petl_study.store import Record, Study

SPEC = {"task": "digits", "method": "peft:dora", "lr": 1e-3}
LOGITS = {"val": np.arange(6, dtype=np.float32).reshape(3, 2), "noise:1": np.ones((2, 2), np.float16)}
EXAMPLES = {
    "val": (np.array(["a", "bé", "c"]), np.array([0, 1, 0])),
    "noise:1": (np.array(["x", "y"]), np.array([1, 1])),
}
HEADER = {"kind": "trial", "status": "finished", "spec": SPEC, "results": {"val": {}, "noise:1": {}}}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study", {"name": "s"})


@pytest.fixture
def record(study: Study) -> Record:
    where = study.directory("trial", SPEC)
    return store.write(where, HEADER, logits=LOGITS, examples=EXAMPLES, tensors={"w": np.eye(3)})


def test_what_is_written_comes_back(study, record):
    [found] = study.records("trial")
    assert found == record == study.find("trial", SPEC)
    assert found.spec == SPEC
    assert found.sets == ["val", "noise:1"]
    for name in LOGITS:
        assert found.logits(name).dtype == LOGITS[name].dtype
        np.testing.assert_array_equal(found.logits(name), LOGITS[name])
        for stored, given in zip(found.examples(name), EXAMPLES[name], strict=True):
            np.testing.assert_array_equal(stored, given)
    np.testing.assert_array_equal(found.tensors()["w"], np.eye(3))


def test_the_key_is_the_content_of_the_specification():
    assert store.key_of({"a": 1, "b": [1e-3]}) == store.key_of({"b": [0.001], "a": 1})
    assert store.key_of({"a": 1}) != store.key_of({"a": 2})


@pytest.mark.parametrize("name", ["peft:dora", "../../etc", "/etc/passwd", "..", ".hidden", "a b", "é/ü"])
def test_a_name_is_one_harmless_and_unique_component(name):
    safe = store.safe_name(name)
    assert Path("x", safe).resolve().parent == Path("x").resolve()
    assert not safe.startswith(".")
    assert safe != store.safe_name(name + "x")


def test_a_second_writer_of_the_same_result_keeps_the_first(study, record):
    again = store.write(record.path, {**HEADER, "status": "failed"})
    assert not again.failed
    assert [p.name for p in record.path.parent.iterdir()] == [record.key]


def test_records_are_readable_by_others(record):
    assert record.path.stat().st_mode & 0o055 == 0o055


def test_asking_for_an_absent_set_names_those_there_are(record):
    with pytest.raises(InputError, match="no logits for 'test'; this record has val, noise:1"):
        record.logits("test")


@pytest.mark.parametrize("file", ["logits.safetensors", "examples.parquet", "tuned.safetensors", "record.json"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_damage_is_noticed_and_named(record, file, harm):
    path = record.path / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    {
        "truncate": lambda: path.write_bytes(bytes(data[:-5])),
        "flip": lambda: path.write_bytes(bytes(data)),
        "remove": path.unlink,
    }[harm]()
    with pytest.raises(
        DamagedRecord,
        match=rf"{file} is damaged: .*To mend it, copy it back, or move {record.path} away with `petl-study fsck",
    ):
        found = store.read(record.path)
        found.logits("val")
        found.examples("val")
        found.tensors()


def test_a_newer_format_is_refused_by_its_number(record):
    path = record.path / "record.json"
    header = json.loads(path.read_bytes())
    path.write_text(json.dumps(store.seal({**header, "format": 99})))
    with pytest.raises(DamagedRecord, match="record format 99, but this version reads 1; update petl_study"):
        store.read(record.path)


def test_rows_that_do_not_belong_together_are_refused(study):
    where = study.directory("trial", SPEC)
    short = {"val": (np.array(["a"]), np.array([0])), "noise:1": EXAMPLES["noise:1"]}
    with pytest.raises(ValueError, match="'val': 3 rows of logits, 1 ids, 1 labels"):
        store.write(where, HEADER, logits=LOGITS, examples=short)
    assert not where.parent.exists()


def test_a_writer_that_dies_leaves_nothing_in_sight(study):
    """Killed between its first file and the rename: no record, and the next sweep clears what lies about."""
    script = f"""
import os, signal, numpy as np
from pathlib import Path
from petl_study import store
from petl_study.store import writing

writing.seal = lambda header: os.kill(os.getpid(), signal.SIGKILL)
store.write(Path({str(study.directory("trial", SPEC))!r}), {HEADER!r}, tensors={{"w": np.eye(3)}})
"""
    died = subprocess.run([sys.executable, "-c", script], env={**os.environ}, check=False)
    assert died.returncode == -9
    assert len(list(study.path.rglob(".writing-*"))) == 1
    assert list(study.records("trial")) == []
    assert study.find("trial", SPEC) is None
    study.sweep()
    assert list(study.path.rglob(".writing-*")) == []


def test_a_directory_belongs_to_one_study(study):
    assert Study.create(study.path, {"name": "s"}) == study
    with pytest.raises(InputError, match=r"belongs to another study, 's'; it differs in name, seeds"):
        Study.create(study.path, {"name": "other", "seeds": [1]})
    assert study.spec == {"name": "s"}


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and is no study .* Choose a new or empty directory"):
        Study.create(tmp_path, {"name": "s"})
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match=r"is no study: it has no study\.json"):
        Study.open(tmp_path)


def test_a_damaged_study_file_is_named(study):
    (study.path / "study.json").write_text("{")
    with pytest.raises(DamagedRecord, match=r"study\.json is damaged"):
        _ = study.spec


def test_reading_needs_no_torch():
    code = "import sys, petl_study.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
