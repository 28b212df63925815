"""Writers that are killed with SIGKILL, each at its own point of what it does, and what of theirs is seen afterwards.

As a script: `crashes.py WORK KILLS SEED DIRECTORY` prints a JSON list with what every kill left behind. Every victim is
a fork of this one process, so that a hundred take seconds; it is killed at a call or return that is drawn by chance
from all those, of Python's functions and of those in C, that the work makes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import records
from petl_study import fsck, merge, store
from petl_study.store import Finding, Record, Study, alone, examine, index

BEFORE, NEW = range(4), 7


def begun(path: Path) -> Study:
    """A study of four trials, one of them stopped, with its checkpoint."""
    study = Study.create(path, {"name": "s", "tasks": [], "methods": [], "seeds": []})
    for number in BEFORE:
        records.write(study, number)
    stopped = records.write(study, NEW, spec={"until": 2})
    store.write_file(study.checkpoint(stopped.spec), b"first")
    return study


def record(study: Study) -> None:
    records.write(study, NEW)


def checkpoint(study: Study) -> None:
    store.write_file(study.checkpoint(records.spec(NEW)), b"second")


def supersede(study: Study) -> None:
    with alone(study.path):
        study.sweep()
        study.supersede(records.write(study, NEW))
        study.forget(records.spec(NEW))


def listing(study: Study) -> None:
    index.FEW = 0
    study.entries("trial")


def repair(study: Study) -> None:
    for number in BEFORE[:2]:
        where = study.directory("trial", records.spec(number))
        if where.exists():
            (where / "logits.safetensors").write_bytes(b"?")
    with alone(study.path):
        fsck.repair(study, [found for found in examine(study) if isinstance(found, Finding)])


def merging(study: Study) -> None:
    other = study.path.with_name("other")
    records.write(Study.create(other, study.spec), NEW)
    if not study.path.with_name("merged").exists():
        merge.merge([study.path, other], study.path.with_name("merged"))


WORKS: dict[str, Callable[[Study], None]] = {
    work.__name__: work for work in (record, checkpoint, supersede, listing, repair, merging)
}


def events(work: Callable[[Study], None], study: Study, kill_at: int | None = None) -> int:
    """Calls and returns that `work` makes; at number `kill_at` this process ends."""
    count = 0

    def count_one(*_: object) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count_one)
    try:
        work(study)
    finally:
        sys.setprofile(None)
    return count


def seen(path: Path) -> dict[str, Any]:
    """What a reader finds in a study."""
    found = list(examine(Study(path)))
    wrong = [each.reason for each in found if isinstance(each, Finding)]
    return {
        "keys": sorted(each.key for each in found if isinstance(each, Record)),
        "left": sum("interrupted" in reason for reason in wrong),
        "wrong": [reason for reason in wrong if "interrupted" not in reason],
        "checkpoints": [each.read_text() for each in sorted(path.glob("checkpoints/*/*/[!.]*"))],
        "quarantined": sorted(each.name for each in path.glob("quarantine/trials/*/*/*")),
        "merged": sorted(each.name for each in path.parent.glob("merged/trials/*/*/*")) or None,
    }


def main(name: str, kills: int, seed: int, directory: Path) -> None:
    work, chance, told = WORKS[name], random.Random(seed), []
    os.sync = lambda: None  # whoever is killed leaves the system's buffers as they are
    for place in ("first", "uninterrupted"):  # the first of all imports and makes ready more than others
        in_all = events(work, begun(directory / place / "study"))
    for number in range(kills):
        study, kill_at = begun(directory / str(number) / "study"), chance.randrange(1, in_all)
        if (victim := os.fork()) == 0:
            events(work, study, kill_at)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(victim, 0)[1])
        after = {**seen(study.path), "beside": len(list(study.path.parent.glob(".writing-*")))}
        with alone(study.path):
            study.sweep()
        work(study)
        told.append({"killed": killed, "after": after, "again": seen(study.path)})
    told.append({"again": seen(directory / "uninterrupted" / "study")})
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
