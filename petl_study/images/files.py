"""Image files on disk: what they hold, and their pixels through a view, decoded once and kept for every process.

    CACHE/<key>/contents.json      SHA-256 of every file
    CACHE/<key>/<view>.npy         the images, uint8 (N, H, W, 3), mapped into memory by whoever reads them
    CACHE/<key>/<view>.json        which of them cannot be read, and why

`key` is a hash of the files' paths, sizes and times of change, so files that are replaced are read again. A file of the
cache is written under another name, synced and renamed: whoever finds it finds all of it. Whoever wants what is being
made waits for it, and where locks do not work makes it a second time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study import places
from petl_study.errors import InputError
from petl_study.images.decode import BadImage, read
from petl_study.images.lazy import Images, Index, Lazy
from petl_study.images.view import View

_CHUNK = 256  # images decoded between two looks at their size
_LISTED = 5  # bad images that an error names


@dataclass(frozen=True)
class Files:
    """N image files under `root`, and where each was named (``train800.txt, line 17``), for errors."""

    root: Path
    paths: tuple[str, ...]
    named: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, index: Index) -> Files:
        """Those at `index`, in its order."""
        named = tuple(self.named[i] for i in index) if self.named else ()
        return Files(self.root, tuple(self.paths[i] for i in index), named)

    @cached_property
    def key(self) -> str:
        """What the cache knows these files by."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
                digest.update(f"\n{path}\t{stat.st_size}\t{stat.st_mtime_ns}".encode())
            except OSError:
                digest.update(f"\n{path}\tmissing".encode())
        return digest.hexdigest()[:32]

    def contents(self) -> list[str]:
        """SHA-256 of every file; of one that cannot be read, of nothing."""
        entry = _Entry(self)
        return entry.stored("contents.json", lambda: _each(self._sha256, range(len(self))))

    def seen(self, view: View) -> tuple[Images, Index, dict[str, str]]:
        """The images through `view`, the indices of those that could be read, and why the others could not, by path.

        Raises
        ------
        InputError
            An image cannot be read and `places` says ``error``, or images that are not resized differ in size.
        """
        images, bad = _seen(self, view, places.here().cache_gb)
        if bad and places.here().on_bad_image == "error":
            lines = [f"  {self.where(i)}: {why}" for i, why in list(bad.items())[:_LISTED]]
            more = [f"  and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
            raise InputError(
                "\n".join([f"{len(bad)} of {len(self)} images cannot be read:", *lines, *more])
                + "\nMend or remove them, or give --on-bad-image skip: they are left out, and every run says so."
            )
        good = np.array([i for i in range(len(self)) if i not in bad], dtype=np.int64)
        return images, good, {self.paths[i]: why for i, why in bad.items()}

    def where(self, i: int) -> str:
        """File `i`, and where it was named."""
        return f"{self.root / self.paths[i]}" + (f" ({self.named[i]})" if self.named else "")

    def _sha256(self, i: int) -> str:
        try:
            with (self.root / self.paths[i]).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return hashlib.sha256().hexdigest()


@lru_cache(maxsize=8)  # of a task's splits: a study asks for them once a trial
def _seen(files: Files, view: View, cache_gb: float) -> tuple[Images, dict[int, str]]:
    entry = _Entry(files)
    if cache_gb == 0:
        images, _, bad = _decode(files, view, lambda shape: np.zeros(shape, np.uint8))
        assert images is not None
        return images, bad
    mapped = entry.path / f"{view}.npy"
    with entry.alone():
        known = entry.read(f"{view}.json")
        if known is None or not (mapped.exists() or known["streamed"]):
            known = entry.make(view, int(cache_gb * 1e9))
        with suppress(OSError):
            os.utime(entry.path)  # used just now: the last to make room for others
        bad = {int(i): why for i, why in known["bad"].items()}
        if known["streamed"]:
            return _streamed(files, view, tuple(known["shape"])), bad
        return np.load(mapped, mmap_mode="r"), bad


Shape = tuple[int, int, int, int]


def _decode(
    files: Files, view: View, space: Callable[[Shape], NDArray[np.uint8] | None]
) -> tuple[NDArray[np.uint8] | None, Shape, dict[int, str]]:
    """Every image, where `space` makes room for them, their shape, and why those that are bad (and black) are."""
    images: NDArray[np.uint8] | None = None
    shape: Shape | None = None
    bad: dict[int, str] = {}
    for i, image in _one_by_one(files, view):
        if isinstance(image, str):
            bad[i] = image
            continue
        if shape is None:
            first, shape = i, (len(files), *image.shape)
            images = space(shape)
        if image.shape != shape[1:]:
            raise InputError(
                f"{files.where(i)} has {image.shape[1]} x {image.shape[0]} pixels, and {files.where(first)}"
                f" {shape[2]} x {shape[1]}: images of different sizes need a protocol that resizes them, such as"
                " `protocol: study`."
            )
        if images is not None:
            images[i] = image
    if shape is None:
        raise InputError(f"none of {len(files)} images can be read; the first is {files.where(0)}: {bad[0]}.")
    return images, shape, bad


def _one_by_one(files: Files, view: View) -> Iterator[tuple[int, NDArray[np.uint8] | str]]:
    for start in range(0, len(files), _CHUNK):
        chunk = range(start, min(start + _CHUNK, len(files)))
        yield from zip(chunk, _each(lambda i: _one(files, view, i), chunk), strict=True)


def _streamed(files: Files, view: View, shape: Shape) -> Lazy:
    """The images, decoded whenever they are asked for."""

    def make(index: Index) -> NDArray[np.uint8]:
        made = np.zeros((len(index), *shape[1:]), np.uint8)
        for row, image in enumerate(_each(lambda i: _one(files, view, i), index.tolist())):
            if not isinstance(image, str):
                made[row] = image
        return made

    return Lazy(shape, make)


def _one(files: Files, view: View, i: int) -> NDArray[np.uint8] | str:
    try:
        return read(files.root / files.paths[i], view)
    except BadImage as error:
        return str(error)


def _each(do: Callable[[int], Any], numbers: Iterable[int]) -> list[Any]:
    """`do` of each number, in order; in threads, as Pillow and hashlib let others run meanwhile."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(do, numbers))


# --------------------------------------------------------------------------------------------------------------- cache


class _Entry:
    """What the cache holds of one list of files."""

    def __init__(self, files: Files) -> None:
        self.files, self.path = files, places.here().cache / files.key

    def read(self, name: str) -> Any:
        """The JSON file `name`; None where it is not there, or not whole."""
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None

    def stored(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON file `name`, made first where it is not there; without a cache made each time."""
        if places.here().cache_gb == 0:
            return make()
        with self.alone():
            if (known := self.read(name)) is None:
                known = make()
                self._write(name, json.dumps(known).encode())
        return known

    def make(self, view: View, most: int) -> dict[str, Any]:
        """Decode all, into ``<view>.npy`` where they fit into `most` bytes: what ``<view>.json`` then says."""
        temporary = self.path / f".writing-{os.getpid()}-{view}.npy"

        def space(shape: Shape) -> NDArray[np.uint8] | None:
            if not _make_room(self.path, int(np.prod(shape)), most):
                return None
            return np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

        try:
            images, shape, bad = _decode(self.files, view, space)
            if isinstance(images, np.memmap):
                images.flush()
                temporary.replace(self.path / f"{view}.npy")
        except OSError as error:
            raise InputError(
                f"{self.path} cannot take the decoded images ({error.strerror}). Give a smaller --cache-gb, or name"
                " another directory with PETL_STUDY_CACHE."
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        told = {"shape": shape, "bad": {str(i): why for i, why in bad.items()}, "streamed": images is None}
        self._write(f"{view}.json", json.dumps(told).encode())
        return told

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold this entry's lock; where the file system has none, go on: what is made twice is the same."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise InputError(
                f"the cache of decoded images, {self.path.parent}, cannot be written to ({error.strerror}). Name"
                " another directory with PETL_STUDY_CACHE, or give --cache-gb 0 to keep them in memory."
            ) from None
        with file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self.path, prefix=".writing-", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self.path / name)


def _make_room(mine: Path, wanted: int, most: int) -> bool:
    """Remove what has not been used for longest until `wanted` more bytes fit into `most`; False where they never can.

    A file that another process has mapped stays readable to it after it is removed.
    """
    if wanted > most:
        return False
    entries = [path for path in mine.parent.iterdir() if path.is_dir()]
    sizes = {path: sum(file.stat().st_size for file in path.glob("*") if file.is_file()) for path in entries}
    for oldest in sorted((path for path in entries if path != mine), key=lambda path: path.stat().st_mtime):
        if sum(sizes.values()) + wanted <= most:
            break
        if not _in_use(oldest):
            shutil.rmtree(oldest, ignore_errors=True)
            del sizes[oldest]
    return sum(sizes.values()) + wanted <= most


def _in_use(entry: Path) -> bool:
    """Whether another process is making something there."""
    try:
        with (entry / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
