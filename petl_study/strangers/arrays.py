"""Safetensors and Parquet files that other people wrote, as NumPy arrays: no larger than what their bytes explain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import safetensors
from numpy.typing import NDArray
from safetensors import SafetensorError

MOST_COMPRESSED = 100  # times that a table's columns may be larger than its file
SMALL = 64 * 2**20  # bytes that a table may have in any case
LONGEST = 4096  # characters of an id: a path can be no longer
MOST_OF_IDS = 2**32  # bytes of them as an array, in which each takes as much as the longest

_CODECS = ("SNAPPY", "UNCOMPRESSED")  # neither makes gigabytes of kilobytes
_COLUMNS = {"set": pa.string(), "id": pa.string(), "label": pa.int64()}
# What a safetensors library raises on a file of another writer: its own error, and of a dtype that NumPy has not these.
_UNREADABLE = (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)


class Unreadable(ValueError):
    """A file that is not as this project writes it; the message says why, without the file's name."""


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in a safetensors file, by name; nothing is read but its header."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except _UNREADABLE as error:
        raise Unreadable(_reason(error)) from None


def logits(path: Path, name: str) -> NDArray[np.floating[Any]]:
    """The logits of set `name` in a safetensors file: (N, C) of finite or infinite floats.

    A tensor lies in the file with all of its numbers, or the library refuses it before anything is allocated.
    """
    found = tensor(path, name)
    if found.ndim != 2 or found.shape[1] == 0 or not np.issubdtype(found.dtype, np.floating):
        raise Unreadable(f"{name!r} is no table of logits: {found.dtype} of shape {found.shape}")
    return found


def tensor(path: Path, name: str) -> NDArray[Any]:
    """One tensor of a safetensors file."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.get_tensor(name)
    except _UNREADABLE as error:
        raise Unreadable(_reason(error)) from None


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a safetensors file."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except _UNREADABLE as error:
        raise Unreadable(_reason(error)) from None


def examples(path: Path, name: str, rows: Mapping[str, int]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Ids (N,) and labels (N,) of set `name` in a table of sets, ids and labels.

    Parameters
    ----------
    rows : mapping
        How many examples each set has, of logits that are there: a table that claims more is not read.
    """
    try:
        # As listed values: written out, one long id a million times would be a million long ids.
        with pq.ParquetFile(path, read_dictionary=["set", "id"]) as file:
            _require_plausible(file, path.stat().st_size, sum(rows.values()))
            table = file.read(columns=list(_COLUMNS), use_threads=False)
        for column in ("set", "id"):
            _require_short(table[column])
        found = table.filter(pc.equal(pc.cast(table["set"], pa.string()), name))
        return np.asarray(found["id"].to_pylist(), dtype=np.str_), found["label"].to_numpy()
    except (OSError, pa.ArrowException, KeyError, ValueError, OverflowError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable(_reason(error)) from None


def _require_plausible(file: pq.ParquetFile, size: int, rows: int) -> None:
    """Refuse, by what the file says of itself, what would be large once it is read."""
    told = file.metadata
    if told.num_rows != rows:
        raise Unreadable(f"it has {told.num_rows} rows, and the logits beside it {rows}")
    types = {column.name: _plain(column.type) for column in file.schema_arrow}
    if any(types.get(name) != type_ for name, type_ in _COLUMNS.items()):
        raise Unreadable(f"its columns are no set, id and label: {', '.join(map(str, types))[:200]}")
    parts = [told.row_group(i).column(j) for i in range(told.num_row_groups) for j in range(told.num_columns)]
    if strange := {part.compression for part in parts} - set(_CODECS):
        raise Unreadable(f"it is compressed with {', '.join(sorted(strange))}, which this project does not write")
    if sum(part.total_uncompressed_size for part in parts) > max(SMALL, MOST_COMPRESSED * size):
        raise Unreadable(f"its {size} bytes would take more than {MOST_COMPRESSED} times as many in memory")


def _plain(type_: pa.DataType) -> pa.DataType:
    """Of a column that lists its values once, the type of those."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _require_short(column: pa.ChunkedArray) -> None:
    """Refuse a column of text that is missing somewhere, or so long that an array of it as wide would be enormous."""
    listed = [chunk.dictionary for chunk in column.chunks if len(chunk)]
    longest = max((pc.max(pc.utf8_length(values)).as_py() or 0 for values in listed), default=0)
    if column.null_count or any(values.null_count for values in listed):
        raise Unreadable("an id is missing")
    if longest > LONGEST or 4 * longest * len(column) > MOST_OF_IDS:
        raise Unreadable(f"one of its {len(column)} ids has {longest} characters")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
