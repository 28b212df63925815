"""A stored result, as it is read: the header at once, arrays when they are asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import DamagedRecord, InputError
from petl_study.store.files import damaged, digest
from petl_study.store.text import fingerprint, seal
from petl_study.strangers import arrays, plain_json
from petl_study.strangers.header import wrong

FORMAT = 1
Kind = Literal["trial", "run", "ensemble"]
KINDS: tuple[Kind, ...] = ("trial", "run", "ensemble")
ZERO_SHOT = "zero_shot"  # the method, in records, of the backbone that nothing was trained of
Examples = tuple[NDArray[np.str_], NDArray[np.int64]]  # ids (N,), labels (N,)


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
    def whole(self) -> str:
        """What tells whether two records are of one trial, however far it was trained."""
        return fingerprint({name: value for name, value in self.spec.items() if name != "until"})

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
        path = self._checked("logits.safetensors")
        with _as_written(path):
            return arrays.logits(path, name)

    def examples(self, name: str) -> Examples:
        """Ids and labels of set `name`, in the order of its logits: (N,) and (N,). Raises as `logits` does."""
        self._require_set(name)
        said, path = self._checked("logits.safetensors"), self._checked("examples.parquet")
        with _as_written(said):
            rows = {of_set: shape[0] for of_set, shape in arrays.shapes(said).items() if shape}
        with _as_written(path):
            return arrays.examples(path, name, rows)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tuned tensors and the classifier, by name. Raises as `logits` does."""
        path = self._checked("tuned.safetensors")
        with _as_written(path):
            return arrays.tensors(path)

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
            try:
                same = digest(path) == written["sha256"]
            except OSError as error:  # gone, or a bad sector
                raise damaged(path, f"it cannot be read ({error.strerror})") from None
            if not same:
                raise damaged(path, "its bytes are not those that were written")
            self._intact.add(file)
        return path


def intact(record: Record) -> Record:
    """`record`, all of whose files have been compared with what was written.

    Raises
    ------
    DamagedRecord
        One of them is missing, truncated or altered.
    """
    for file in record.header["files"]:
        record._checked(file)
    return record


def read(directory: Path) -> Record:
    """Open the record at `directory`.

    Raises
    ------
    DamagedRecord
        It is truncated, altered, or of a format this version does not know; the message says which and how to mend it.
    """
    path = directory / "record.json"
    try:
        header = plain_json.read(path)
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from None
    except plain_json.NoJson as error:
        raise damaged(path, f"it cannot be read ({error})") from None
    if not isinstance(header, dict) or "checksum" not in header:
        raise damaged(path, "it has no checksum")
    if header.get("format") != FORMAT:
        reason = f"record format {header.get('format')!r}, but this version reads {FORMAT}"
        raise DamagedRecord(f"{path}: {reason}; update petl_study.", reason)
    if header != seal(header):
        raise damaged(path, "its checksum does not match its content")
    if reason := wrong(header):
        raise _foreign(path, reason)
    for name, written in header["files"].items():
        size = _size(directory / name)
        if size != written["bytes"]:
            said = "it is missing" if size is None else f"it has {size} bytes of {written['bytes']}"
            raise damaged(directory / name, said)
    return Record(directory, header)


def _size(file: Path) -> int | None:
    """Bytes of a file that is no link to another, which might lie anywhere; None where there is none."""
    try:
        told = os.lstat(file)
    except OSError:
        return None
    return told.st_size if stat.S_ISREG(told.st_mode) else None


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """The file at `path` has the checksum that its record says; whether whoever wrote both wrote arrays is seen now."""
    try:
        yield
    except arrays.Unreadable as error:
        raise _foreign(path, str(error)) from None


def _foreign(path: Path, reason: str) -> DamagedRecord:
    return DamagedRecord(
        f"{path} is intact but not as this version writes it: {reason}. Read it with the version that wrote it, or move"
        f" {path.parent} away."
    )
