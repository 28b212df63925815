"""Lists of labelled images: the text files of the field's VTAB-1K layout, and folders named after classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from petl_study.errors import InputError
from petl_study.images import Files
from petl_study.tasks._base import Split

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def read_list(root: Path, name: str) -> Split:
    """The split that ``root/name`` lists: a line an image, its path below `root` and its label, a number from 0.

    Raises
    ------
    InputError
        A line is not of that form, names an image twice or one outside `root`: the message says which line.
    """
    file = root / name
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as a list of images: {error}.") from None
    paths: list[str] = []
    labels: list[int] = []
    named: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.isascii() or not label.isdigit():
            raise InputError(f"{file}, line {number}: {line!r} is not a path, a space and a label (a number from 0).")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"{file}, line {number}: {path!r} leads out of {root}; paths are relative to it.")
        if path in seen:
            raise InputError(f"{file}, line {number}: {path!r} is listed before, in line {seen[path]}.")
        seen[path] = number
        paths.append(path)
        labels.append(int(label))
        named.append(f"{name}, line {number}")
    if not paths:
        raise InputError(f"{file} lists no images.")
    return split_of(Files(root, tuple(paths), tuple(named)), labels)


def split_of(files: Files, labels: Sequence[int]) -> Split:
    """Image files and their labels, with paths as ids."""
    return Split(files, np.array(labels, dtype=np.int64), np.array(files.paths, dtype=str))


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder` that hold images, in alphabetical order: its classes."""
    return tuple(sorted(sub.name for sub in folder.iterdir() if sub.is_dir() and next(_images(sub), None) is not None))


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
            f"{root / below} has images in {strangers[0]!r} {f'and {len(strangers) - 1} more ' * (len(strangers) > 1)}"
            f"which is no class of the task; those are {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}."
        )
    paths: list[str] = []
    labels: list[int] = []
    for name in found:
        of_class = sorted(path.relative_to(root).as_posix() for path in _images(root / below / name))
        paths += of_class
        labels += [number[name]] * len(of_class)
    if not paths:
        raise InputError(f"{root / below} holds no images ({', '.join(EXTENSIONS)}) in folders named after classes.")
    return split_of(Files(root, tuple(paths)), labels)


def _images(folder: Path):  # type: ignore[no-untyped-def]
    return (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
