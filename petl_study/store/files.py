"""Bytes on disk: files written whole or not at all, synced, and told from damaged ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from petl_study.errors import DamagedRecord

TEMPORARY = ".writing-"  # no key starts with a dot, so readers pass these by


def write_file(path: Path, content: bytes) -> None:
    """Write one file, whole or not at all; what was there before is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    temporary.write_bytes(content)
    sync(temporary)
    temporary.rename(path)
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
    mend = mend or f"copy it back, or remove {path.parent} and run the study again: only this result is made anew"
    return DamagedRecord(f"{path} is damaged: {reason}. To mend it, {mend}.")
