"""Any directory of images as a task, ``folder:/path/to/pets``, or as a further test set of one.

It is in one of these forms, of which the first that fits is taken:

    train800.txt, val200.txt, test.txt   the layout in which the field keeps VTAB-1K: `path label` a line, and a name a
                                         line in classes.txt, if there is one; train800val200.txt is the two together
    train/, val/, test/                  each with a folder of images for every class. Without val/ (or valid/, or
                                         validation/) a fifth of every class of train/ is validated on
    a folder for every class             of each class a fifth is tested on and a fifth of the rest is validated on

Which images are held out depends on their paths alone, so it is the same everywhere. A further test set is `test.txt`,
test/ or a folder for every class. Its classes are the task's: by name where both have names, otherwise by number.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from petl_study import places
from petl_study.errors import InputError
from petl_study.tasks._base import Split, Task
from petl_study.tasks._held_out import held_out
from petl_study.tasks._lists import class_folders, read_folders, read_list, read_names, require_labels
from petl_study.tasks._registry import Loader, register_loader

LISTS = ("train800.txt", "val200.txt", "test.txt")
BOTH = "train800val200.txt"

_VAL = ("val", "valid", "validation")
_NAMELESS = re.compile(r"class \d+")


def load(name: str) -> Task:
    """The task in the directory that `places.folder` finds for `name`."""
    root = places.folder(name)
    if any((root / one).is_file() for one in LISTS):
        return of_lists(root)
    if classes := class_folders(root / "train"):
        return _of_splits(root, classes)
    if classes := class_folders(root):
        everything = read_folders(root, "", classes)
        _require_of_each(everything, root, classes, 3)
        rest, test = held_out(everything)
        return _task(root, classes, *held_out(rest), test)
    raise InputError(
        f"{root} is no task: it has neither {LISTS[0]}, {LISTS[1]} and {LISTS[2]}, nor train/ and test/ with a folder"
        " of images for every class, nor such folders itself."
    )


def of_lists(root: Path, *, group: str = "natural", classes: int | None = None, summary: str = "") -> Task:
    """The task in `root` in the field's layout of VTAB-1K, which has so many `classes` if that is known.

    Raises
    ------
    InputError
        A list is missing or malformed, a label is none of the classes, or train800val200.txt is not the other two
        together.
    """
    train, val, test = (read_list(root, name) for name in LISTS)
    if (root / BOTH).is_file():
        lines = [
            {f"{path} {label}" for split in splits for path, label in zip(split.ids, split.labels, strict=True)}
            for splits in ([read_list(root, BOTH)], [train, val])
        ]
        if differing := sorted(lines[0] ^ lines[1]):
            raise InputError(
                f"{root}: {BOTH} is not {LISTS[0]} and {LISTS[1]} together: {len(differing)} lines are in one alone,"
                f" such as {differing[0]!r}. Restore the lists that belong together."
            )
    names = _names(root, [train, val, test], classes)
    return _task(root, names, train, val, test, group, summary)


def load_set(name: str, classes: tuple[str, ...]) -> Split:
    """The labelled images in the directory `name`, as a test set for a task of these classes."""
    root = places.folder(name)
    if not (root / "test.txt").is_file():
        return read_folders(root, "test" if class_folders(root / "test") else "", classes)
    split, own = read_list(root, "test.txt"), read_names(root)
    if own is None or all(_NAMELESS.fullmatch(one) for one in classes):
        require_labels(split, len(classes))
        return split
    require_labels(split, len(own))
    if missing := sorted({own[label] for label in split.labels} - set(classes)):
        raise InputError(
            f"{root} has images of classes that the task has not: {', '.join(missing[:8])}. Those of the task are"
            f" {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}."
        )
    number = {one: label for label, one in enumerate(classes)}
    return replace(split, labels=np.array([number[own[label]] for label in split.labels], dtype=np.int64))


def _of_splits(root: Path, classes: tuple[str, ...]) -> Task:
    if not class_folders(root / "test"):
        raise InputError(
            f"{root} has images to train on and none in test/. If those in val/ are to be tested on, rename it test/:"
            " without val/, a fifth of every class of train/ is validated on."
        )
    train, test = read_folders(root, "train", classes), read_folders(root, "test", classes)
    if val := next((name for name in _VAL if class_folders(root / name)), None):
        return _task(root, classes, train, read_folders(root, val, classes), test)
    _require_of_each(train, root, classes, 2)
    return _task(root, classes, *held_out(train), test)


def _require_of_each(split: Split, root: Path, classes: tuple[str, ...], least: int) -> None:
    """Refuse classes that would be held out whole, or not at all."""
    for name, count in zip(classes, np.bincount(split.labels, minlength=len(classes)), strict=True):
        if count < least:
            raise InputError(
                f"{root}: class {name!r} has {count} images; some are held out, so that {least} are the fewest to do"
                " with. Add some, or leave the class out."
            )


def _names(root: Path, splits: list[Split], known: int | None) -> tuple[str, ...]:
    """The names in classes.txt; without it the numbers of the `known` classes, or up to the largest label."""
    count = known or max(int(split.labels.max()) for split in splits) + 1
    names = read_names(root) or tuple(f"class {label}" for label in range(count))
    if known and len(names) != known:
        raise InputError(f"{root / 'classes.txt'} names {len(names)} classes, and {root.name} has {known}.")
    for split in splits:
        require_labels(split, len(names))
    return names


def _task(
    root: Path,
    classes: tuple[str, ...],
    train: Split,
    val: Split,
    test: Split,
    group: str = "natural",
    summary: str = "",
) -> Task:
    if len(classes) < 2:
        raise InputError(f"{root} has one class, {classes[0]!r}: there is nothing to tell apart.")
    return Task(root.name, group, classes, summary or f"the images in {root.name}/", train, val, test)


register_loader(
    Loader(
        "folder:",
        load,
        load_set,
        example="folder:/path/to/images",
        summary="a directory: lists of paths and labels, train/ and test/, or a folder for every class",
    )
)
