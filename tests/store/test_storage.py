"""Disks that are full or may not be written to, and clocks that jump."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import records
import studies
from petl_study import store
from petl_study.errors import InputError
from petl_study.store import Study, examine

FULL = "cannot be stored: .*[Nn]o space left on device.* once there is room, .* the same command goes on from there"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def whole(study: Study) -> set[str]:
    """The keys of its records, once it is seen that nothing else is there."""
    found = list(examine(study))
    assert all(isinstance(each, store.Record) for each in found)
    return {each.key for each in found}


def test_a_disk_that_fills_loses_only_what_was_being_stored(small_disk):
    study = Study.create(small_disk / "study", {"name": "s"})
    stored = set()
    with pytest.raises(InputError, match=FULL):
        for number in range(1000):
            stored.add(records.write(study, number).key)
    assert len(stored) > 5
    assert whole(study) == stored
    with pytest.raises(InputError, match=FULL):
        store.write_file(study.checkpoint(records.spec(0)), bytes(400_000))
    assert not [path for path in (study.path / "checkpoints").rglob("*") if path.is_file()]
    subprocess.run(["mount", "-o", "remount,size=800k", str(small_disk)], check=True)
    again = records.write(study, number)
    assert whole(study) == {*stored, again.key}


@pytest.mark.parametrize("limit", [100, 1000, 2500])
def test_no_file_of_a_record_that_cannot_be_written_whole_is_left(tmp_path, limit):
    """Files may have `limit` bytes: the logits have more, or the examples, or the header."""
    script = f"""
import resource, sys
from pathlib import Path
import records
from petl_study.errors import InputError
from petl_study.store import Study
study = Study.create(Path({str(tmp_path / "study")!r}), {{"name": "s"}})
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, before[1]))
try:
    records.write(study, 0, padding="x" * 3000)
except InputError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be stored: " in str(error) and "ile too large" in str(error), error
    records.write(study, 1)
    sys.exit(7)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert whole(Study(tmp_path / "study")) == {store.key_of(records.spec(1))}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit


def test_a_study_that_may_only_be_read_is_read(tmp_path):
    """By someone who owns nothing here; for root, whom no mode keeps out, that is the user `nobody`."""
    study = studies.write_study(tmp_path / "study", tasks=("count",), methods=("ssf",), examples=20)
    for path in [study, *study.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = f"""
import os, sys
import analysis
from petl_study import fsck
from petl_study.errors import InputError
from petl_study.store import Study, alone, index
from pathlib import Path
os.chdir({str(study)!r})
if os.getuid() == 0:
    os.setuid(65534)
index.FEW = 0
study = Study(Path("."))
assert len(analysis.load_runs(study.path)) == 2 and len(analysis.load_trials(study.path)) == 3
assert not fsck.check(study).findings and not Path(".index").exists()
for refused in (lambda: alone(study.path).__enter__(), lambda: Study.create(study.path / "new", {{}})):
    try:
        refused()
    except InputError as error:
        assert "ermission denied" in str(error), error
    else:
        sys.exit(1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seed", range(2))
def test_no_order_of_times_counts(tmp_path, monkeypatch, capsys, seed):
    """A clock that was set back, or is another on each machine: what is stored says the same."""
    monkeypatch.setattr(store.index, "FEW", 0)
    study = Study.create(tmp_path / "study", {"name": "s"})
    for number, until in ((1, 2), (2, 4), (2, 2), (3, 4)):
        records.write(study, number, spec={"until": until})
    records.write(study, 3)
    before = [(entry.path, entry.open().header) for entry in store.furthest(study.entries("trial"))]
    chance = random.Random(seed)
    for path in sorted(study.path.rglob("*")):
        os.utime(path, ns=(chance.randrange(2**62), chance.randrange(2**62)))
        monkeypatch.setattr("time.time", lambda: chance.randrange(2**31))
    assert [(entry.path, entry.open().header) for entry in store.furthest(study.entries("trial"))] == before
    assert len(whole(study)) == 5
    assert study.furthest(records.spec(2, until=1)).epochs == 4
