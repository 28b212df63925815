"""What a task is to the rest of the project: named splits of images, and further test sets under another condition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError, unknown
from petl_study.images import AS_IS, Files, Images, Lazy, View, joined, resized, rows
from petl_study.tasks.corruptions import corrupt, is_corruption, require_one

GROUPS = ("natural", "specialized", "structured")
SPLITS = ("train", "val", "trainval", "test")
KEPT_BYTES = 256 * 2**20  # of shifted images, at the most, that a task keeps for whoever asks again


@dataclass(frozen=True)
class Split:
    """N labelled examples.

    Attributes
    ----------
    images : uint8 (N, H, W, 3), as an array or made when indexed; or image files, of any size, until `seen`
    labels : int64 (N,)
    ids : str (N,)
        Names that stay with an example through every record, shifted copies included.
    only : int64 (K,), optional
        The task's classes that are asked about, where they are not all: logits are of these, and labels count them.
    skipped : dict
        Examples that were left out as their files could not be read: why, by id.
    """

    images: Images | Files
    labels: NDArray[np.int64]
    ids: NDArray[np.str_]
    only: NDArray[np.int64] | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.ids):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels and {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Images:
        """The images, of a split that was `seen` or needs not be."""
        if isinstance(self.images, Files):
            raise TypeError("these are files of images of any size: ask for the split through a view")
        return self.images

    def take(self, index: NDArray[np.int64] | slice) -> Split:
        """The examples at `index`, in its order."""
        kept = np.arange(len(self))[index]
        match self.images:
            case Files():
                images: Images | Files = self.images.take(kept)
            case Lazy():
                images = rows(self.images, kept)
            case _:
                images = self.images[index]
        return Split(images, self.labels[index], self.ids[index], self.only, self.skipped)

    def seen(self, view: View) -> Split:
        """The same examples with images of one size, without those whose files cannot be read (see `places`)."""
        if not isinstance(self.images, Files):
            return Split(resized(self.images, view), self.labels, self.ids, self.only, self.skipped)
        images, good, bad = self.images.seen(view)
        skipped = {str(self.ids[i]): why for i, why in bad.items()}
        return Split(rows(images, good), self.labels[good], self.ids[good], self.only, skipped)


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a task without making its images.

    `shift_sets` are names such as ``"blur:2"``; `sizes` the examples of train, val and test, where that is known.
    """

    name: str
    group: str
    classes: tuple[str, ...]
    summary: str
    shift_sets: tuple[str, ...] = ()
    sizes: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise unknown("group", self.group, GROUPS, where=f"task {self.name!r}")


@dataclass(frozen=True)
class Task:
    """A classification task: examples to train on, others to choose hyperparameters by, others to test on.

    `shifts` are further test sets by name, such as ``"blur:2"`` or ``"sketch"``: either with examples of their own, or
    a function that makes one from the test split, is called when first asked for, and must return the test split's
    examples in the test split's order. Corrupted test sets, ``"corrupt:<name>:<severity>"``, every task has without
    naming them: see `petl_study.tasks.corruptions`.
    """

    name: str
    group: str
    classes: tuple[str, ...]
    summary: str
    train: Split
    val: Split
    test: Split
    shifts: Mapping[str, Split | Callable[[Split], Split]] = field(default_factory=dict)
    _seen: dict[tuple[str, View], Split] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise unknown("group", self.group, GROUPS, where=f"task {self.name!r}")
        for name, part in self._parts.items():
            known = len(self.classes) if part.only is None else len(part.only)
            if len(part) and not 0 <= part.labels.min() <= part.labels.max() < known:
                raise InputError(
                    f"task {self.name!r}, {name}: labels {part.labels.min()} to {part.labels.max()}, but {known}"
                    f" classes: labels must run from 0 to {known - 1}."
                )
        ids, counts = np.unique(np.concatenate([self.train.ids, self.val.ids, self.test.ids]), return_counts=True)
        if (counts > 1).any():
            raise InputError(
                f"task {self.name!r} uses {(counts > 1).sum()} ids more than once, such as {str(ids[counts > 1][0])!r}:"
                " every example of train, val and test needs an id of its own."
            )

    @property
    def _parts(self) -> dict[str, Split]:
        """Whatever has examples of its own."""
        further = {name: made for name, made in self.shifts.items() if isinstance(made, Split)}
        return {"train": self.train, "val": self.val, "test": self.test, **further}

    @property
    def trainval(self) -> Split:
        """All that may be trained on once the hyperparameters are chosen."""
        return self.split("trainval")

    def split(self, name: str, view: View = AS_IS) -> Split:
        """One of ``train``, ``val``, ``trainval``, ``test``, a shift set or a corrupted test set, by name.

        Parameters
        ----------
        view : View
            What the images go through. Shifts are made of the images as they are stored; corruptions, whose strength is
            one of pixels, of those that the model sees.

        Raises
        ------
        InputError
            The task has no such split (the message lists those it has), or an image that cannot be read.
        """
        if (name, view) not in self._seen:
            split = self._look(name, view)
            if name not in SPLITS:
                if not self._has_room_for(split):
                    return split
                split = replace(split, images=split.pixels[:])  # made once, whole
            self._seen[name, view] = split
        return self._seen[name, view]

    def _look(self, name: str, view: View) -> Split:
        if name == "trainval":
            parts = [self.split("train", view), self.split("val", view)]
            labels, ids = (np.concatenate([getattr(part, of) for part in parts]) for of in ("labels", "ids"))
            skipped = {**parts[0].skipped, **parts[1].skipped}
            return Split(joined([part.pixels for part in parts]), labels, ids, skipped=skipped)
        if name in self._parts:
            return self._parts[name].seen(view)
        if name in self.shifts:
            shift = self.shifts[name]
            assert not isinstance(shift, Split)
            return shift(self.test).seen(view)
        if is_corruption(name):
            require_one(name)
            test = self.split("test", view)
            _, height, width, channels = test.pixels.shape
            shape = (len(test), height, width, channels)
            images = Lazy(shape, lambda index: corrupt(name, test.pixels[index], test.ids[index]))
            return Split(images, test.labels, test.ids, skipped=test.skipped)
        raise InputError(
            f"task {self.name!r} has no split {name!r}; it has {', '.join(SPLITS)}"
            f" and {'the shift sets ' + ', '.join(self.shifts) if self.shifts else 'no shift sets'},"
            " beside corrupted test sets such as corrupt:fog:3."
        )

    def _has_room_for(self, split: Split) -> bool:
        """Whether a shifted set may stay in memory: 75 corruptions of large images would fill a machine."""
        held = sum(kept.pixels.nbytes for (name, _), kept in self._seen.items() if name not in SPLITS)
        return split.pixels.nbytes + held <= KEPT_BYTES

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every image, label and id: equal fingerprints mean equal data.

        Of images in files it is over the files' bytes: the same pictures stored anew are other data.
        """
        digest = hashlib.sha256()
        for split in self._parts.values():
            images = split.images
            content = np.array(images.contents()) if isinstance(images, Files) else np.ascontiguousarray(images[:])
            for array in (content, split.labels, split.ids):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()
