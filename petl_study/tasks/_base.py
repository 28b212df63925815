"""What a task is to the rest of the project: named splits of images in memory, and the same test images shifted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError, unknown
from petl_study.tasks.corruptions import corrupt, is_corruption

GROUPS = ("natural", "specialized", "structured")
SPLITS = ("train", "val", "trainval", "test")
KEPT_BYTES = 256 * 2**20  # of shifted images, at the most, that a task keeps for whoever asks again


@dataclass(frozen=True)
class Split:
    """N labelled examples.

    Attributes
    ----------
    images : uint8 (N, H, W, 3)
    labels : int64 (N,)
    ids : str (N,)
        Names that stay with an example through every record, shifted copies included.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.ids):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels and {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64] | slice) -> Split:
        """The examples at `index`, in its order."""
        return Split(self.images[index], self.labels[index], self.ids[index])


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a task without making its images. `shift_sets` are names such as ``"blur:2"``."""

    name: str
    group: str
    classes: tuple[str, ...]
    summary: str
    shift_sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise unknown("group", self.group, GROUPS, where=f"task {self.name!r}")


@dataclass(frozen=True)
class Task:
    """A classification task under VTAB-1K's protocol: 800 train, 200 val, their union, and a test split.

    `shifts` maps a shift set's name, such as ``"blur:2"``, to a function that makes it from the test split; it is
    called when first asked for and must return the test split's examples in the test split's order. Corrupted test
    sets, ``"corrupt:<name>:<severity>"``, every task has without naming them: see `petl_study.tasks.corruptions`.
    """

    name: str
    group: str
    classes: tuple[str, ...]
    summary: str
    train: Split
    val: Split
    test: Split
    shifts: Mapping[str, Callable[[Split], Split]] = field(default_factory=dict)
    _shifted: dict[str, Split] = field(default_factory=dict, init=False, repr=False, compare=False)  # those made so far

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise unknown("group", self.group, GROUPS, where=f"task {self.name!r}")
        parts = (self.train, self.val, self.test)
        labels = np.concatenate([part.labels for part in parts])
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise InputError(
                f"task {self.name!r} has labels {labels.min()} to {labels.max()}, but {len(self.classes)} classes:"
                f" labels must run from 0 to {len(self.classes) - 1}."
            )
        ids, counts = np.unique(np.concatenate([part.ids for part in parts]), return_counts=True)
        if (counts > 1).any():
            raise InputError(
                f"task {self.name!r} uses {(counts > 1).sum()} ids more than once, such as {str(ids[counts > 1][0])!r}:"
                " every example of train, val and test needs an id of its own."
            )

    @cached_property
    def trainval(self) -> Split:
        parts = (self.train, self.val)
        return Split(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("images", "labels", "ids")))

    def split(self, name: str) -> Split:
        """One of ``train``, ``val``, ``trainval``, ``test``, a shift set or a corrupted test set, by name.

        Raises
        ------
        InputError
            The task has no such split; the message lists those it has.
        """
        if name in SPLITS:
            split: Split = getattr(self, name)
            return split
        if name in self._shifted:
            return self._shifted[name]
        if name in self.shifts:
            return self._kept(name, self.shifts[name](self.test))
        if is_corruption(name):
            corrupted = corrupt(name, self.test.images, self.test.ids)
            return self._kept(name, Split(corrupted, self.test.labels, self.test.ids))
        raise InputError(
            f"task {self.name!r} has no split {name!r}; it has {', '.join(SPLITS)}"
            f" and {'the shift sets ' + ', '.join(self.shifts) if self.shifts else 'no shift sets'},"
            " beside corrupted test sets such as corrupt:fog:3."
        )

    def _kept(self, name: str, split: Split) -> Split:
        """`split`, remembered under `name` while there is room: 75 corruptions of large images would fill a machine."""
        if split.images.nbytes + sum(kept.images.nbytes for kept in self._shifted.values()) <= KEPT_BYTES:
            self._shifted[name] = split
        return split

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every image, label and id of train, val and test: equal fingerprints mean equal data."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            for array in (split.images, split.labels, split.ids):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
