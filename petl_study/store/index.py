"""What listing needs of every record of a study, in one file for each kind, so that a hundred thousand can be listed.

    STUDY/.index/<kind>s-<format>   a row a record: its place, its record.json's stamp, a summary, its header;
                                    a Parquet file, and after its end its SHA-256

The index is made of the records and is never the truth: it can be removed at any time, and whoever lists a study looks
at the directories and at every record.json's inode, size and times. A row counts only where these are what they were
when the record was read and compared with its checksum; every other record is read itself. So records may come, go,
change and move under any process. A copied study has inodes of its own, and ignores the index that came along.

What changes no time is not seen: bits that flip on the disk. They are found where bytes are read, which is in arrays
whenever they are opened, and in everything by `petl-study fsck`.

A listing that finds many records without a row saves the index anew, in one rename, where it may write; who has read
the one before goes on with that.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from petl_study.errors import DamagedRecord
from petl_study.store.files import TEMPORARY, damaged
from petl_study.store.record import FORMAT, Kind, Record, read
from petl_study.store.scan import Stamp, scan, stamp_of

DIRECTORY = ".index"
FEW = 1000  # records without a row that are not worth an index; in a large study one in fifty is not, either
GROUP = 1000  # rows whose headers are read together

_FORMAT = f"{FORMAT}.1"  # of records, and of the index: other versions have theirs beside it
_SUMMARY = [("task", pa.string()), ("method", pa.string()), ("status", pa.string()), ("epochs", pa.int32())]
_SUMMARY += [("whole", pa.string())]
_STAMP = [("inode", pa.uint64()), ("bytes", pa.int64()), ("modified", pa.int64()), ("changed", pa.int64())]
_SCHEMA = pa.schema([("place", pa.string()), *_STAMP, *_SUMMARY, ("header", pa.binary())])
_DIGEST = hashlib.sha256().digest_size

Found = Sequence[tuple[str, Stamp | None]]
Summary = tuple[str, str, str, int, str]  # task, method, status, epochs, whole


class Entry(NamedTuple):
    """A record as it is listed; `open` gives all of it."""

    study: Path
    kind: Kind
    place: str  # below the kind's directory: task/method/key, as directories are named
    task: str
    method: str
    status: str
    epochs: int
    whole: str  # as `Record.whole`
    texts: _Texts
    row: int

    @property
    def path(self) -> Path:
        return self.study / f"{self.kind}s" / self.place

    @property
    def key(self) -> str:
        return self.place.rpartition("/")[2]

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def stopped(self) -> bool:
        return self.status == "stopped"

    def open(self) -> Record:
        """The record; its header is what was compared with its checksum when it was read."""
        return Record(self.path, json.loads(self.texts[self.row]))


class _Texts(Protocol):
    """Headers as JSON, by row."""

    def __getitem__(self, row: int, /) -> bytes: ...


def entries(study: Path, kind: Kind, task: str | None = None) -> list[Entry]:
    """Every record of `kind` in the study at `study`, by task, method and key; of one task where `task` is given.

    Raises
    ------
    DamagedRecord
        One of them cannot be read.
    """
    root = study / f"{kind}s"
    found = list(scan(root, task))
    index = _Index.of(study, kind)
    rows = [index.row(*each) for each in found]
    # An index of one task would take the place of the one of all.
    if task is None and rows.count(None) > max(FEW, len(found) // 50) and _save(study, kind, found, index):
        index = _Index.of(study, kind)
        rows = [index.row(*each) for each in found]
    fresh: list[bytes] = []
    listed = []
    for (place, _), row in zip(found, rows, strict=True):
        if row is not None:
            listed.append(Entry(study, kind, place, *index.summaries[row], index, row))
        elif record := _read(root / place):
            listed.append(Entry(study, kind, place, *_summary(record), fresh, len(fresh)))
            fresh.append(_text(record))
    return listed


class _Index:
    """The rows of a stored index; none where there is none, or one that is torn, or not of this study or version."""

    def __init__(self, file: pq.ParquetFile | None = None) -> None:
        self._file = file
        self._group, self._texts = -1, list[bytes]()
        self._rows: dict[str, int] = {}
        self._stamps: list[Stamp] = []
        self.summaries: list[Summary] = []
        if file:  # an empty table would do, and have PyArrow load pandas
            table = file.read(columns=_SCHEMA.names[:-1])
            self._rows = {place: row for row, place in enumerate(table["place"].to_pylist())}
            self._stamps, self.summaries = _tuples(table, _STAMP), _tuples(table, _SUMMARY)

    @classmethod
    def of(cls, study: Path, kind: Kind) -> _Index:
        try:
            content = _path(study, kind).read_bytes()
        except OSError:
            return cls()
        if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
            return cls()
        file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)[: len(content) - _DIGEST]))
        return cls(file if file.schema_arrow.metadata[b"study"] == _identity(study) else None)

    def row(self, place: str, stamp: Stamp | None) -> int | None:
        """The row of the record at `place`, where its record.json is the one that the row was made of."""
        row = self._rows.get(place)
        return row if row is not None and self._stamps[row] == stamp else None

    def __getitem__(self, row: int) -> bytes:
        assert self._file
        size = self._file.metadata.row_group(0).num_rows
        if self._group != row // size:
            self._group = row // size
            self._texts = self._file.read_row_group(self._group, columns=["header"])["header"].to_pylist()
        return self._texts[row % size]


def _save(study: Path, kind: Kind, found: Found, index: _Index) -> bool:
    """Store the index of what was `found`, with what `index` has of it; False where that cannot be."""
    path = _path(study, kind)
    if not os.access(study, os.W_OK) or path.parent.is_symlink():  # else all would be read twice, or written elsewhere
        return False
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    except OSError:
        return False
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            schema = _SCHEMA.with_metadata({b"study": _identity(study)})
            rows = _rows(study / f"{kind}s", found, index)
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                while group := list(islice(rows, GROUP)):
                    writer.write_table(pa.Table.from_pylist(group, schema))
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
        temporary.chmod(0o644)
        temporary.rename(path)
    except (OSError, pa.ArrowException):  # a full disk, say
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _rows(root: Path, found: Found, index: _Index) -> Iterator[dict[str, Any]]:
    """Rows of the table, but for damaged records: whoever lists them reads them himself, and is told."""
    for place, stamp in found:
        row = index.row(place, stamp)
        if stamp is None:
            continue
        if row is not None:
            summary, text = index.summaries[row], index[row]
        else:
            try:
                record = read(root / place)
                summary, text = _summary(record), _text(record)
            except DamagedRecord:  # or superseded meanwhile
                continue
        yield dict(zip(_SCHEMA.names, (place, *stamp, *summary, text), strict=True))


def _tuples(table: pa.Table, columns: Sequence[tuple[str, Any]]) -> list[Any]:
    """The rows of some of its columns."""
    return list(zip(*(table[name].to_pylist() for name, _ in columns), strict=True))


def _path(study: Path, kind: Kind) -> Path:
    return study / DIRECTORY / f"{kind}s-{_FORMAT}"


def _identity(study: Path) -> bytes:
    """What a copy of the study does not have, so that its index need not even be looked into."""
    return repr(stamp_of(study / "study.json")).encode()


def _read(path: Path) -> Record | None:
    """The record at `path`; None if it was superseded since it was found."""
    try:
        return read(path)
    except DamagedRecord:
        if path.exists():
            raise
        return None


def _summary(record: Record) -> Summary:
    try:
        spec = record.spec
        return spec["task"], spec["method"], record.header["status"], record.epochs, record.whole
    except (KeyError, TypeError, AttributeError) as error:
        lacks = f"it is intact but not as this version writes it ({type(error).__name__}: {error})"
        raise damaged(record.path / "record.json", lacks) from None


def _text(record: Record) -> bytes:
    return json.dumps(record.header, ensure_ascii=False, separators=(",", ":")).encode()
