"""Everything that lies in a study, read and compared with what was written: the ground of `petl-study fsck`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petl_study.errors import DamagedRecord
from petl_study.store.files import TEMPORARY
from petl_study.store.index import DIRECTORY
from petl_study.store.record import KINDS, Kind, Record, intact, read
from petl_study.store.study import Study

QUARANTINE = "quarantine"
_DEPTH = 3  # task, method, key


@dataclass(frozen=True)
class Finding:
    """Something in a study that is not as it was written, or that nothing here has written."""

    path: Path
    reason: str
    movable: bool = True  # whether the study is whole without it


def examine(study: Study) -> Iterator[Finding | Record]:
    """Every intact record of `study`, all of its files read, and everything else that lies where records do."""
    try:
        _ = study.spec
    except DamagedRecord as error:
        yield Finding(study.path / "study.json", error.reason, movable=False)
    for kind in KINDS:
        yield from _below(study, kind, study.path / f"{kind}s", _DEPTH)
    for place in (study.path, study.path / DIRECTORY):
        for left in sorted(place.glob(f"{TEMPORARY}*")):
            yield Finding(left, _LEFT)


_LEFT = "a writer was interrupted here (or is at work: then look again when it has ended)"


def _below(study: Study, kind: Kind, directory: Path, levels: int) -> Iterator[Finding | Record]:
    """What lies in `directory`, `levels` above the files of records."""
    for path in _inside(directory):
        if path.is_symlink():
            yield Finding(path, "it is a symbolic link, and a study's files are its own")
        elif path.name.startswith(TEMPORARY):
            yield Finding(path, _LEFT)
        elif path.name.startswith(".") or not path.is_dir():
            yield Finding(path, "no record is in it, and only records belong here")
        elif levels > 1:
            yield from _below(study, kind, path, levels - 1)
        else:
            yield from _record(study, kind, path)


def _record(study: Study, kind: Kind, path: Path) -> Iterator[Finding | Record]:
    if links := [each.name for each in _inside(path) if each.is_symlink()]:
        yield Finding(path, f"{', '.join(links)}: a symbolic link, and a study's files are its own")
        return
    try:
        record = read(path)
        reason = _wrong(study, kind, record)
    except DamagedRecord as error:
        reason = error.reason
    if reason:
        yield Finding(path, reason)
        return
    yield record
    for stray in _inside(path):
        if stray.name != "record.json" and stray.name not in record.header["files"]:
            yield Finding(stray, "the record beside it does not name it")


def _wrong(study: Study, kind: Kind, record: Record) -> str | None:
    """What is wrong with where an intact record lies, if anything is; raises as `intact` where it is not."""
    intact(record)
    try:
        if record.header["kind"] != kind:
            return f"it is a {record.header['kind']}, and lies among {kind}s"
        belongs = study.directory(kind, record.spec)
    except (KeyError, TypeError, AttributeError) as error:
        return f"its header is intact but not as this version writes it ({type(error).__name__}: {error})"
    if belongs != record.path:
        return f"it is misplaced: what it says of itself belongs into {belongs.relative_to(study.path)}"
    return None


def _inside(directory: Path) -> list[Path]:
    """In order; of no directory, nothing."""
    try:
        return [directory / name for name in sorted(os.listdir(directory))]  # noqa: PTH208 (a hundred thousand of them)
    except FileNotFoundError:
        return []
