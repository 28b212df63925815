"""Put studies that were run on several machines together as one.

They must ask the same: backbone, protocol, search, what is kept, and the space of a method, are one; tasks, methods
and seeds may differ, and the merged study has those of all (`petl-study status` says what of it nobody ran; it has the
first one's name). A result that several have is taken once; the same specification with another result, or two searches
that chose differently for the same task, method and seed, is a conflict: both are named, and nothing is written.
Of a trial that was stopped early and elsewhere trained on, what went furthest counts. Checkpoints stay where they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petl_study.console import console
from petl_study.errors import InputError
from petl_study.plan import Plan
from petl_study.store import TEMPORARY, Entry, Record, Study, intact, read, union

SHOWN = 10  # conflicts in a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (__doc__ or "").replace("`", "")
    parser.add_argument("runs", metavar="RUNS", nargs="+", type=Path, help="directories of studies, two or more")
    parser.add_argument("--out", type=Path, required=True, help="where the merged study goes: a new directory")


def run(options: argparse.Namespace) -> int:
    """``petl-study merge``. Returns the exit code."""
    merged, records = merge(options.runs, options.out)
    console().print(
        f"{merged.path}: {records:,} records of {len(options.runs)} studies. `petl-study status {merged.path}` says"
        " whether something is missing.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return 0


def merge(paths: Sequence[Path], out: Path) -> tuple[Study, int]:
    """Write what the studies at `paths` have together to `out`, whole or not at all: the study, and how many records.

    Raises
    ------
    InputError
        There is something at `out`, or the studies are not one, or results conflict, or the disk is full.
    DamagedRecord
        One of their files is not as it was written.
    """
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise InputError(f"merge takes two or more different studies; got {', '.join(map(str, paths))}.")
    if out.exists():
        raise InputError(f"{out} exists. Merge into a new directory: what is there is never changed.")
    studies = [Study.open(path) for path in paths]
    spec = joined([(study.path, study.spec) for study in studies])
    entries, conflicts = union(studies)
    if conflicts:
        more = f"\n  and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
        raise InputError(
            "these records have one specification and differ in what follows from it:\n  "
            + "\n  ".join(conflicts[:SHOWN])
            + f"{more}\nNothing was written. Move one of each two away, or run that trial on one machine only."
        )
    try:
        _write(spec, entries, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}. Nothing is left of it.") from None
    return Study(out), len(entries)


def joined(specs: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """The specification of all: of the first, with every task, method and seed of the others.

    Raises
    ------
    InputError
        They differ in something else.
    """
    first_path, first = specs[0]
    spec = dict(first)
    for path, other in specs[1:]:
        fixed = {*first, *other} - {"name", "tasks", "methods", "seeds", "zero_shot", "head"}
        if differing := sorted(name for name in fixed if first.get(name) != other.get(name)):
            raise InputError(
                f"{first_path} and {path} are not one study: they differ in {', '.join(differing)}, and only tasks,"
                f" methods and seeds may. `petl-study diff {first_path} {path}` says how. `analysis` takes several"
                " studies as they are: load_runs([A, B])."
            )
        spec["head"] = _heads(spec, other, first_path, path)
        spec["zero_shot"] = _asked(spec, other)
        spec["tasks"] = _together(spec["tasks"], other["tasks"], "task", first_path, path)
        spec["methods"] = _together(spec["methods"], other["methods"], "method", first_path, path)
        spec["seeds"] = list(dict.fromkeys([*spec["seeds"], *other["seeds"]]))
        for name in ("head", "zero_shot"):
            if name not in first and name not in other:
                del spec[name]
    return spec


def _together(ours: list[Any], theirs: list[Any], what: str, one: Path, other: Path) -> list[Any]:
    """Both lists' tasks or methods, each once."""
    by_name = {_name(each): each for each in ours}
    for each in theirs:
        if by_name.setdefault(_name(each), each) != each:
            raise InputError(
                f"{one} and {other} are not one study: {what} {_name(each)!r} is {by_name[_name(each)]} in the one and"
                f" {each} in the other. Results of both are not comparable under one name."
            )
    return list(by_name.values())


def _name(task_or_method: str | Mapping[str, Any]) -> str:
    return task_or_method if isinstance(task_or_method, str) else task_or_method["name"]


def _heads(spec: Mapping[str, Any], other: Mapping[str, Any], one_path: Path, other_path: Path) -> Any:
    """From which classifier the tasks of both start."""
    ours, theirs = _by_task(spec), _by_task(other)
    for task in ours.keys() & theirs.keys():
        if ours[task] != theirs[task]:
            raise InputError(
                f"{one_path} and {other_path} are not one study: the classifier of {task!r} is {ours[task]} in the one"
                f" and {theirs[task]} in the other."
            )
    if spec.get("head") == other.get("head") and not isinstance(spec.get("head"), dict):
        return spec.get("head")
    return {task: head for task, head in (ours | theirs).items() if head != "new"}


def _by_task(spec: Mapping[str, Any]) -> dict[str, str]:
    head = spec.get("head", "new")
    return {name: head.get(name, "new") if isinstance(head, dict) else head for name in map(_name, spec["tasks"])}


def _asked(spec: Mapping[str, Any], other: Mapping[str, Any]) -> bool | list[str]:
    """Which tasks the untouched backbone is asked about."""
    ours, theirs = spec.get("zero_shot", False), other.get("zero_shot", False)
    if isinstance(ours, bool) and ours == theirs:
        return ours
    return list(dict.fromkeys([*Plan(spec).zero_shot_tasks, *Plan(other).zero_shot_tasks]))


def _write(spec: Mapping[str, Any], entries: Sequence[Entry], out: Path) -> None:
    """The study of `entries` at `out`: beside it first, then, when all of it is on the disk, under its name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=out.parent))
    try:
        study = Study.create(temporary / "study", spec)
        for entry in entries:
            _copy(intact(read(entry.path)), study.path / f"{entry.kind}s" / entry.place)
        os.sync()  # once for all files
        study.path.rename(out)
        os.sync()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(record: Record, where: Path) -> None:
    where.mkdir(parents=True)
    for name in ("record.json", *record.header["files"]):
        shutil.copyfile(record.path / name, where / name)
