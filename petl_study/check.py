"""What is wrong with data before a study is run on them: ``petl-study check vtab1k --data DIR``.

Every task is loaded as a study would load it, every image decoded, and every file's content compared with the others'.
A problem is what would make results wrong or stop the study; a warning is what its reader should know. Exit code 0:
no problem. 1: some. 2: wrong input.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from petl_study import places, spec, tasks
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.images import Files
from petl_study.tasks import Source, Split, Task

LEAK = 0.01  # of a split's examples: if more were trained on, its accuracy says too much. Public data sets have a few
_LISTED = 5  # bad images, or classes, that a message names
_BATCH = 256


@dataclass(frozen=True)
class Part:
    """What was found of a split: examples, the number expected (if known), classes, smallest and largest label."""

    examples: int
    expected: int | None
    classes: int
    labels: tuple[int, int]
    unreadable: dict[str, str]  # why, by file


@dataclass
class Report:
    """What was found of a task. `known_classes` are those it has to have; `duplicates` is, for every split that is
    looked at, how many of its examples were trained on before that."""

    task: str
    data: str | dict[str, Any]
    found: bool = True
    group: str = ""
    known_classes: int = 0
    parts: dict[str, Part] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """In a word."""
        if not self.found:
            return "missing"
        return "wrong" if self.problems else "usable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``petl-study check``."""
    known = places.here()
    parser.description = "Say what is wrong with data before a study is run on them."
    parser.add_argument(
        "names",
        nargs="+",
        metavar="TASK",
        help="vtab1k, folder:PATH, or whatever a study file can name; or a study file, for all of its tasks",
    )
    parser.add_argument("--data", type=Path, default=known.data, help="what names of data sets are relative to")
    parser.add_argument("--quick", action="store_true", help="do not decode the images")
    parser.add_argument("--json", action="store_true", help="print everything that was found, for programs")


def run(options: argparse.Namespace) -> int:
    """Check what `options` name: 0 when a study on it would be right, 1 when not."""
    places.use(replace(places.here(), data=options.data))
    sources = [source for name in options.names for source in sources_of(name)]
    seen = track(sources, "checking", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    reports = [check(source, decode=not options.quick) for source in seen]
    if options.json:
        content = [{**asdict(report), "verdict": report.verdict} for report in reports]
        print(json.dumps({"tasks": content}, indent=1))  # noqa: T201
    else:
        _show(reports, options.data)
    return 1 if any(report.problems for report in reports) else 0


def sources_of(name: str) -> list[Source]:
    """The tasks that `name` stands for: one, all of a collection, or those of a study file.

    Raises
    ------
    InputError
        No task has this name, or the file is no study file.
    """
    entries: list[Any] = [name]
    if Path(name).is_file():
        content = spec.read(Path(name))
        entries = content.get("tasks", []) if isinstance(content, dict) else []
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{name} is no study file: it lists no `tasks`.")
    expanded = [one for entry in entries for one in (tasks.expand(entry) if isinstance(entry, str) else [entry])]
    sources = [tasks.source_of(entry) for entry in expanded]
    for source in sources:
        tasks.require_known(source)
    return sources


def check(source: Source, *, decode: bool = True) -> Report:
    """What is to be said of the data of `source`.

    Parameters
    ----------
    decode : bool
        Whether every image is decoded; otherwise only files that cannot be opened are found.
    """
    report = Report(source.name, source.recorded)
    try:
        task = tasks.load(source)
    except InputError as error:
        report.found = not isinstance(error, places.Missing)
        report.problems.append(str(error))
        return report
    report.group, report.known_classes = task.group, len(task.classes)
    splits = {"train": task.train, "val": task.val, "test": task.test}
    splits |= {name: split for name, split in task.shifts.items() if isinstance(split, Split)}
    expected = dict(zip(splits, tasks.expected_sizes(source) or (), strict=False))
    for name, split in splits.items():
        report.parts[name] = _part(split, expected.get(name), decode)
    report.fingerprint = task.fingerprint
    _judge_sizes(report)
    _judge_images(report)
    _judge_classes(report, task, splits)
    _judge_duplicates(report, splits)
    return report


# -------------------------------------------------------------------------------------------------------------- judging


def _part(split: Split, expected: int | None, decode: bool) -> Part:
    unreadable = {}
    match split.images:
        case Files() as files if decode:
            unreadable = {files.where(i): why for i, why in files.unreadable().items()}
        case Files() as files:
            unreadable = {files.where(i): "it cannot be read" for i, sha in enumerate(files.contents()) if not sha}
    labels = int(split.labels.min()), int(split.labels.max())
    return Part(len(split), expected, len(np.unique(split.labels)), labels, unreadable)


def _judge_sizes(report: Report) -> None:
    for name, part in report.parts.items():
        if part.expected not in (None, part.examples):
            report.problems.append(f"{name} has {part.examples:,} examples and should have {part.expected:,}")


def _judge_images(report: Report) -> None:
    for name, part in report.parts.items():
        if bad := list(part.unreadable.items()):
            named = "; ".join(f"{file}: {why}" for file, why in bad[:_LISTED])
            more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
            report.problems.append(f"{len(bad)} of {part.examples:,} images of {name} cannot be read: {named}{more}")


def _judge_classes(report: Report, task: Task, splits: dict[str, Split]) -> None:
    """A class that was not trained on cannot be told: known of val200.txt, whose 200 images are drawn from all."""
    learned = set(splits["train"].labels.tolist())
    for name, split in splits.items():
        if name == "test":  # by then val was trained on, too
            learned |= set(splits["val"].labels.tolist())
        asked = [task.classes[label] for label in _classes(split) if label not in learned]
        if asked:
            named = f"{', '.join(asked[:_LISTED])}{' ...' if len(asked) > _LISTED else ''}"
            before = "train lacks" if name == "val" else "train and val lack"
            report.warnings.append(f"{name} has images of {len(asked)} classes that {before}: {named}")
    if absent := len(task.classes) - len(learned | set(_classes(splits["test"]))):
        told = f"{absent} of {len(task.classes)} classes have no images"
        if report.parts["test"].expected is None:
            report.warnings.append(told)
        else:  # a published task, which shows all of its classes
            report.problems.append(f"{told}: the labels, or the lists, are another task's")


def _classes(split: Split) -> list[int]:
    """The task's classes that `split` has."""
    labels = np.unique(split.labels)
    return [int(label) for label in (labels if split.only is None else split.only[labels])]


def _judge_duplicates(report: Report, splits: dict[str, Split]) -> None:
    learned: set[str] = set()
    for name, split in splits.items():
        contents = [content for content in _contents(split) if content]
        if name != "train":
            report.duplicates[name] = twice = sum(content in learned for content in contents)
            if twice:
                trained = "train" if name == "val" else "train or val"
                told = f"{twice} of {len(split):,} examples of {name} have the very content of one in {trained}"
                (report.problems if twice > LEAK * len(split) else report.warnings).append(told)
        if name in ("train", "val"):
            learned.update(contents)


def _contents(split: Split) -> Iterator[str]:
    """A hash of every example's file, or of its pixels."""
    if isinstance(split.images, Files):
        yield from split.images.contents()
        return
    for start in range(0, len(split), _BATCH):
        for image in split.pixels[start : start + _BATCH]:
            yield hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()


# -------------------------------------------------------------------------------------------------------------- showing


def _show(reports: list[Report], data: Path) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    numbers = ("train", "val", "test", "classes", "labels")
    for column in ("task", "group", *numbers, "shift sets", "unreadable", "duplicates", "fingerprint", ""):
        table.add_column(column, justify="right" if column in numbers else "left")
    for report in reports:
        table.add_row(*map(Text, _row(report)), Text(report.verdict, _STYLES[report.verdict]))
    out.print(table)
    for report in reports:
        told = [("problem", one) for one in report.problems if report.found]
        for kind, message in [*told, *(("warning", one) for one in report.warnings)]:
            out.print(f"{report.task}: {kind}: {message}", markup=False, highlight=False, soft_wrap=True)
    if missing := [report for report in reports if not report.found]:
        others = f" ({len(missing) - 1} more are missing likewise)" if len(missing) > 1 else ""
        out.print(f"{missing[0].problems[0]}{others}", markup=False, highlight=False, soft_wrap=True)
    verdicts = [report.verdict for report in reports]
    counts = ", ".join(f"{n} {verdict}" for verdict in _STYLES if (n := verdicts.count(verdict)))
    out.print(f"In {data}: {counts}.", markup=False, highlight=False, soft_wrap=True)


_STYLES = {"usable": "green", "wrong": "red", "missing": "yellow"}


def _row(report: Report) -> list[str]:
    if not report.parts:
        return [report.task, *[""] * 10]
    splits = [report.parts[name] for name in ("train", "val", "test")]
    shifts = {name: part for name, part in report.parts.items() if name not in ("train", "val", "test")}
    return [
        report.task,
        report.group,
        *map(_size, splits),
        _classes_told(report),
        _label_range(splits),
        ", ".join(f"{name} {_size(part)}" for name, part in shifts.items()),
        str(sum(len(part.unreadable) for part in report.parts.values()) or "none"),
        ", ".join(f"{count} in {name}" for name, count in report.duplicates.items() if count) or "none",
        report.fingerprint[:12],
    ]


def _label_range(splits: list[Part]) -> str:
    lowest, highest = zip(*(part.labels for part in splits), strict=True)
    return f"{min(lowest)} to {max(highest)}"


def _size(part: Part) -> str:
    return f"{part.examples:,}" + (f" of {part.expected:,}" if part.expected not in (None, part.examples) else "")


def _classes_told(report: Report) -> str:
    """``10``; ``10, val 9`` where not every split has them all."""
    fewer = [
        f"{name} {part.classes}"
        for name, part in report.parts.items()
        if part.classes != report.known_classes and name in ("train", "val", "test")
    ]
    return ", ".join([str(report.known_classes), *fewer])
