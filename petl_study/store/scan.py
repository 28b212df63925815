"""Which records there are, by a look at directories and at every record.json's inode, size and times."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petl_study.store.files import damaged
from petl_study.store.text import safe_name

# What tells a file from what it was before, and from its copy: inode, bytes, when modified (as any program may set it)
# and when changed in any way (as the system sets it), in ns. No order of times counts, so clocks may jump.
Stamp = tuple[int, int, int, int]


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
            keys = _directories(root / place)
            with _opened(root / place) as directory:  # from where a hundred thousand files are found thrice as fast
                yield from [(f"{place}/{key}", stamp_of(f"{key}/record.json", directory)) for key in keys]


def stamp_of(path: str | Path, directory: int | None = None) -> Stamp | None:
    """The stamp of the file at `path`, which is relative to `directory` where that is given; None where no file is."""
    try:
        told = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(told.st_mode):
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


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


@contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
