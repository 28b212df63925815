"""Arrays on disk that processes share: made once, mapped by all, those unused for longest removed to make room.

    DIRECTORY/<name>.npy      the array, mapped into memory by whoever reads it
    DIRECTORY/<name>.json     what is known of it
    DIRECTORY/<name>.lock     held by whoever looks for these or makes them; its time is that of the last use
    DIRECTORY/.lock           held while room is made

A file is written under another name and renamed: whoever finds it finds all of it. Who wants what is being made waits
for it. An array that some process has mapped stays. The system releases locks however their holder ends, and what
a killed maker left is removed by the next. Where the file system has no locks, what is made twice is the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError

Shape = tuple[int, int, int, int]

_OURS = re.compile(r"([0-9a-f]{32})\.(npy|json|lock|writing-\w+)")  # a directory may hold what is not ours to remove


@dataclass(frozen=True)
class Entry:
    """One array of the cache, under a name of 32 hexadecimal digits."""

    directory: Path
    name: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold this entry's lock. Everything else that an entry does is done under it.

        Raises
        ------
        InputError
            The directory cannot be written to, or has no more room.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with _locked(self._file("lock")):
                os.utime(self._file("lock"))
                yield
        except OSError as error:
            raise InputError(
                f"the cache of decoded images, {self.directory}, cannot be written to ({error.strerror or error})."
                " Name another directory with PETL_STUDY_CACHE, or give a smaller --cache-gb; with 0 they are kept in"
                " memory."
            ) from None

    def told(self) -> Any:
        """What `tell` was given; None where it is not there, or not whole."""
        try:
            return json.loads(self._file("json").read_bytes())
        except (OSError, ValueError):
            return None

    def tell(self, known: object) -> None:
        """Keep `known`, which JSON can hold."""
        temporary = self._file(f"writing-{uuid.uuid4().hex}")
        try:
            temporary.write_text(json.dumps(known))
            temporary.replace(self._file("json"))
        finally:
            temporary.unlink(missing_ok=True)

    def array(self, shape: Shape) -> NDArray[np.uint8] | None:
        """The array, which stays while it is mapped; None where it is not there, cut short, or of another shape."""
        path = self._file("npy")
        try:
            with path.open("rb") as file:
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                mapped = np.load(path, mmap_mode="r")
                if not isinstance(mapped, np.memmap) or (mapped.shape, mapped.dtype) != (shape, np.uint8):
                    return None
                weakref.finalize(mapped.base, os.close, os.dup(file.fileno()))  # releases the lock with the last view
                return mapped
        except (OSError, ValueError, EOFError):
            return None

    def draft(self, shape: Shape, most: int) -> Draft | None:
        """An array to be written, once there is room for it in `most` bytes; None where there cannot be.

        What has not been used for longest makes room; what others look for, make or have mapped does not.
        """
        wanted = int(np.prod(shape))
        if wanted > most:
            return None
        with _locked(self.directory / ".lock"), ExitStack() as locks:
            sizes, used = self._others()
            excess = sum(sizes.values()) + wanted - most
            leaving = []
            for name in sorted(sizes, key=lambda name: used.get(name, 0)):
                if excess <= 0:
                    break
                if _taken(self.directory / name, locks):
                    leaving.append(name)
                    excess -= sizes[name]
            if excess > 0:
                return None
            for name in leaving:
                for path in sorted(self.directory.glob(f"{name}.*"), key=lambda path: path.suffix == ".lock"):
                    path.unlink(missing_ok=True)  # the lock last: until then who waits for it finds nothing half gone
            return Draft(self._file("npy"), shape)

    def _others(self) -> tuple[dict[str, int], dict[str, float]]:
        """Bytes of every other entry, and when it was last used."""
        sizes: dict[str, int] = {}
        used: dict[str, float] = {}
        for path in self.directory.iterdir():
            if (match := _OURS.fullmatch(path.name)) and match[1] != self.name:
                with suppress(FileNotFoundError):  # renamed meanwhile
                    stat = path.stat()
                    sizes[match[1]] = sizes.get(match[1], 0) + stat.st_size
                    if match[2] == "lock":
                        used[match[1]] = stat.st_mtime
        return sizes, used

    def _file(self, kind: str) -> Path:
        return self.directory / f"{self.name}.{kind}"


class Draft:
    """An array uint8 on its way into the cache, zero where nothing is put. Written, not mapped: a full disk is told."""

    def __init__(self, path: Path, shape: Shape) -> None:
        for left in path.parent.glob(f"{path.stem}.writing-*"):
            _remove_if_left(left)
        self._path, self._temporary = path, path.with_suffix(f".writing-{uuid.uuid4().hex}")
        self._file = self._temporary.open("xb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start, self._row = self._file.tell(), int(np.prod(shape[1:]))
        self._file.truncate(self._start + shape[0] * self._row)  # others see at once what it is going to take

    def put(self, i: int, image: NDArray[np.uint8]) -> None:
        """Image `i`."""
        self._file.seek(self._start + i * self._row)
        self._file.write(image.tobytes())

    def keep(self) -> None:
        """Let the cache have it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._path)

    def drop(self) -> None:
        """Be done with it, kept or not."""
        self._temporary.unlink(missing_ok=True)
        with suppress(OSError):  # what a full disk did not take
            self._file.close()


def _remove_if_left(draft: Path) -> None:
    """Remove what a killed maker left: the caller, alone with the entry, is not making it, and so no one is."""
    with suppress(OSError), draft.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where there are no locks, and no one is alone
        draft.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    while True:
        with path.open("ab") as file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:  # otherwise the entry was removed while this waited for its lock
                yield
                return


def _taken(entry: Path, locks: ExitStack) -> bool:
    """Whether no one looks for, makes or has mapped the entry; from then on no one can, until `locks` are closed."""
    for kind, mode in ((".lock", "ab"), (".npy", "rb+")):
        try:
            file = locks.enter_context(entry.with_name(entry.name + kind).open(mode))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # it is not there, or the file system has no locks
            continue
    return True
