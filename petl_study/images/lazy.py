"""Arrays of images that are made when they are indexed: decoded, resized or joined a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from petl_study.images.view import View

Index = NDArray[np.int64]
Make = Callable[[Index], NDArray[np.uint8]]  # (n,) -> (n, H, W, 3)


class Images(Protocol):
    """What N images are to whoever trains on them: a NumPy array does, and so does `Lazy`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Lazy:
    """N images of one size, uint8 (N, H, W, 3), of which `make` gives those at an index."""

    shape: tuple[int, int, int, int]
    make: Make

    @property
    def nbytes(self) -> int:
        """Bytes that they would take if all were made."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Index) -> NDArray[np.uint8]:
        return self.make(np.arange(len(self))[index])


def resized(images: Images, view: View) -> Images:
    """`images` through `view`."""
    size = view.size
    if size is None or (view.resize == "direct" and images.shape[1:3] == (size, size)):
        return images

    def make(index: Index) -> NDArray[np.uint8]:
        made = np.empty((len(index), size, size, 3), np.uint8)
        for row, image in enumerate(images[index]):
            made[row] = np.asarray(view(Image.fromarray(image)))
        return made

    return Lazy((len(images), size, size, 3), make)


def joined(parts: Sequence[Images]) -> Images:
    """The images of all parts, which are of one size, one part after the other."""
    if all(type(part) is np.ndarray for part in parts):  # in memory; what is mapped there may not fit into it
        return np.concatenate([part[:] for part in parts])
    ends = np.cumsum([len(part) for part in parts])

    def make(index: Index) -> NDArray[np.uint8]:
        made = np.empty((len(index), *shape[1:]), np.uint8)
        of_part = np.searchsorted(ends, index, side="right")
        for k in np.unique(of_part):
            rows = of_part == k
            made[rows] = parts[k][index[rows] - (ends[k] - len(parts[k]))]
        return made

    _, height, width, channels = parts[0].shape
    shape = (int(ends[-1]), height, width, channels)
    return Lazy(shape, make)


def rows(images: Images, kept: Index) -> Images:
    """The images at `kept`."""
    if len(kept) == len(images):
        return images
    _, height, width, channels = images.shape
    return Lazy((len(kept), height, width, channels), lambda index: images[kept[index]])
