"""Records on disk: one directory a result, written whole or not at all, in formats that are safe to open.

    STUDY/study.json                            the study file as resolved, and its fingerprint
    STUDY/trials/<task>/<method>/<key>/         a search trial: trained on train, looked at on val
    STUDY/runs/<task>/<method>/<key>/           a final run: trained on train + val, looked at on test and shift sets
    STUDY/ensembles/<task>/<method>/<key>/      what a combination of runs says
    STUDY/checkpoints/<task>/<method>/<key>.safetensors     where a trial that was stopped can be gone on with, while
                                                            its search is under way

and in each of these directories

    record.json            the header: what was run, what came out, the files beside it with size and SHA-256
    logits.safetensors     a float array (N, C) for every set of examples looked at
    examples.parquet       set, id, label: a row an example, in the order of the logits
    tuned.safetensors      the tuned tensors and the classifier (runs only)

A directory is made under a temporary name, synced and renamed, so a reader sees all of it or nothing. Its name is the
hash of the specification that determines the result: a study can be moved, copied, and joined with another's.
No torch in here: whoever reads results need not have it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from petl_study.errors import DamagedRecord, InputError

FORMAT = 1
Kind = Literal["trial", "run", "ensemble"]
KINDS: tuple[Kind, ...] = ("trial", "run", "ensemble")
ZERO_SHOT = "zero_shot"  # the method, in records, of the backbone that nothing was trained of
Examples = tuple[NDArray[np.str_], NDArray[np.int64]]  # ids (N,), labels (N,)

_TEMPORARY = ".writing-"  # no key starts with a dot, so readers pass these by


# ---------------------------------------------------------------------------------------------------------------- text


def canonical(value: object) -> bytes:
    """`value` as JSON that is the same bytes for the same content: keys sorted, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(value: object) -> str:
    """SHA-256 of `value`'s canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def key_of(spec: Mapping[str, Any]) -> str:
    """The directory name of the result that `spec` determines: 16 hexadecimal digits."""
    return fingerprint(spec)[:16]


def finite(value: float) -> float | None:
    """JSON has no NaN or infinity; such a number is stored as null."""
    return value if math.isfinite(value) else None


# ------------------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Record:
    """A stored result. The header is in memory; arrays are read, and checked, when asked for."""

    path: Path
    header: dict[str, Any]
    _intact: set[str] = field(default_factory=set, repr=False, compare=False)  # files compared with their SHA-256

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that determines the result: task, method, hyperparameters, protocol, fingerprints, seeds."""
        return self.header["spec"]

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def failed(self) -> bool:
        return self.header["status"] == "failed"

    @property
    def stopped(self) -> bool:
        """Whether it is of a trial that a search stopped before its last epoch."""
        return self.header["status"] == "stopped"

    @property
    def epochs(self) -> int:
        """Epochs that were trained, with those before a checkpoint from which it went on."""
        return len(self.header.get("curve") or ())

    @property
    def sets(self) -> list[str]:
        """The sets of examples that have logits: ``val`` for a trial; ``test``, ``val`` and shift sets for a run."""
        return list(self.header["results"])

    def logits(self, name: str) -> NDArray[np.floating[Any]]:
        """What the model said of set `name`: (N, C).

        Raises
        ------
        InputError
            The record has no such set.
        DamagedRecord
            The stored bytes are not those that were written.
        """
        self._require_set(name)
        with safetensors.safe_open(self._checked("logits.safetensors"), framework="numpy") as file:
            return file.get_tensor(name)

    def examples(self, name: str) -> Examples:
        """Ids and labels of set `name`, in the order of its logits: (N,) and (N,)."""
        self._require_set(name)
        table = pq.read_table(self._checked("examples.parquet"), filters=[("set", "=", name)])
        return np.asarray(table["id"].to_pylist(), dtype=np.str_), table["label"].to_numpy()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tuned tensors and the classifier, by name."""
        return safetensors.numpy.load_file(self._checked("tuned.safetensors"))

    def _require_set(self, name: str) -> None:
        if name not in self.header["results"]:
            raise InputError(f"{self.path}: no logits for {name!r}; this record has {', '.join(self.sets) or 'none'}.")

    def _checked(self, file: str) -> Path:
        path = self.path / file
        written = self.header["files"].get(file)
        if written is None:
            raise InputError(
                f"{self.path}: a record of this kind has no {file}; it has {', '.join(self.header['files'])}."
            )
        if file not in self._intact:
            if _digest(path) != written["sha256"]:
                raise _damaged(path, "its bytes are not those that were written")
            self._intact.add(file)
        return path


def write(
    directory: Path,
    header: Mapping[str, Any],
    *,
    logits: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    examples: Mapping[str, Examples] | None = None,
    tensors: Mapping[str, NDArray[Any]] | None = None,
) -> Record:
    """Store one result under `directory`, whole or not at all.

    Parameters
    ----------
    directory : Path
        Where the record shall lie. If a record is there already it is kept and returned: same key, same result.
    header : mapping
        JSON content. `results` names the sets; `files`, `format` and `checksum` are added here.
    logits, examples : mapping
        For each set, (N, C) and ids (N,), labels (N,).
    tensors : mapping
        Tuned tensors by name.
    """
    _require_aligned(logits or {}, examples or {})
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=directory.parent))
    try:
        if logits:
            safetensors.numpy.save_file(
                {k: np.ascontiguousarray(v) for k, v in logits.items()}, temporary / "logits.safetensors"
            )
        if examples:
            pq.write_table(_examples_table(examples), temporary / "examples.parquet")
        if tensors:
            safetensors.numpy.save_file(
                {k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary / "tuned.safetensors"
            )
        files = {p.name: {"bytes": p.stat().st_size, "sha256": _digest(p)} for p in sorted(temporary.iterdir())}
        sealed = seal({**header, "format": FORMAT, "files": files})
        (temporary / "record.json").write_text(json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False))
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors writes 0600: a shared study has other readers
            _sync(path)
        _sync(temporary)
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide a shared study from its other readers
        try:
            temporary.rename(directory)
        except OSError:
            if not (directory / "record.json").exists():
                raise
        _sync(directory.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read(directory)


def read(directory: Path) -> Record:
    """Open the record at `directory`.

    Raises
    ------
    DamagedRecord
        It is truncated, altered, or of a format this version does not know; the message says which and how to mend it.
    """
    path = directory / "record.json"
    try:
        header = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, f"it cannot be read ({error})") from None
    if not isinstance(header, dict) or "checksum" not in header:
        raise _damaged(path, "it has no checksum")
    if header.get("format") != FORMAT:
        raise DamagedRecord(
            f"{path}: record format {header.get('format')!r}, but this version reads {FORMAT}; update petl_study."
        )
    if header != seal(header):
        raise _damaged(path, "its checksum does not match its content")
    for name, written in header["files"].items():
        file = directory / name
        size = file.stat().st_size if file.is_file() else None
        if size != written["bytes"]:
            raise _damaged(file, "it is missing" if size is None else f"it has {size} bytes of {written['bytes']}")
    return Record(directory, header)


def seal(header: Mapping[str, Any]) -> dict[str, Any]:
    """`header` with the checksum of its own content."""
    content = {name: value for name, value in header.items() if name != "checksum"}
    return {**content, "checksum": fingerprint(content)}


# --------------------------------------------------------------------------------------------------------------- study


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
        path.mkdir(parents=True, exist_ok=True)
        temporary = path / f"{_TEMPORARY}study.json"
        temporary.write_text(json.dumps(seal({"format": FORMAT, "spec": dict(spec)}), indent=1, ensure_ascii=False))
        _sync(temporary)
        temporary.rename(file)
        _sync(path)
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
            content = json.loads(file.read_bytes())
            intact = content == seal(content)
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(file, f"it cannot be read ({error})", mend="copy it back") from None
        if not intact:
            raise _damaged(file, "its checksum does not match its content", mend="copy it back")
        return content["spec"]

    def directory(self, kind: Kind, spec: Mapping[str, Any]) -> Path:
        """Where the result that `spec` determines lies, or will."""
        return self.path / f"{kind}s" / safe_name(spec["task"]) / safe_name(spec["method"]) / key_of(spec)

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
        return self.path / "checkpoints" / directory.relative_to(self.path / "trials").with_suffix(".safetensors")

    def forget(self, spec: Mapping[str, Any]) -> None:
        """Remove the checkpoint of a trial that nothing goes on with, and the directories that held nothing else."""
        path = self.checkpoint(spec)
        path.unlink(missing_ok=True)
        for above in path.parents[:3]:
            with suppress(OSError):  # there is something in it, or it is gone
                above.rmdir()

    def records(self, kind: Kind, task: str | None = None) -> Iterator[Record]:
        """Every record of `kind`, in a fixed order; of one task only where `task` is given.

        Of a trial that is being trained on, what went furthest when it was looked for.
        """
        for directory in sorted((self.path / f"{kind}s").glob(f"{safe_name(task) if task else '*'}/*/*")):
            if not directory.name.startswith(_TEMPORARY):
                try:
                    yield read(directory)
                except DamagedRecord:
                    if directory.exists():  # else it was superseded meanwhile
                        raise

    def sweep(self) -> None:
        """Remove what interrupted writers of trials and runs left. Only while no one else runs this study."""
        for kind in ("trial", "run"):  # an ensemble may be in the making beside a running study
            for left in (self.path / f"{kind}s").glob(f"*/*/{_TEMPORARY}*"):
                shutil.rmtree(left)
        for file in (self.path / "checkpoints").glob(f"*/*/{_TEMPORARY}*"):
            file.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Write one file, whole or not at all; what was there before is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    temporary.write_bytes(content)
    _sync(temporary)
    temporary.rename(path)
    _sync(path.parent)


def furthest(records: Iterable[Record]) -> list[Record]:
    """`records` without those of stopped trials of which another of them is the same trial, trained on."""
    records = list(records)
    if not any(record.stopped for record in records):
        return records
    reached: dict[str, int] = {}
    for record in records:
        reached[_whole(record)] = max(reached.get(_whole(record), 0), record.epochs, 0 if record.stopped else 10**9)
    return [record for record in records if not record.stopped or record.epochs == reached[_whole(record)]]


def _whole(record: Record) -> str:
    """What tells whether two records are of one trial, however far it was trained."""
    return fingerprint({name: value for name, value in record.spec.items() if name != "until"})


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


def safe_name(name: str) -> str:
    """`name` as one reversible path component: ``peft:dora`` becomes ``peft%3Adora``; no name leaves its directory."""
    return quote(name, safe="").replace(".", "%2E")


# --------------------------------------------------------------------------------------------------------------- bytes


def _examples_table(examples: Mapping[str, Examples]) -> pa.Table:
    sets = np.repeat(list(examples), [len(labels) for _, labels in examples.values()])
    return pa.table(
        {
            "set": pa.array(sets).dictionary_encode(),
            "id": np.concatenate([ids for ids, _ in examples.values()]),
            "label": np.concatenate([labels for _, labels in examples.values()]),
        }
    )


def _require_aligned(logits: Mapping[str, NDArray[Any]], examples: Mapping[str, Examples]) -> None:
    if logits.keys() != examples.keys():
        raise ValueError(f"logits for {sorted(logits)} but examples for {sorted(examples)}")
    for name, (ids, labels) in examples.items():
        if not len(logits[name]) == len(ids) == len(labels):
            raise ValueError(f"set {name!r}: {len(logits[name])} rows of logits, {len(ids)} ids, {len(labels)} labels")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(directory: Path) -> None:
    """Remove a record: out of sight at once, then its files."""
    gone = directory.with_name(f"{_TEMPORARY}{directory.name}")
    directory.rename(gone)
    shutil.rmtree(gone)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, reason: str, mend: str = "") -> DamagedRecord:
    mend = mend or f"copy it back, or remove {path.parent} and run the study again: only this result is made anew"
    return DamagedRecord(f"{path} is damaged: {reason}. To mend it, {mend}.")
