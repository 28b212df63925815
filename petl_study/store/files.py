"""Bytes on disk: files written whole or not at all, synced, and told from damaged ones."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from petl_study.errors import DamagedRecord, InputError

TEMPORARY = ".writing-"  # no key starts with a dot, so readers pass these by


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Tell people, where the disk is full or may not be written to, that nothing is lost but what was to be stored.

    Raises
    ------
    InputError
        Instead of what the block raised.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be stored: {reason}. Nothing is left of it, and what was stored before is whole: once there"
            " is room, and leave to write, the same command goes on from there."
        ) from error


def write_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write one file, given whole or in parts, whole or not at all; what was there before is replaced.

    Raises
    ------
    InputError
        The disk is full, or may not be written to.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=TEMPORARY, dir=path.parent
        )  # its own, as another may write here, too
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
            Path(name).rename(path)
        finally:
            Path(name).unlink(missing_ok=True)
        sync(path.parent)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(path: Path, reason: str, mend: str = "") -> DamagedRecord:
    mend = mend or _mend(path.parent)
    return DamagedRecord(f"{path} is damaged: {reason}. To mend it, {mend}.", f"{path.name}: {reason}")


def _mend(record: Path) -> str:
    study = next((above for above in record.parents[:4] if (above / "study.json").is_file()), None)
    if study is None:
        return f"copy it back, or remove {record}"
    return (
        f"copy it back, or move {record} away with `petl-study fsck {study} --repair` and run the study again:"
        " only this result is made anew"
    )


def move_into(place: Path, below: Path, path: Path) -> Path:
    """Move what lies at `path` to `place / below`, or beside what lies there already; returns where it is now."""
    target, number = place / below, 0
    target.parent.mkdir(parents=True, exist_ok=True)
    while target.exists() or target.is_symlink():
        number += 1
        target = (place / below).with_name(f"{below.name}.{number}")
    path.rename(target)
    sync(target.parent)
    sync(path.parent)
    return target
