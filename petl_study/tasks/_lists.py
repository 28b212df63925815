"""Lists of labelled images: the text files of the field's VTAB-1K layout, and folders named after classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from petl_study.errors import InputError
from petl_study.images import Files
from petl_study.tasks._base import Split

MOST_CLASSES = 100_000  # a larger label is a mistake
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"),
    *(".avif", ".heic", ".heif", ".jxl"),  # which cannot be read: to be named as such, and not passed by
)


def read_list(root: Path, name: str) -> Split:
    """The split that ``root/name`` lists: a line an image, its path below `root` and its label, a number from 0.

    Raises
    ------
    InputError
        A line is not of that form, names an image twice or one outside `root`: the message says which line.
    """
    file = root / name
    paths: list[str] = []
    labels: list[int] = []
    named: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        given, _, label = line.strip().rpartition(" ")
        path = PurePosixPath(given.strip())
        if not path.name or not (label.isascii() and label.isdigit()) or not given.isprintable():
            raise InputError(f"{file}, line {number}: {line!r} is not a path, a space and a label (a number from 0).")
        if len(label) > 9 or int(label) >= MOST_CLASSES:
            raise InputError(f"{file}, line {number}: label {label[:20]} is too large; classes count from 0.")
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{file}, line {number}: {given!r} leads out of {root}; paths are relative to it.")
        if str(path) in seen:
            raise InputError(f"{file}, line {number}: {given!r} is listed before, in line {seen[str(path)]}.")
        seen[str(path)] = number
        paths.append(str(path))
        labels.append(int(label))
        named.append(f"{name}, line {number}")
    if not paths:
        raise InputError(f"{file} lists no images.")
    return split_of(Files(root, tuple(paths), tuple(named)), labels)


def read_names(root: Path) -> tuple[str, ...] | None:
    """The names of classes 0, 1, ... in ``root/classes.txt``, a line a class; None where there is no such file.

    Raises
    ------
    InputError
        A line is empty, which would shift those after it, or a name stands there twice.
    """
    file = root / "classes.txt"
    if not file.is_file():
        return None
    names = [line.strip() for line in _lines(file)]
    while names and not names[-1]:
        names.pop()
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name or name in first:
            what = f"{name!r} is in line {first[name]} already" if name else "the line is empty"
            raise InputError(f"{file}, line {number}: {what}. Line by line it names the classes 0, 1, 2 ...")
        first[name] = number
    return tuple(names)


def require_labels(split: Split, classes: int) -> None:
    """Raise InputError unless every label of `split` is one of `classes`; the message says in which line."""
    wrong = np.flatnonzero(split.labels >= classes)
    if len(wrong):
        assert isinstance(split.images, Files)
        raise InputError(
            f"{split.images.where(int(wrong[0]))}: label {split.labels[wrong[0]]}, but there are {classes} classes:"
            f" labels run from 0 to {classes - 1}. {len(wrong)} of {len(split)} lines are beyond that."
        )


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{file} cannot be read as a list: {reason}.") from None


def split_of(files: Files, labels: Sequence[int]) -> Split:
    """Image files and their labels, with paths as ids."""
    return Split(files, np.array(labels, dtype=np.int64), np.array(files.paths, dtype=str))


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder` that hold images, in alphabetical order: its classes. () if it is not there.

    What is called ``.something`` (.ipynb_checkpoints, ._copies) is hidden, and passed by.
    """
    if not folder.is_dir():
        return ()
    inside = (sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    return tuple(sorted(sub.name for sub in inside if next(_images(sub), None) is not None))


def read_folders(root: Path, below: str, classes: Sequence[str]) -> Split:
    """The images in ``root/below/<class>/``, however deep, by class and path.

    Raises
    ------
    InputError
        A folder is none of `classes`.
    """
    number = {name: label for label, name in enumerate(classes)}
    found = class_folders(root / below)
    if strangers := [name for name in found if name not in number]:
        raise InputError(
            f"{root / below} has images in {_few(strangers)}, which is no class of the task; those are {_few(classes)}."
        )
    paths: list[str] = []
    labels: list[int] = []
    for name in found:
        of_class = sorted(path.relative_to(root).as_posix() for path in _images(root / below / name))
        paths += of_class
        labels += [number[name]] * len(of_class)
    if not paths:
        raise InputError(f"{root / below} holds no images ({', '.join(EXTENSIONS)}) in folders named after classes.")
    if odd := [path for path in paths if not path.isprintable()]:
        raise InputError(f"{root}: the name of {odd[0]!r} is no text that records can keep. Rename it.")
    return split_of(Files(root, tuple(paths)), labels)


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"


def _images(folder: Path) -> Iterator[Path]:
    """What is called an image, links that lead nowhere included: they are missing, and must not pass unnoticed.

    Links to directories are followed, as those who read such folders elsewhere do, once and unless they lead back.
    """
    seen: set[str] = set()
    for below, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _again(Path(below, name), seen)]
        for name in files:
            path = Path(below, name)
            if path.suffix.lower() in EXTENSIONS and not name.startswith("."):
                yield path


def _again(folder: Path, seen: set[str]) -> bool:
    """Whether it is a link to where it lies itself, or to what another link led to: two such links multiply.

    `seen` has what links led to so far.
    """
    if not folder.is_symlink():
        return False
    real = os.path.realpath(folder)
    if real in seen or folder.parent.resolve().is_relative_to(real):
        return True
    seen.add(real)
    return False
