"""A result becomes a record: whole, synced, under its own name at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from numpy.typing import NDArray

from petl_study.store.files import TEMPORARY, digest, storing, sync
from petl_study.store.record import FORMAT, Examples, Record, intact, read
from petl_study.store.text import seal


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

    Raises
    ------
    InputError
        The disk is full, or may not be written to: nothing is left of what was begun.
    """
    _require_aligned(logits or {}, examples or {})
    return _place(directory, lambda temporary: _fill(temporary, header, logits or {}, examples or {}, tensors or {}))


def copy_in(directory: Path, files: Mapping[str, Iterable[bytes]]) -> Record:
    """Store a record that was written elsewhere under `directory`, whole and as it was written, or not at all.

    Parameters
    ----------
    directory : Path
        As for `write`.
    files : mapping
        The content of the record's files by name, in parts.

    Raises
    ------
    DamagedRecord
        What came is not what was written.
    InputError
        As for `write`.
    """

    def fill(temporary: Path) -> None:
        for name, parts in files.items():
            with (temporary / name).open("wb") as file:
                file.writelines(parts)
        intact(read(temporary))

    return _place(directory, fill)


def _place(directory: Path, fill: Callable[[Path], object]) -> Record:
    """Have `fill` write a record's files into a directory, which gets its name when they are on the disk."""
    with storing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=directory.parent))
        try:
            fill(temporary)
            for path in temporary.iterdir():
                path.chmod(0o644)  # safetensors writes 0600: a shared study has other readers
                sync(path)
            sync(temporary)
            temporary.chmod(0o755)  # mkdtemp's 0700 would hide a shared study from its other readers
            try:
                temporary.rename(directory)
            except OSError:
                if not (directory / "record.json").exists():
                    raise
            sync(directory.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return read(directory)


def _fill(
    temporary: Path,
    header: Mapping[str, Any],
    logits: Mapping[str, NDArray[np.floating[Any]]],
    examples: Mapping[str, Examples],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Write a record's files into `temporary`."""
    if logits:
        _save(logits, temporary / "logits.safetensors")
    if examples:
        pq.write_table(_examples_table(examples), temporary / "examples.parquet")
    if tensors:
        _save(tensors, temporary / "tuned.safetensors")
    files = {p.name: {"bytes": p.stat().st_size, "sha256": digest(p)} for p in sorted(temporary.iterdir())}
    sealed = seal({**header, "format": FORMAT, "files": files})
    (temporary / "record.json").write_text(json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False))


def _save(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


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
