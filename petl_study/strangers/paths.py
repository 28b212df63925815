"""Paths below a directory that came from other people: it may have links in it to where they had no access."""

from __future__ import annotations

from pathlib import Path

from petl_study.errors import InputError


def require_own(path: Path, below: Path) -> Path:
    """`path`, if no directory between it and `below` is a symbolic link, and neither is it itself.

    What is written through a link lands where its maker chose, and what is removed is removed there.

    Raises
    ------
    InputError
        One is a link; the message names it.
    """
    for part in (path, *path.parents):
        if part == below:
            break
        if part.is_symlink():
            raise InputError(
                f"{part} is a symbolic link: a study's files are its own. Put what it stands for in its place."
            )
    return path
