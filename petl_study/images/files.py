"""Image files on disk: what they hold, and their pixels through a view, decoded once and kept for every process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray

from petl_study import places
from petl_study.errors import InputError
from petl_study.images.cache import Entry, Shape
from petl_study.images.decode import BadImage, read
from petl_study.images.lazy import Images, Index, Lazy
from petl_study.images.view import AS_IS, View

Bad = dict[int, str]  # why an image cannot be read, by its index

_DECODING = 1  # to be raised by who changes what `read` makes of a file
_AT_ONCE = 4  # files a thread that are under way
_LISTED = 5  # bad images that an error names

T = TypeVar("T")


@dataclass(frozen=True)
class Files:
    """N image files under `root`, and where each was named (``train800.txt, line 17``), for errors."""

    root: Path
    paths: tuple[str, ...]
    named: tuple[str, ...] = field(default=(), compare=False, repr=False)
    _held: dict[View, tuple[Images, Bad]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _first: list[str] = field(default_factory=list, init=False, compare=False, repr=False)  # the key when first asked

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, index: Index) -> Files:
        """Those at `index`, in its order."""
        named = tuple(self.named[i] for i in index) if self.named else ()
        return Files(self.root, tuple(self.paths[i] for i in index), named)

    def where(self, i: int) -> str:
        """File `i`, and where it was named."""
        return f"{self.root / self.paths[i]}" + (f" ({self.named[i]})" if self.named else "")

    def read(self, i: int, view: View) -> NDArray[np.uint8]:
        """Image `i` through `view`; raises BadImage where it cannot be read."""
        return read(self.root / self.paths[i], view)

    def contents(self) -> list[str]:
        """SHA-256 of every file, in hexadecimal; nothing for one that cannot be read."""
        key = self._key()
        if places.here().cache_gb == 0:
            return list(_each(self._sha256, range(len(self))))
        entry = _entry(key, "contents")
        with entry.alone():
            known = entry.told()
            if not isinstance(known, list) or len(known) != len(self):
                known = list(_each(self._sha256, range(len(self))))
                if all(known):  # what cannot be read now may be another time
                    entry.tell(known)
        return known

    def seen(self, view: View) -> tuple[Images, Index, Bad]:
        """The images through `view`, the indices of those that could be read, and why the others could not.

        Raises
        ------
        InputError
            An image cannot be read and `places` says ``error``; images that are not resized differ in size; or files
            were replaced since this process looked at them first.
        """
        images, bad = self._pixels(view)
        if bad and places.here().on_bad_image == "error":
            lines = [f"  {self.where(i)}: {why}" for i, why in list(bad.items())[:_LISTED]]
            more = [f"  and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
            raise InputError(
                "\n".join([f"{len(bad)} of {len(self)} images cannot be read:", *lines, *more])
                + "\nMend or remove them, or give --on-bad-image skip: they are left out, and every run says so."
            )
        return images, np.array([i for i in range(len(self)) if i not in bad], dtype=np.int64), bad

    def unreadable(self) -> Bad:
        """Why images cannot be read, of those that cannot; every file is decoded, and nothing is kept."""
        return {i: why for i, why in enumerate(_each(self._unreadable, range(len(self)))) if why}

    def _pixels(self, view: View) -> tuple[Images, Bad]:
        key, most = self._key(), int(places.here().cache_gb * 1e9)
        if places.here().cache_gb == 0:
            if view not in self._held:
                self._held[view] = _in_memory(self, view)
            return self._held[view]
        entry = _entry(key, f"{view}, decoded {_DECODING}, Pillow {PIL.__version__}")
        with entry.alone():
            return _cached(self, view, entry, most)

    def _key(self) -> str:
        """A hash of the files' paths, sizes and times: another one after a file was replaced.

        The time of change (ctime) tells a file apart that was put in the place of one of its size and time of writing.
        """
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
                digest.update(f"\n{path}\t{stat.st_size}\t{stat.st_mtime_ns}\t{stat.st_ctime_ns}".encode())
            except OSError:
                digest.update(f"\n{path}\tmissing".encode())
        if not self._first:
            self._first.append(digest.hexdigest())
        if self._first[0] != digest.hexdigest():
            raise InputError(
                f"image files under {self.root} changed while this process used them. Start it again: results of two"
                " versions of the data must not pass for one's."
            )
        return digest.hexdigest()

    def _sha256(self, i: int) -> str:
        try:
            with (self.root / self.paths[i]).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def _unreadable(self, i: int) -> str:
        image = _one(self, AS_IS, i)
        return image if isinstance(image, str) else ""


# ------------------------------------------------------------------------------------------------- three ways to keep


def _in_memory(files: Files, view: View) -> tuple[Images, Bad]:
    shape = _shape(files, view)
    images = np.zeros(shape, np.uint8)
    return images, _decode(files, view, shape, images.__setitem__)


def _cached(files: Files, view: View, entry: Entry, most: int) -> tuple[Images, Bad]:
    """From the cache's entry, which this process is alone with, if they are in it or there is room; else streamed."""
    known = _known(files, view, entry)
    if known and (array := entry.array(known[0])) is not None:
        return array, known[1]
    shape = known[0] if known else _shape(files, view)
    if (draft := entry.draft(shape, most)) is None:
        bad = known[1] if known else _decode(files, view, shape, lambda i, image: None)
    else:
        try:
            bad = _decode(files, view, shape, draft.put)
            draft.keep()
        finally:
            draft.drop()
    entry.tell({"shape": shape, "bad": bad})
    array = entry.array(shape)
    return _streamed(files, view, shape) if array is None else array, bad


def _known(files: Files, view: View, entry: Entry) -> tuple[Shape, Bad] | None:
    """What the cache tells of these images: None where it does not, or no longer rightly."""
    match entry.told():
        case {"shape": [n, int(height), int(width), 3], "bad": dict(told)} if n == len(files):
            bad = {int(i): str(why) for i, why in told.items()}
            # What could not be read once (no permission, too many open files) may be readable now.
            return None if any(not isinstance(_one(files, view, i), str) for i in bad) else ((n, height, width, 3), bad)
    return None


def _streamed(files: Files, view: View, shape: Shape) -> Lazy:
    """The images, decoded whenever they are asked for."""

    def make(index: Index) -> NDArray[np.uint8]:
        made = np.empty((len(index), *shape[1:]), np.uint8)
        for row, image in enumerate(_each(lambda i: _one(files, view, i), index.tolist())):
            if isinstance(image, str):
                raise InputError(f"{files.where(index[row])} could be read before and now cannot: {image}.")
            made[row] = image
        return made

    return Lazy(shape, make)


# ------------------------------------------------------------------------------------------------------------- decoding


def _shape(files: Files, view: View) -> Shape:
    for i in range(len(files)):
        if not isinstance(image := _one(files, view, i), str):
            height, width, _ = image.shape
            return len(files), height, width, 3
    raise InputError(f"none of {len(files)} images can be read; the first is {files.where(0)}: {_one(files, view, 0)}.")


def _decode(files: Files, view: View, shape: Shape, put: Callable[[int, NDArray[np.uint8]], None]) -> Bad:
    """Have every image `put`, in order, and tell why those that are bad were not."""
    bad: Bad = {}
    for i, image in enumerate(_each(lambda i: _one(files, view, i), range(len(files)))):
        if isinstance(image, str):
            bad[i] = image
        elif image.shape != shape[1:]:
            raise InputError(
                f"{files.where(i)} has {image.shape[1]} x {image.shape[0]} pixels, and those before it {shape[2]} x"
                f" {shape[1]}: images of different sizes need a protocol that resizes them, such as `protocol: study`."
            )
        else:
            put(i, image)
    return bad


def _one(files: Files, view: View, i: int) -> NDArray[np.uint8] | str:
    try:
        return files.read(i, view)
    except BadImage as error:
        return str(error)


def _each(do: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """`do` of each number, in order, a few at a time; in threads, as Pillow and hashlib let others run meanwhile."""
    threads = os.cpu_count() or 1
    window = threads * _AT_ONCE
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(numbers), window):
            yield from pool.map(do, numbers[start : start + window])


def _entry(key: str, what: str) -> Entry:
    return Entry(places.here().cache / "images", hashlib.sha256(f"{key} {what}".encode()).hexdigest()[:32])
