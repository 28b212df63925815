"""Where on this machine data and decoded images lie, and what happens to images that cannot be read.

Set once in every process, by the command line or by the environment. None of it goes into a record: a result depends
on what the files hold, not on where they are. (That images were skipped does; it is stored with the run.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from petl_study.errors import InputError

OnBadImage = Literal["error", "skip"]


def _data() -> Path:
    return Path(os.environ.get("PETL_STUDY_DATA", "."))


def _cache() -> Path:
    if given := os.environ.get("PETL_STUDY_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "petl_study"


@dataclass(frozen=True)
class Places:
    """
    Attributes
    ----------
    data : Path
        What names of data sets are relative to (``--data``, or PETL_STUDY_DATA).
    folders : (name, path) pairs
        Folders elsewhere, and the name that records know them by.
    cache : Path
        Where decoded images are kept for the next process (PETL_STUDY_CACHE, or the user's cache directory).
    cache_gb : float
        What they may take there, in units of 1e9 bytes (``--cache-gb``). A split that does not fit is decoded anew in
        each epoch. 0: nothing is written, and every process keeps in memory what it decodes.
    on_bad_image : str
        ``error``: an image that cannot be read stops the study. ``skip``: it is left out, and the run says so.
    """

    data: Path = field(default_factory=_data)
    folders: tuple[tuple[str, Path], ...] = ()
    cache: Path = field(default_factory=_cache)
    cache_gb: float = 20.0
    on_bad_image: OnBadImage = "error"

    def __post_init__(self) -> None:
        if not 0 <= self.cache_gb < float("inf"):
            raise InputError(f"--cache-gb must be a number of at least 0, got {self.cache_gb}.")


_here: list[Places] = []


def known_here(data: str) -> str:
    """`data`; a folder named by its path (``folder:/path/to/pets``) is noted, and named ``folder:pets`` instead.

    Raises
    ------
    InputError
        Another folder has that name already.
    """
    kind, _, path = data.partition(":")
    if kind != "folder" or not Path(path).expanduser().is_absolute():
        return data
    folder, places = Path(path).expanduser(), here()
    other = dict(places.folders).get(folder.name, folder)
    if other != folder:
        raise InputError(
            f"{folder} and {other} have the same name, which is what records call them. Rename one, or give --data a"
            " directory above both and write folder:PATH relative to it."
        )
    use(replace(places, folders=tuple({**dict(places.folders), folder.name: folder}.items())))
    return f"folder:{folder.name}"


def folder(name: str) -> Path:
    """The directory called `name`: one noted by `known_here`, or one under `data`.

    Raises
    ------
    InputError
        It is not there, or `name` leads out of `data`.
    """
    places = here()
    path = dict(places.folders).get(name, places.data / name)
    if ".." in Path(name).parts:
        raise InputError(f"folder {name!r} leads out of the data directory {places.data}; give its absolute path.")
    if not path.is_dir():
        raise InputError(
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
