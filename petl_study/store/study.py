"""A study's directory: what lies where in it, and what of it counts."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from petl_study.errors import InputError
from petl_study.store.files import TEMPORARY, damaged, write_file
from petl_study.store.index import DIRECTORY, Entry, entries
from petl_study.store.record import FORMAT, Kind, Record, read
from petl_study.store.text import key_of, safe_name, seal
from petl_study.strangers import plain_json
from petl_study.strangers.paths import require_own


@dataclass(frozen=True)
class Study:
    """A study's directory."""

    path: Path

    @classmethod
    def create(cls, path: Path, spec: Mapping[str, Any]) -> Study:
        """The study `spec` at `path`: a new directory, or the same study begun before.

        Raises
        ------
        InputError
            `path` holds something else, or a study with another specification.
        """
        study, file = cls(path), path / "study.json"
        if file.exists():
            begun = study.spec
            if begun != spec:
                differing = sorted(k for k in {*begun, *spec} if begun.get(k) != spec.get(k))
                raise InputError(
                    f"{path} belongs to another study, {begun.get('name')!r}; it differs in {', '.join(differing)}."
                    f" Choose another --out, or run the study file that {file} was made from."
                )
            return study
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"{path} exists and is no study (it has no study.json). Choose a new or empty directory as --out."
            )
        sealed = json.dumps(seal({"format": FORMAT, "spec": dict(spec)}), indent=1, ensure_ascii=False)
        write_file(file, sealed.encode())
        return study

    @classmethod
    def open(cls, path: str | Path) -> Study:
        """The study at `path`, to read.

        Raises
        ------
        InputError
            There is no study there.
        """
        study = cls(Path(path))
        if not (study.path / "study.json").is_file():
            raise InputError(
                f"{study.path} is no study: it has no study.json. Give the --out directory of a `petl-study run`."
            )
        return study

    @property
    def spec(self) -> dict[str, Any]:
        """The study file as it was resolved when the study began."""
        file = self.path / "study.json"
        try:
            content = plain_json.read(file)
        except (OSError, plain_json.NoJson) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise damaged(file, f"it cannot be read ({said})", mend="copy it back") from None
        if not isinstance(content, dict) or content != seal(content):
            raise damaged(file, "its checksum does not match its content", mend="copy it back")
        if not isinstance(content.get("spec"), dict):
            raise damaged(file, "it has no study's specification", mend="copy it back")
        return content["spec"]

    def directory(self, kind: Kind, spec: Mapping[str, Any]) -> Path:
        """Where the result that `spec` determines lies, or will; InputError where a link leads there."""
        above = self.path / f"{kind}s"
        return require_own(above / safe_name(spec["task"]) / safe_name(spec["method"]) / key_of(spec), above)

    def find(self, kind: Kind, spec: Mapping[str, Any]) -> Record | None:
        """The stored result that `spec` determines, if there is one."""
        directory = self.directory(kind, spec)
        return read(directory) if directory.exists() else None

    def furthest(self, spec: Mapping[str, Any]) -> Record | None:
        """The record of the trial that `spec` determines, or of the same trial when it had been trained on.

        The first epochs of that are the epochs of this, bit for bit, and its curve tells what they brought.
        """
        for further in _further(spec):
            if (record := self.find("trial", further)) and (record.failed or record.epochs >= spec.get("until", 0)):
                return record
        return None

    def supersede(self, record: Record) -> None:
        """Remove what lies here of the same trial when it had been trained for fewer epochs."""
        whole = {name: value for name, value in record.spec.items() if name != "until"}
        for until in range(1, record.spec.get("until", record.spec["protocol"]["epochs"])):
            shorter = self.directory("trial", {**whole, "until": until})
            if shorter.exists():
                _remove(shorter)

    def withdraw(self, failed: Record) -> None:
        """Remove a failed record, so that it is tried again, and of a trial the runs that its search led to.

        They were selected without it. Records of another study that were copied into this one are left alone.
        """
        if failed.header["kind"] == "trial":
            for run in self.records("run", failed.spec["task"]):
                if run.header.get("selected") and _of_one_search(run, failed):
                    _remove(run.path)
        _remove(failed.path)

    def checkpoint(self, spec: Mapping[str, Any]) -> Path:
        """Where the trial that `spec` determines, whole or stopped, leaves what it can be gone on with from."""
        whole = {name: value for name, value in spec.items() if name != "until"}
        directory = self.directory("trial", whole)
        above = self.path / "checkpoints"
        return require_own(above / directory.relative_to(self.path / "trials").with_suffix(".safetensors"), self.path)

    def forget(self, spec: Mapping[str, Any]) -> None:
        """Remove the checkpoint of a trial that nothing goes on with, and the directories that held nothing else."""
        path = self.checkpoint(spec)
        path.unlink(missing_ok=True)
        for above in path.parents[:3]:
            with suppress(OSError):  # there is something in it, or it is gone
                above.rmdir()

    def entries(self, kind: Kind, task: str | None = None) -> list[Entry]:
        """Every record of `kind` as it is listed, in a fixed order; of one task only where `task` is given.

        Of a trial that is being trained on, what went furthest when it was looked for.

        Raises
        ------
        DamagedRecord
            One of them cannot be read.
        """
        return entries(self.path, kind, task)

    def records(self, kind: Kind, task: str | None = None) -> Iterator[Record]:
        """The records that `entries` lists, opened one by one."""
        return (entry.open() for entry in self.entries(kind, task))

    def sweep(self) -> None:
        """Remove what interrupted writers left, but for ensembles. Only while no one else runs this study."""
        for kind in ("trial", "run"):  # an ensemble may be in the making beside a running study
            for left in (self.path / f"{kind}s").glob(f"*/*/{TEMPORARY}*"):
                shutil.rmtree(left)
        for place in ("checkpoints/*/*/", "", f"{DIRECTORY}/"):
            for file in self.path.glob(f"{place}{TEMPORARY}*"):
                file.unlink(missing_ok=True)


Result = TypeVar("Result", Record, Entry)


def furthest(results: Iterable[Result]) -> list[Result]:
    """`results` without those of stopped trials of which another of them is the same trial, trained on."""
    results = list(results)
    if not any(result.stopped for result in results):
        return results
    reached: dict[str, float] = {}
    trials = [result.whole for result in results]
    for trial, result in zip(trials, results, strict=True):
        reached[trial] = max(reached.get(trial, 0), result.epochs if result.stopped else math.inf)
    return [
        result
        for trial, result in zip(trials, results, strict=True)
        if not result.stopped or result.epochs == reached[trial]
    ]


def _further(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The specifications of the same trial trained to its end, or stopped later, or stopped here; the longest first."""
    whole = {name: value for name, value in spec.items() if name != "until"}
    yield whole
    if "until" in spec:
        for until in range(spec["protocol"]["epochs"] - 1, spec["until"] - 1, -1):
            yield {**whole, "until": until}


def _of_one_search(one: Record, other: Record) -> bool:
    shared = ("task", "data", "backbone", "weights", "method", "head", "protocol", "keep", "source")
    same_study = one.header["study"] == other.header["study"]
    return same_study and all(one.spec.get(name) == other.spec.get(name) for name in shared)


def _remove(directory: Path) -> None:
    """Remove a record: out of sight at once, then its files."""
    gone = directory.with_name(f"{TEMPORARY}{directory.name}")
    directory.rename(gone)
    shutil.rmtree(gone)
