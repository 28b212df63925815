"""Any directory of images as a task, ``folder:/path/to/pets``, or as a further test set of one.

It is in one of these forms, of which the first that fits is taken:

    train800.txt, val200.txt, test.txt   the layout in which the field keeps VTAB-1K: `path label` a line, and a name a
                                         line in classes.txt, if there is one; train800val200.txt is the two together
    train/, val/, test/                  each with a folder of images for every class. Without val/, a fifth of every
                                         class of train/ is validated on
    a folder for every class             of each class a fifth is tested on and a fifth of the rest is validated on

Which images are held out depends on their paths alone, so it is the same everywhere. A further test set is `test.txt`,
test/ or a folder for every class. Its classes are the task's: by name where both have names, otherwise by number.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from petl_study import places
from petl_study.errors import InputError
from petl_study.render.dice import Dice
from petl_study.tasks._base import Split, Task
from petl_study.tasks._lists import class_folders, read_folders, read_list
from petl_study.tasks._registry import Loader, register_loader

LISTS = ("train800.txt", "val200.txt", "test.txt")
HELD_OUT = 5  # one example in so many


def load(name: str) -> Task:
    """The task in the directory that `places.folder` finds for `name`."""
    root = places.folder(name)
    if (root / LISTS[0]).is_file():
        return of_lists(root)
    if (root / "train").is_dir() and (root / "test").is_dir():
        classes = class_folders(root / "train")
        train, test = read_folders(root, "train", classes), read_folders(root, "test", classes)
        if (root / "val").is_dir():
            return _task(root, classes, train, read_folders(root, "val", classes), test)
        return _task(root, classes, *_held_out(train), test)
    if classes := class_folders(root):
        rest, test = _held_out(read_folders(root, "", classes))
        return _task(root, classes, *_held_out(rest), test)
    raise InputError(
        f"{root} is no task: it has neither {LISTS[0]}, {LISTS[1]} and {LISTS[2]}, nor train/ and test/ with a folder"
        " of images for every class, nor such folders itself."
    )


def of_lists(root: Path, group: str = "natural", classes: int = 0) -> Task:
    """The task in `root` in the field's layout of VTAB-1K, with at least so many classes.

    Raises
    ------
    InputError
        A list is missing or malformed, or train800val200.txt is not the other two together.
    """
    train, val, test = (read_list(root, name) for name in LISTS)
    if (root / "train800val200.txt").is_file():
        both = read_list(root, "train800val200.txt")
        said = dict(zip(both.ids.tolist(), both.labels.tolist(), strict=True))
        apart = {**dict(zip(train.ids.tolist(), train.labels.tolist(), strict=True))}
        apart |= dict(zip(val.ids.tolist(), val.labels.tolist(), strict=True))
        if differing := sorted(set(said.items()) ^ set(apart.items())):
            path, label = differing[0]
            raise InputError(
                f"{root}: train800val200.txt is not train800.txt and val200.txt together: {len(differing)} lines are"
                f" in one alone, such as '{path} {label}'. Restore the lists that belong together."
            )
    return _task(root, _names(root, [train, val, test], classes), train, val, test, group)


def load_set(name: str, classes: tuple[str, ...]) -> Split:
    """The labelled images in the directory `name`, as a test set for a task of these classes."""
    root = places.folder(name)
    if (root / "test.txt").is_file():
        split = read_list(root, "test.txt")
        own = _names(root, [split])
        if (root / "classes.txt").is_file():
            if missing := [one for one in own if one not in classes]:
                raise InputError(
                    f"{root / 'classes.txt'} has classes that the task has not: {', '.join(missing[:8])}. Those of the"
                    f" task are {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}."
                )
            split = replace(split, labels=np.array([classes.index(one) for one in own], dtype=np.int64)[split.labels])
        return split
    return read_folders(root, "test" if (root / "test").is_dir() else "", classes)


def _names(root: Path, splits: list[Split], at_least: int = 0) -> tuple[str, ...]:
    """The names in classes.txt; without it the numbers up to the largest label."""
    most = max(at_least, *(int(split.labels.max()) + 1 for split in splits))
    if not (root / "classes.txt").is_file():
        return tuple(f"class {label}" for label in range(most))
    names = tuple(line.strip() for line in (root / "classes.txt").read_text("utf-8").splitlines() if line.strip())
    if len(names) < most:
        raise InputError(f"{root / 'classes.txt'} names {len(names)} classes, but labels run to {most - 1}.")
    return names


def _task(root: Path, classes: tuple[str, ...], train: Split, val: Split, test: Split, group: str = "natural") -> Task:
    return Task(root.name, group, classes, f"the images in {root.name}/", train, val, test)


def _held_out(split: Split) -> tuple[Split, Split]:
    """`split` without, and with only, one in `HELD_OUT` examples of every class (at least one), drawn by path."""
    out = np.zeros(len(split), dtype=bool)
    for label in np.unique(split.labels):
        of_class = np.flatnonzero(split.labels == label)
        drawn = np.argsort([Dice("held out", str(split.ids[i])).uniform() for i in of_class])
        out[of_class[drawn[: max(1, len(of_class) // HELD_OUT)]]] = True
    return split.take(np.flatnonzero(~out)), split.take(np.flatnonzero(out))


register_loader(Loader("folder:", load, load_set, example="folder:/path/to/images"))
