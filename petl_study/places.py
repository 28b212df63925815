"""What differs from machine to machine: where data and decoded images lie, and how much is looked at together.

Set once in every process, by the command line or by the environment. None of it goes into a record's name: a result
depends on what files hold, not on where they are. What tells in a result, that images were skipped, and in its bits,
how many images went through a model at once, is stored with the run.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from petl_study.errors import InputError

OnBadImage = Literal["error", "skip"]


class Missing(InputError):
    """A directory of data that is not there."""


def _data() -> Path:
    return Path(os.environ.get("PETL_STUDY_DATA", "."))


def _weights() -> Path:
    return Path(os.environ.get("PETL_STUDY_WEIGHTS", "."))


def _cache() -> Path:
    if given := os.environ.get("PETL_STUDY_CACHE"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "petl_study"
    try:
        home = Path.home()
    except RuntimeError:  # a user without an entry, as in many containers; most studies need no cache
        home = Path(tempfile.gettempdir())
    return home / ".cache" / "petl_study"


@dataclass(frozen=True)
class Places:
    """
    Attributes
    ----------
    data : Path
        What names of data sets are relative to (``--data``, or PETL_STUDY_DATA).
    folders : (name, path) pairs
        Folders elsewhere, and the name that records know them by.
    weights : Path
        What names of weight files are relative to (``--weights``, or PETL_STUDY_WEIGHTS).
    files : (name, path) pairs
        Weight files elsewhere, and directories of them, and the name that records know them by.
    cache : Path
        Where decoded images are kept for the next process (PETL_STUDY_CACHE, or the user's cache directory).
    cache_gb : float
        What they may take there, in units of 1e9 bytes (``--cache-gb``). A split that does not fit is decoded anew in
        each epoch. 0: nothing is written, and every process keeps in memory what it decodes.
    on_bad_image : str
        ``error``: an image that cannot be read stops the study. ``skip``: it is left out, and the run says so.
    micro_batch : int, optional
        Images of a batch that a model is trained on at once (``--micro-batch``); None: see `training.micro_batch`.
    compile : bool
        Blocks are compiled by torch (``--compile``): see `learning.compile_blocks`.
    lean : bool
        What is freed goes back to the system at once (``--lean``): see `memory.keep_freed`.
    """

    data: Path = field(default_factory=_data)
    folders: tuple[tuple[str, Path], ...] = ()
    weights: Path = field(default_factory=_weights)
    files: tuple[tuple[str, Path], ...] = ()
    cache: Path = field(default_factory=_cache)
    cache_gb: float = 20.0
    on_bad_image: OnBadImage = "error"
    micro_batch: int | None = None
    compile: bool = False
    lean: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.cache_gb < float("inf"):
            raise InputError(f"--cache-gb must be a number of at least 0, got {self.cache_gb}.")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise InputError(f"--micro-batch must be a whole number of at least 1, got {self.micro_batch}.")


_here: list[Places] = []


def known_here(data: str) -> str:
    """`data`, as records name it; a folder named by its path (``folder:/path/to/pets``) is noted as ``folder:pets``.

    Raises
    ------
    InputError
        The path has no last part to name it by, or another folder has that name already.
    """
    kind, _, given = data.partition(":")
    if kind != "folder":
        return data
    path = Path(os.path.normpath(os.path.expanduser(given)))  # noqa: PTH111 (pathlib fails on an unknown ~user)
    if not path.name:
        raise InputError(f"{data!r} names no folder: give its path below --data, or an absolute one.")
    if not path.is_absolute():
        return f"folder:{path}"
    places = here()
    noted, below = dict(places.folders).get(path.name, path), places.data / path.name
    for other in (noted, below) if below.is_dir() else (noted,):
        if os.path.realpath(other) != os.path.realpath(path):
            raise InputError(
                f"{path} and {other} have the same name, which is what records call them. Rename one, or give --data a"
                " directory above both and write folder:PATH relative to it."
            )
    use(replace(places, folders=tuple({**dict(places.folders), path.name: path}.items())))
    return f"folder:{path.name}"


def folder(name: str) -> Path:
    """The directory called `name`: one noted by `known_here`, or one under `data`.

    Raises
    ------
    Missing
        It is not there.
    InputError
        `name` leads out of `data`.
    """
    places = here()
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"folder {name!r} leads out of the data directory {places.data}; give its absolute path.")
    path = dict(places.folders).get(name, places.data / name)
    if not path.is_dir():
        raise Missing(
            f"there is no directory {path}. Say where the data lie with --data DIR (or PETL_STUDY_DATA), to which names"
            " are relative, or give an absolute path."
        )
    return path


def use(places: Places) -> None:
    """Look for data and images there, in this process, from now on."""
    _here[:] = [places]


def here() -> Places:
    """What `use` was given last; before, what the environment says."""
    return _here[0] if _here else Places()
