"""``petl-study bench store --runs N --trials M``: what listing takes where there are many records, and opening one.

The records are written without syncing, and share the files of their logits, as nobody would wait for so many; their
headers are of a run's and a trial's length.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import analysis
from petl_study import store
from petl_study.bench.headers import CLASSES, EXAMPLES, METHODS, TASKS, header, plan
from petl_study.store import Kind, Record, Study

OPENED = 20  # records whose logits are opened, each checked against its SHA-256


def measure(runs: int, trials: int, directory: Path | None = None) -> list[dict[str, Any]]:
    """A row an operation: seconds on the clock on the wall, and of `records`."""
    rows: list[dict[str, Any]] = []

    def timed(what: str, records: int, work: Callable[[], object], times: int = 1) -> None:
        started = time.perf_counter()
        for _ in range(times):
            work()
        seconds = (time.perf_counter() - started) / times
        rows.append({"what": what, "records": records, "seconds": seconds, "seconds_each": seconds / records})

    with tempfile.TemporaryDirectory(prefix="petl-study-bench-", dir=directory) as place:
        study = build(Path(place) / "study", runs, trials)
        both = runs + trials
        timed("petl-study status, the first: index made", both, lambda: _status(study.path))
        timed("petl-study status", both, lambda: _status(study.path), times=3)
        timed("load_runs, of many", runs, lambda: analysis.load_runs(study.path), times=3)
        timed("load_trials, of many", trials, lambda: analysis.load_trials(study.path))
        some = [entry.path for entry in study.entries("run")[:: max(1, runs // OPENED)]]
        opening = iter(some * 2)
        timed("one run's header and logits", 1, lambda: store.read(next(opening)).logits("test"), times=len(some))
    return rows


def build(path: Path, runs: int, trials: int) -> Study:
    """A study at `path` of so many records, spread over tasks and methods."""
    cells = TASKS * METHODS
    study = Study.create(path, plan(-(-runs // cells), -(-trials // cells)))
    counts: tuple[tuple[Kind, int], ...] = (("run", runs), ("trial", trials))
    for kind, count in counts:
        first: Record | None = None
        for number in range(count):
            said = header(number, kind)
            where = study.directory(kind, said["spec"])
            first = _write_beside(first, where, said) if first else _write(where, said)
    return study


def _write(where: Path, said: dict[str, Any]) -> Record:
    [name] = said["results"]
    rng = np.random.default_rng(0)
    ids = np.array([f"{name}/{number:04d}" for number in range(EXAMPLES)])
    logits = rng.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    return store.write(where, said, logits={name: logits}, examples={name: (ids, rng.integers(CLASSES, size=EXAMPLES))})


def _write_beside(first: Record, where: Path, said: dict[str, Any]) -> Record:
    """The record of `said` with the files of `first`; returns the one whose files the next shall have."""
    where.mkdir(parents=True)
    written = {name: first.header[name] for name in ("files", "format")}
    sealed = store.seal({**said, **written})
    (where / "record.json").write_text(json.dumps(sealed, indent=1))
    try:
        for name in written["files"]:
            (where / name).hardlink_to(first.path / name)
        return first
    except OSError:  # a file has as many names as it may have, or the disk gives it one only
        for name in written["files"]:
            (where / name).unlink(missing_ok=True)
            shutil.copyfile(first.path / name, where / name)
        return Record(where, sealed)


def _status(path: Path) -> None:
    """The command as it is typed, with Python's start and all imports."""
    command = [sys.executable, "-m", "petl_study", "status", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: something of the plan is missing
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr}")
