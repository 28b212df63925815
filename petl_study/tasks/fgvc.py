"""FGVC: five fine-grained tasks in the splits that came with visual prompt tuning (arXiv 2203.12119).

    fgvc:cub              DATA/CUB_200_2011/         train.json, val.json, test.json and images/
    fgvc:nabirds          DATA/nabirds/              ... and images/
    fgvc:flowers          DATA/OxfordFlower/         ... and the images where the lists say
    fgvc:stanford_dogs    DATA/Stanford-dogs/        ... and Images/
    fgvc:stanford_cars    DATA/Stanford-cars/        ... and the images where the lists say

A list is a JSON object of image paths and class ids, ``{"001.Black_footed_Albatross/...jpg": 1}``. Directories are
called as in the notes that come with the lists, or as the tasks here. Class ids in their order are the classes from 0
on, over the three lists together: where each list has every class, as it has there, these are the numbers that the
published code gives them list by list.

In four of the five a tenth of the published training images was set aside at random to validate on (Oxford Flowers has
a validation set), so that only those who have the lists have the splits. Sizes are those of the paper's appendix.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.images import Files
from petl_study.strangers import plain_json
from petl_study.tasks._base import Split, Task
from petl_study.tasks._lists import split_of
from petl_study.tasks._registry import Loader, register_loader

PREFIX = "fgvc:"
LISTS = ("train.json", "val.json", "test.json")


@dataclass(frozen=True)
class Known:
    """Where a task lies, and what it has to be: classes, and images to train on, to validate on and to test on."""

    folder: str
    images: str  # below the folder, what paths in the lists are relative to
    classes: int
    sizes: tuple[int, int, int]
    summary: str
    named: str = r"(?!)"  # what a class is called, in the name of the folder of its images


TASKS = {
    "cub": Known("CUB_200_2011", "images", 200, (5394, 600, 5794), "species of birds", r"\d+\.(.+)"),
    "nabirds": Known("nabirds", "images", 555, (21536, 2393, 24633), "species of birds, sexes and ages"),
    "flowers": Known("OxfordFlower", ".", 102, (1020, 1020, 6149), "species of flowers"),
    "stanford_dogs": Known("Stanford-dogs", "Images", 120, (10800, 1200, 8580), "breeds of dogs", r"n\d{8}-(.+)"),
    "stanford_cars": Known("Stanford-cars", ".", 196, (7329, 815, 8041), "makes, models and years of cars"),
}


def load(name: str) -> Task:
    """Task `name` of FGVC, from its lists.

    Raises
    ------
    InputError
        There is no such task; a list or the images are missing; a list is malformed; or the number of classes is not
        the task's.
    """
    if name not in TASKS:
        raise unknown("task of FGVC", name, TASKS)
    known, data = TASKS[name], places.here().data
    called = next((one for one in (known.folder, name) if (data / one).is_dir()), None)
    if called is None:
        raise places.Missing(
            f"there is no directory {known.folder} (or {name}) in {data}: the images as their authors give them, beside"
            f" {', '.join(LISTS)}, which are linked to in the README of github.com/KMnP/vpt. Say with --data DIR (or"
            " PETL_STUDY_DATA) where they are."
        )
    root = places.folder(called)
    if missing := [file for file in LISTS if not (root / file).is_file()]:
        raise InputError(
            f"{root} has no {', '.join(missing)}. The lists of FGVC's splits are linked to in the README of"
            " github.com/KMnP/vpt; put them beside the images, which come from their own authors."
        )
    if not (root / known.images).is_dir():
        raise InputError(f"{root} has no {known.images}/, to which the paths in {LISTS[0]} are relative.")
    lists = [_read(root / file, root) for file in LISTS]
    ids = sorted({one for listed in lists for one in listed.values()})
    if len(ids) != known.classes:
        raise InputError(f"{root}: the lists have {len(ids)} classes together, and {PREFIX}{name} has {known.classes}.")
    number = {one: label for label, one in enumerate(ids)}
    train, val, test = (
        _split(root, known.images, file, listed, number) for file, listed in zip(LISTS, lists, strict=True)
    )
    classes = _names(lists, number, known.named)
    return Task(name, "natural", classes, known.summary, train, val, test)


def _read(file: Path, root: Path) -> dict[str, int]:
    """The list in `file`: image paths, which do not lead out of `root`, and class ids."""
    try:
        listed = plain_json.read(file)
    except (OSError, plain_json.NoJson) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}.") from None
    if not isinstance(listed, dict) or {type(one) for one in listed.values()} != {int}:
        raise InputError(
            f"{file} is no list of images: it must be an object of paths and class ids (whole numbers),"
            ' {"a/b.jpg": 7}.'
        )
    for path in listed:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InputError(f"{file}: {path!r} leads out of {root}; paths are relative to it.")
        if not path.isprintable():
            raise InputError(f"{file}: {path!r} is no path that records can keep. Rename the file.")
    return dict(listed)


def _split(root: Path, images: str, file: str, listed: dict[str, int], number: dict[int, int]) -> Split:
    paths = tuple(str(PurePosixPath(images, path)) for path in listed)
    return split_of(Files(root, paths, (file,) * len(paths)), [number[one] for one in listed.values()])


def _names(lists: list[dict[str, int]], number: dict[int, int], named: str) -> tuple[str, ...]:
    """What the folders of images say of their classes, where they do; else the classes' numbers."""
    folders: defaultdict[int, set[str]] = defaultdict(set)
    for listed in lists:
        for path, one in listed.items():
            folders[number[one]].add(PurePosixPath(path).parent.name)
    found = [re.fullmatch(named, next(iter(folders[label]))) for label in range(len(number))]
    if all(found) and all(len(of_class) == 1 for of_class in folders.values()):
        return tuple(match[1].replace("_", " ") for match in found if match)
    return tuple(f"class {label}" for label in range(len(number)))


register_loader(
    Loader(
        PREFIX,
        load,
        names=lambda: list(TASKS),
        example="fgvc:cub",
        summary="a fine-grained task in the splits of visual prompt tuning; `fgvc` alone is all five",
        sizes=lambda name: TASKS[name].sizes,
    )
)
