"""``petl-study logs``: what one record says, for people: what was run, on what, epoch by epoch, and why it failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from petl_study import store
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.store import KINDS, Record, Study
from petl_study.strangers.foreign import foreign

LISTED = 20  # images that were left out, by name
_NONE = "–"


def show(path: Path) -> int:
    """Print the record at `path`, or a line for every record of the study there.

    Raises
    ------
    InputError
        There is neither, or what is there is damaged.
    """
    if (path / "record.json").exists():
        record = store.read(path)
        with foreign(path / "record.json"):
            _record(record, console())
    elif (path / "study.json").exists():
        _list(Study.open(path), console())
    else:
        raise InputError(
            f"{path} is no record and no study: it has neither record.json nor study.json. Give"
            " STUDY/runs/<task>/<method>/<key>, or STUDY to list what it has."
        )
    return 0


# ---------------------------------------------------------------------------------------------------------------- study


def _list(study: Study, out: Console) -> None:
    table = _table("kind", "status", "task", "method", "what was tried", "epochs", "accuracy", "seconds", "record")
    for record in (record for kind in KINDS for record in study.records(kind)):
        header = record.header
        table.add_row(
            header["kind"],
            Text(header["status"], style="red" if record.failed else ""),
            Text(str(record.spec["task"])),
            Text(str(record.spec["method"])),
            Text(_tried(record.spec)),
            str(record.epochs or _NONE),
            _value(_looked_at(record).get("accuracy")),
            _value((header.get("cost") or {}).get("fit_seconds")),
            Text(str(record.path.relative_to(study.path))),
        )
    out.print(table)
    out.print(f"{table.row_count} records; `petl-study logs {study.path}/RECORD` shows one whole.", markup=False)


def _tried(spec: Mapping[str, Any]) -> str:
    values = dict(spec.get("hyperparameters") or {})
    values |= {name: spec[name] for name in ("lr", "weight_decay") if name in spec}
    if "init" in (seeds := spec.get("seeds") or {}) and spec.get("kind") == "run":
        values["seed"] = seeds["init"]
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _looked_at(record: Record) -> Mapping[str, Any]:
    """What came out on test, or of a trial on validation."""
    results = record.header["results"]
    return results.get("val" if record.header["kind"] == "trial" else "test") or {}


# --------------------------------------------------------------------------------------------------------------- record


def _record(record: Record, out: Console) -> None:
    header = record.header
    title = f"{record.path}: {header['kind']}, {header['status']}"
    out.print(Text(title, style="bold red" if record.failed else "bold"), soft_wrap=True)
    if header.get("error"):
        _failure(header["error"], out)
    _section(out, "what was run", _pairs({"study": (header.get("study") or {}).get("name"), **_flat(record.spec)}))
    if header.get("selected"):
        _section(out, "chosen by the search", _pairs(header["selected"]))
    task = header.get("task") or {}
    counted = {"group": task.get("group"), "classes": len(task.get("classes") or ())}
    _section(out, "task", _pairs({**counted, "train examples": task.get("train_examples")}))
    if skipped := task.get("skipped"):
        _skipped(skipped, out)
    _section(out, "environment", _pairs(_flat(header.get("environment") or {})))
    _section(out, "results", _rows([{"set": name, **of_set} for name, of_set in header["results"].items()]))
    _section(out, "epoch by epoch", _rows(header.get("curve") or []))
    _section(out, "parameters", _pairs(header.get("parameters") or {}))
    _section(out, "cost", _pairs(header.get("cost") or {}))
    _section(out, "files", _pairs({name: f"{of['bytes']:,} bytes" for name, of in header["files"].items()}))


def _failure(error: Mapping[str, Any], out: Console) -> None:
    out.print(Text(f"{error.get('kind')}: {error.get('message')}", style="red"), soft_wrap=True)
    further = {name: value for name, value in error.items() if name not in ("kind", "message", "where")}
    if further:
        out.print(_pairs(_flat(further)))
    for call in error.get("where") or ():
        out.print(Text(f"  {call}"), soft_wrap=True)


def _skipped(skipped: Mapping[str, str], out: Console) -> None:
    names = list(skipped)
    more = f", of which the first {LISTED}" if len(names) > LISTED else ""
    _section(out, f"{len(names)} images left out{more}", _pairs({name: skipped[name] for name in names[:LISTED]}))


# ---------------------------------------------------------------------------------------------------------------- parts


def _section(out: Console, title: str, table: Table) -> None:
    """`table` under a heading, if it says anything."""
    if table.row_count:
        out.print(f"\n[bold]{escape(title)}[/bold]", highlight=False)
        out.print(table)


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for name, value in values.items():
        table.add_row(Text(str(name)), Text(_value(value)))
    return table


def _rows(rows: list[dict[str, Any]]) -> Table:
    """A row a mapping, a column for everything that one of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = _table(*columns, right=columns[1:])
    for row in rows:
        table.add_row(*(Text(_value(row.get(name))) for name in columns))
    return table


def _table(*columns: str, right: Iterable[str] = ("epochs", "accuracy", "seconds")) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(str(column)), justify="right" if column in right else "left", overflow="fold")
    return table


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def _value(value: Any) -> str:
    """As people read it: five digits of a number, and of nothing a dash, which is what a record keeps of NaN."""
    if value is None or value == {}:
        return _NONE
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or _NONE
    return str(value)
