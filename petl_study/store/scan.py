"""Which records there are, by a look at directories and at every record.json's inode, size and times."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from petl_study.store.files import damaged
from petl_study.store.text import safe_name


class Stamp(NamedTuple):
    """What tells a file from what it was before, and from its copy. No order of times counts, so clocks may jump."""

    inode: int
    bytes: int
    modified: int  # ns, as any program may set it
    changed: int  # ns, as the system sets it whenever content, name, mode or owner change


def scan(root: Path, task: str | None = None) -> Iterator[tuple[str, Stamp | None]]:
    """Every place ``task/method/key`` below `root`, in order, with its record.json's stamp; None where it has none.

    Raises
    ------
    DamagedRecord
        A symbolic link lies below `root` (which may be one, to another disk): a study's files are its own.
    """
    for above in [safe_name(task)] if task else _directories(root):
        for method in _directories(root / above):
            place = f"{above}/{method}"
            for key in _directories(root / place):
                yield f"{place}/{key}", stamp_of(f"{root}/{place}/{key}/record.json")


def stamp_of(path: str | Path) -> Stamp | None:
    try:
        told = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(told.st_mode):
        return None
    return Stamp(told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


def _directories(above: Path) -> list[str]:
    """Their names in order, without those that begin with a dot, as what is only being written does."""
    try:
        with os.scandir(above) as inside:
            found = [each for each in inside if not each.name.startswith(".")]
            links = [each.name for each in found if each.is_symlink()]
            names = sorted(each.name for each in found if each.is_dir(follow_symlinks=False))
    except FileNotFoundError:  # of a task that has none, or superseded meanwhile
        return []
    if links:
        raise damaged(above / min(links), "it is a symbolic link", mend="put what it stands for in its place")
    return names
