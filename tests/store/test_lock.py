from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from petl_study.errors import InputError
from petl_study.store import Study, alone, lock

QUICK = {"beat": 0.02, "dead": 0.5, "settle": 0.05}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return Study.create(tmp_path / "study", {"name": "s"}).path


@pytest.fixture
def lockless(monkeypatch):
    """Storage without locks, or with such as only one machine sees."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", fails)


@pytest.fixture
def elsewhere(monkeypatch):
    """Drivers that begin from here on are on another machine than those before."""
    own = lock._Note.own

    def begin() -> None:
        monkeypatch.setattr(lock._Note, "own", lambda: replace(own(), machine="another", host="far"))

    return begin


def killed(study: Path) -> None:
    """A driver that is killed while it holds the lock."""
    script = f"""
import os, signal
from pathlib import Path
from petl_study.store import alone
with alone(Path({str(study)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", script], env={**os.environ}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert (study / ".owner").exists()


def test_a_second_driver_is_told_who_the_first_is(study):
    with alone(study), pytest.raises(InputError, match=rf"is being run by another process \(number {os.getpid()} on "):
        alone(study).__enter__()
    with alone(study):
        pass
    assert not (study / ".owner").exists()


def test_after_a_driver_was_killed_the_next_begins_at_once(study, monkeypatch):
    killed(study)
    started = time.monotonic()
    with alone(study) as held:
        held.require()
    assert time.monotonic() - started < lock.DEAD / 10


def test_a_note_without_content_was_left_by_a_driver_that_was_killed_as_it_began(study):
    (study / ".owner").touch()
    with alone(study, beat=0.02, dead=60, settle=0.1) as held:
        held.require()


def test_without_locks_a_killed_driver_of_this_machine_is_known_by_its_number(study, lockless):
    killed(study)
    with alone(study, beat=0.02, dead=60, settle=0.05) as held:
        held.require()


def test_without_locks_the_beat_of_a_driver_elsewhere_refuses_the_second(study, lockless, elsewhere):
    with alone(study, **QUICK) as held:
        elsewhere()
        with pytest.raises(InputError, match="is being run by another process"):
            alone(study, beat=0.02, dead=60, settle=0.05).__enter__()
        held.require()


def test_a_note_that_stands_still_is_taken_over_whatever_the_clocks_say(study, elsewhere, caplog):
    killed(study)
    os.utime(study / ".owner", (2e9, 2e9))  # its clock ran ahead of this one
    elsewhere()
    with alone(study, **QUICK) as held:
        held.require()
        assert json.loads((study / ".owner").read_text())["pid"] == os.getpid()
    assert "waiting up to" in caplog.text


def test_a_note_that_goes_away_leaves_the_study_to_the_next(study, lockless, elsewhere):
    first = alone(study, beat=60, dead=60, settle=0.05)
    first.__enter__()
    elsewhere()
    waiting = subprocess.Popen(
        [sys.executable, "-c", f"import time, os; time.sleep(0.3); os.unlink({str(study / '.owner')!r})"]
    )
    with alone(study, beat=60, dead=60, settle=0.05) as held:
        held.require()
    assert waiting.wait() == 0
    first.__exit__(None, None, None)


def test_who_was_taken_for_dead_is_told_and_leaves_the_other_in_place(study, lockless, elsewhere):
    with alone(study, beat=0.3, dead=60, settle=0.05) as held:
        elsewhere()
        with alone(study, beat=0.02, dead=0.1, settle=0.05) as other:  # sooner than the first's next beat
            time.sleep(0.5)
            with pytest.raises(InputError, match="was taken over by another driver"):
                held.require()
            other.require()


def test_of_drivers_that_begin_at_once_one_drives(study):
    script = f"""
import sys, time
from pathlib import Path
from petl_study.store import alone, lock
if {{lockless}}:
    def fails(*_): raise OSError(37, "No locks available")
    lock.fcntl.flock = fails
with alone(Path({str(study)!r}), beat=0.05, dead=0.5, settle=0.3):
    print("drives"); time.sleep(1.5)
"""
    for lockless in (False, True):
        killed(study)
        code = script.replace("{lockless}", str(lockless))
        drivers = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        said = [driver.communicate()[0] for driver in drivers]
        assert said.count("drives\n") == 1


def test_where_nothing_can_be_written_that_is_said(study):
    (study / ".lock").mkdir()
    with pytest.raises(InputError, match="cannot be written to: Is a directory"):
        alone(study).__enter__()
