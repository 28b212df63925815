"""ImageNet-1K (arXiv 1409.0575) and the test sets that were made for its classes.

    imagenet             DATA/imagenet/train/<wnid>/... and DATA/imagenet/val/<wnid>/...; val is what is tested on

and as further test sets, ``{shots: 16, shifts: {v2: imagenet:v2, a: imagenet:a}}``, each from the first of these below
DATA that is there:

    imagenet:v2          imagenetv2-matched-frequency-format-val/<0 ... 999>/       arXiv 1902.10811      10,000 images
    imagenet:sketch      imagenet-sketch/<wnid>/ or sketch/<wnid>/                  arXiv 1905.13549      50,889
    imagenet:r           imagenet-r/<wnid>/                                         arXiv 2006.16241      30,000
    imagenet:a           imagenet-a/<wnid>/                                         arXiv 1907.07174       7,500
    imagenet:c           imagenet-c/<corruption>/<severity>/<wnid>/, the            arXiv 1903.12261      50,000 each
                         corruptions also a folder deeper, as they are published

A wnid is a class's name in WordNet. The task's classes are the wnids that train/ has a folder for, in their order:
all 1000, or fewer where someone keeps a part of ImageNet. A further set is then asked about those of its classes that
the task has, each of which it must have images of; what it shows of others is left out. R and A have 200 classes: of
the logits only theirs compete, as their authors have it.

At most 10 images of each class of train/, drawn by path, are validated on and not trained on: ImageNet's own
validation is the test set here. With `shots` both are sampled, as of any task.

ImageNet-C is one entry and many sets: ``{c: imagenet:c}`` gives ``c:fog:3``, kind and severity apart as those made on
the fly have them (``corrupt:fog:3``, see `petl_study.tasks.corruptions` for how these differ). Its images show what the
task's test split shows, are prepared at 224 pixels, and are therefore not cropped again. They are no part of the
task's fingerprint, which its test split is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.images import Files, Images, View
from petl_study.tasks._base import Split, Task
from petl_study.tasks._held_out import held_out
from petl_study.tasks._lists import class_folders, read_folders
from petl_study.tasks._registry import Loader, register_loader

if TYPE_CHECKING:
    from timm.data import ImageNetInfo  # type: ignore[attr-defined]

PREFIX = "imagenet"
MOST_HELD_OUT = 10  # of each class: 10,000 images, one in 128

_WNID = re.compile(r"\((n\d{8})\)$")  # at the end of a class's name


@dataclass(frozen=True)
class Known:
    """A further test set: where it lies, and timm's list of the classes it has, if not all."""

    folders: tuple[str, ...]
    indices: str = ""
    numbered: bool = False  # folders are called 0 to 999, not by wnid


SETS = {
    "v2": Known(("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency"), numbered=True),
    "sketch": Known(("imagenet-sketch", "sketch")),
    "r": Known(("imagenet-r",), "imagenet_r_indices.txt"),
    "a": Known(("imagenet-a",), "imagenet_a_indices.txt"),
}
CORRUPTED = "imagenet-c"


def load(name: str) -> Task:
    """The task in DATA/imagenet; `name`, what follows ``imagenet``, is empty."""
    if name:
        raise InputError(
            f"{PREFIX}{name} is no task. The task is {PREFIX}; its further test sets are named under `shifts`, such as"
            f" {{v2: {PREFIX}:v2}}."
        )
    root = places.folder(PREFIX)
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise InputError(
                f"{root} has no {part}/. It must have train/ and val/ with a folder of images for every class, named by"
                " its wnid (n01440764): the archives of images as image-net.org gives them, unpacked, and the"
                " validation images sorted into folders."
            )
    wnids = class_folders(root / "train")
    if strangers := [wnid for wnid in wnids if wnid not in _numbers()]:
        raise InputError(f"{root / 'train'} has images in {strangers[0]!r}, which is no class of ImageNet-1K.")
    train, val = held_out(read_folders(root, "train", wnids), MOST_HELD_OUT)
    test = read_folders(root, "val", wnids)
    _require_all(root / "val", np.unique(test.labels), wnids)
    return Task(PREFIX, "natural", _called(wnids), "ImageNet-1K: photographs of things and animals", train, val, test)


def load_set(name: str, classes: tuple[str, ...]) -> Split | Mapping[str, Callable[[Split], Split]]:
    """The further test set ``:v2`` ..., for a task of these classes.

    Raises
    ------
    InputError
        There is no such set, it is not among the data, or lacks a class; or the task's classes are not ImageNet's.
    """
    called = name.removeprefix(":")
    if called not in (*SETS, "c"):
        raise unknown("test set of ImageNet", called, [*SETS, "c"])
    wnids = [wnid_of(one) for one in classes]
    if None in wnids:
        raise InputError(
            f"{PREFIX}:{called} is a test set for {PREFIX}, and not for a task with classes such as {classes[0]!r}."
        )
    if called == "c":
        return _corrupted(_folder((CORRUPTED,)))
    return _of_classes(SETS[called], [str(wnid) for wnid in wnids])


def wnid_of(name: str) -> str | None:
    """The wnid in the name of a class of this task; None in others."""
    found = _WNID.search(name)
    return found[1] if found else None


# ------------------------------------------------------------------------------------------------------------- classes


@cache
def _info() -> ImageNetInfo:
    from timm.data import ImageNetInfo  # type: ignore[attr-defined]  # imports torch: not for who only names tasks

    return ImageNetInfo("imagenet-1k")


@cache
def _numbers() -> dict[str, int]:
    """The number from 0 to 999 of every class, by wnid."""
    return {wnid: number for number, wnid in enumerate(_info().label_names())}


def _called(wnids: tuple[str, ...]) -> tuple[str, ...]:
    """``tench (n01440764)``: two classes are cranes, and without the wnid could not be told apart."""
    lemmas = (_info().label_name_to_description(wnid).partition(",")[0] for wnid in wnids)
    return tuple(f"{lemma} ({wnid})" for lemma, wnid in zip(lemmas, wnids, strict=True))


def _listed(file: str) -> set[int]:
    """The numbers of classes in one of timm's lists."""
    return {int(line) for line in (resources.files("timm.data") / "_info" / file).read_text().split()}


# ---------------------------------------------------------------------------------------------------------------- sets


def _folder(names: tuple[str, ...]) -> Path:
    for name in names:
        if (places.here().data / name).is_dir():
            return places.folder(name)
    raise places.Missing(
        f"there is no directory {' or '.join(names)} in {places.here().data}. Put the set there as it is published, or"
        " say with --data DIR (or PETL_STUDY_DATA) where the data lie."
    )


def _of_classes(known: Known, wnids: list[str]) -> Split:
    """The set's images of the task's classes; labels count those of them that the set has."""
    root = _folder(known.folders)
    asked = [wnid for wnid in wnids if not known.indices or _numbers()[wnid] in _listed(known.indices)]
    folder_of = {wnid: str(_numbers()[wnid]) if known.numbered else wnid for wnid in _numbers()}
    found = class_folders(root)
    if strangers := sorted(set(found) - set(folder_of.values())):
        raise InputError(f"{root} has images in {strangers[0]!r}, which is no class of ImageNet-1K.")
    label = {folder_of[wnid]: number for number, wnid in enumerate(asked)}
    everything = read_folders(root, "", found)
    labels = np.array([label.get(folder, -1) for folder in found], dtype=np.int64)[everything.labels]
    split = replace(everything, labels=labels).take(np.flatnonzero(labels >= 0))
    _require_all(root, np.unique(split.labels), tuple(asked))
    if len(asked) == len(wnids):
        return split
    return replace(split, only=np.array([wnids.index(wnid) for wnid in asked], dtype=np.int64))


def _require_all(root: Path, present: np.ndarray, wnids: tuple[str, ...]) -> None:
    """Refuse a set that lacks classes: its accuracy would be of easier or harder ones than the published."""
    if missing := [wnid for number, wnid in enumerate(wnids) if number not in present]:
        raise InputError(
            f"{root} has no images of {len(missing)} of {len(wnids)} classes, such as {missing[0]}. Restore what is"
            " missing of it."
        )
    if not wnids:
        raise InputError(f"{root} shows no class that the task has.")


# ---------------------------------------------------------------------------------------------------------- ImageNet-C


class Prepared(Files):
    """Image files that show what is to be seen of them already: they are resized, and never cropped."""

    def seen(self, view: View) -> tuple[Images, np.ndarray, dict[int, str]]:
        return super().seen(View("direct", view.size) if view.resize == "crop" else view)


def _corrupted(root: Path) -> dict[str, Callable[[Split], Split]]:
    """Every corruption and severity that is there, by name: ``fog:3``."""
    found = [path for level in ("*/[1-5]", "*/*/[1-5]") for path in root.glob(level) if path.is_dir()]
    if not found:
        raise InputError(f"{root} holds no <corruption>/<severity>/ (1 to 5) with a folder of images for every class.")

    def of(folder: Path) -> Callable[[Split], Split]:
        def corrupted(test: Split) -> Split:
            assert isinstance(test.images, Files)
            return replace(
                test, images=Prepared(folder, tuple(path.removeprefix("val/") for path in test.images.paths))
            )

        return corrupted

    return {
        f"{path.parent.name}:{path.name}": of(path) for path in sorted(found, key=lambda p: (p.parent.name, p.name))
    }


register_loader(
    Loader(
        PREFIX,
        load,
        load_set,
        example=PREFIX,
        summary="ImageNet-1K below --data; its other test sets under `shifts`: imagenet:v2, :sketch, :r, :a, :c",
    )
)
