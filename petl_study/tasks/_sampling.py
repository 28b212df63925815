"""A part of a task's training examples: so many of each class (few-shot), or so many in all (many-shot)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError
from petl_study.tasks._base import Split, Task

VAL_SHOTS = 4  # of each class, at most: as CoOp validates (arXiv 2109.01134)
VAL_SHARE = 5  # one example in so many is validated on


def sampled(task: Task, *, shots: int | None, examples: int | None, seed: int) -> Task:
    """`task` with fewer training examples; its test split and shift sets are as they were.

    With `shots`, that many of each class are trained on, drawn from the task's train, and as many, at most 4, are
    validated on, drawn from its val. With `examples`, that many in all of train and val together, classes in
    proportion, a fifth of them to validate on.

    A larger sample of one seed holds the smaller ones: an example's place in the draw depends on its id alone.

    Raises
    ------
    InputError
        There are fewer examples than are asked for: the message says of what, and how many there are.
    """
    if shots is not None:
        train, val = _of_each(task, "train", shots, seed), _of_each(task, "val", min(shots, VAL_SHOTS), seed)
        return replace(task, train=train, val=val)
    if examples is not None:
        for_val = max(1, examples // VAL_SHARE)
        train, val = _in_proportion(task, "train", examples - for_val, seed), _in_proportion(task, "val", for_val, seed)
        return replace(task, train=train, val=val)
    return task


def drawn(split: Split, label: int, *name: str | int) -> NDArray[np.int64]:
    """The examples of one class in the order of the draw called `name`: by a hash of that and of each one's id."""
    of_class = np.flatnonzero(split.labels == label)
    prefix = "".join(f"{part}/" for part in name)
    hashes = [hashlib.sha256(f"{prefix}{split.ids[i]}".encode()).digest() for i in of_class]
    return of_class[sorted(range(len(of_class)), key=hashes.__getitem__)]


def _of_each(task: Task, part: str, n: int, seed: int) -> Split:
    split: Split = getattr(task, part)
    found = [drawn(split, label, "sample", seed) for label in range(len(task.classes))]
    if short := [name for name, of_class in zip(task.classes, found, strict=True) if len(of_class) < n]:
        fewest = min(map(len, found))
        raise InputError(
            f"task {task.name!r}: {n} examples of each class are wanted from {part}, and {len(short)} of"
            f" {len(task.classes)} classes have fewer, such as {short[0]!r}; the rarest has {fewest}."
            + (f" Ask for at most {fewest} shots." if fewest else " Shots need some of every class there.")
        )
    return split.take(np.sort(np.concatenate([of_class[:n] for of_class in found])))


def _in_proportion(task: Task, part: str, n: int, seed: int) -> Split:
    """`n` examples, every class as near to its share as whole examples allow.

    Of a class of m examples, that in place k of the draw is due at (k + 1/2) / m (Webster's rule): unlike remainders
    shared out, it never takes from a class what it had in a smaller sample.
    """
    split: Split = getattr(task, part)
    if len(split) < n:
        raise InputError(
            f"task {task.name!r}: {n} of the examples are wanted from {part}, which has {len(split)}. Ask for fewer:"
            f" one in {VAL_SHARE} is taken from val, the others from train."
        )
    of_class = [drawn(split, label, "sample", seed) for label in range(len(task.classes))]
    due = np.concatenate([(np.arange(len(one)) + 0.5) / max(len(one), 1) for one in of_class])
    return split.take(np.sort(np.concatenate(of_class)[np.argsort(due, kind="stable")[:n]]))
