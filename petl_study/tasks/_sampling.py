"""A part of a task's training examples: so many of each class (few-shot), or so many in all (many-shot)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError
from petl_study.render.dice import Dice
from petl_study.tasks._base import Split, Task

VAL_SHOTS = 4  # of each class, at most: as CoOp validates (arXiv 2109.01134)
VAL_SHARE = 5  # one example in so many is validated on


def sampled(task: Task, *, shots: int | None, examples: int | None, seed: int) -> Task:
    """`task` with fewer training examples; its test split and shift sets are as they were.

    With `shots`, that many of each class are trained on, and as many, at most 4, are validated on, all drawn from the
    task's train (and those to validate on from its val, where that has enough). With `examples`, that many in all of
    train and val together, classes in proportion, a fifth of them to validate on.

    A larger sample of one seed holds the smaller ones: an example's place in the draw depends on its id alone.

    Raises
    ------
    InputError
        A class has fewer examples than are asked for: the message names it, and how many there are.
    """
    if shots is not None:
        return _few(task, shots, seed)
    return task if examples is None else _many(task, examples, seed)


def _few(task: Task, shots: int, seed: int) -> Task:
    per_class = min(shots, VAL_SHOTS)
    from_train = [_drawn(task.train, c, seed) for c in range(len(task.classes))]
    from_val = [_drawn(task.val, c, seed) for c in range(len(task.classes))]
    for name, found in zip(task.classes, from_train, strict=True):
        if len(found) < shots:
            raise InputError(
                f"task {task.name!r}: {shots} examples of each class were asked for, and of {name!r} there are"
                f" {len(found)} in train. Ask for at most {min(map(len, from_train))} shots."
            )
    if short := [name for name, found in zip(task.classes, from_val, strict=True) if len(found) < per_class]:
        raise InputError(
            f"task {task.name!r}: validating on {per_class} examples of each class needs as many in val, and"
            f" {len(short)} classes have fewer, such as {short[0]!r}."
        )
    return replace(
        task,
        train=task.train.take(np.sort(np.concatenate([found[:shots] for found in from_train]))),
        val=task.val.take(np.sort(np.concatenate([found[:per_class] for found in from_val]))),
    )


def _many(task: Task, examples: int, seed: int) -> Task:
    for_val = max(1, examples // VAL_SHARE)
    wanted = {"train": examples - for_val, "val": for_val}
    parts = {}
    for name, n in wanted.items():
        split: Split = getattr(task, name)
        if len(split) < n:
            raise InputError(
                f"task {task.name!r}: {examples} examples were asked for, {n} of them from {name}, which has"
                f" {len(split)}."
            )
        parts[name] = split.take(_in_proportion(split, n, len(task.classes), seed))
    return replace(task, train=parts["train"], val=parts["val"])


def _in_proportion(split: Split, n: int, classes: int, seed: int) -> NDArray[np.int64]:
    """Indices of `n` examples, each class as near to its share as whole examples allow; the first of a class's draw."""
    exact = np.bincount(split.labels, minlength=classes) * n / len(split)
    counts = np.floor(exact).astype(int)
    largest_rest = np.argsort(counts - exact, kind="stable")[: n - counts.sum()]
    counts[largest_rest] += 1
    return np.sort(np.concatenate([_drawn(split, c, seed)[: counts[c]] for c in range(classes)]))


def _drawn(split: Split, label: int, seed: int) -> NDArray[np.int64]:
    """The examples of one class in the order in which they are drawn."""
    of_class = np.flatnonzero(split.labels == label)
    return of_class[np.argsort([Dice("sample", seed, str(split.ids[i])).uniform(0.0, 1.0) for i in of_class])]
