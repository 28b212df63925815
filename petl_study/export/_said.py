"""What a record says, as programs take it that know experiments, parameters and metrics: flat, by name, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petl_study import store
from petl_study.errors import InputError
from petl_study.store import KINDS, Record, Study, furthest
from petl_study.strangers.foreign import foreign

Scalar = bool | int | float | str

_ODD = re.compile(r"[^\w .:-]")  # in names of metrics; MLflow takes no more
_STEP = "epoch"


@dataclass(frozen=True)
class Said:
    """
    Attributes
    ----------
    place : str
        Of the record in its study, ``runs/digits/lora/KEY``.
    study, task, method : str
    search : dict
        The values between which the search of this method on this task chose, by hyperparameter; empty where the
        study's file is not beside the record.
    settings : dict
        What was chosen, `hyperparameters`, `lr` and `weight_decay`.
    made_under : dict
        Task, method, seed, protocol and what else tells records apart.
    results : dict
        ``test/accuracy`` and the like; NaN where the record has null, which is how it keeps NaN and infinity.
    curve : list of (epoch, values)
        ``train/loss`` and the like, by epoch from 1.
    written : float
        When its file was, in seconds since 1970: records have no date.
    seconds : float
        What it took.
    """

    record: Record
    place: str
    study: str
    task: str
    method: str
    search: dict[str, list[Scalar]]
    settings: dict[str, Scalar]
    made_under: dict[str, Scalar]
    results: dict[str, float]
    curve: list[tuple[int, dict[str, float]]]
    written: float
    seconds: float

    @property
    def kind(self) -> str:
        return str(self.record.header["kind"])

    @property
    def status(self) -> str:
        return str(self.record.header["status"])

    @property
    def error(self) -> str:
        """Why it failed, in a line."""
        error = self.record.header.get("error") or {}
        return f"{error.get('kind')}: {error.get('message')}" if error else ""


def said(path: Path) -> list[Said]:
    """What the trials and runs of the study at `path` say, or the one at `path`, in the order they were written in.

    Raises
    ------
    InputError
        There is no study and no trial or run, there is none in it yet, or a record is damaged.
    """
    found = [_of(record, spec) for record, spec in _records(path)]
    if not found:
        raise InputError(f"{path} has no trial and no run yet. Let `petl-study run` get further, then ask again.")
    return sorted(found, key=lambda one: (one.written, one.place))


def _records(path: Path) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    if (path / "record.json").exists():
        record = store.read(path)
        if record.header["kind"] == "ensemble":
            raise InputError(f"{path} is an ensemble, which was not trained; give a run, a trial or a study.")
        yield record, {}
        return
    study = Study.open(path)
    spec = study.spec
    for record in furthest(record for kind in KINDS[:2] for record in study.records(kind)):
        yield record, spec


def _of(record: Record, study: Mapping[str, Any]) -> Said:
    with foreign(record.path / "record.json"):
        return _read(record, study)


def _read(record: Record, study: Mapping[str, Any]) -> Said:
    header, spec = record.header, record.spec
    chosen = {**spec["hyperparameters"], "lr": spec["lr"], "weight_decay": spec["weight_decay"]}
    cost, parameters = header.get("cost") or {}, header.get("parameters") or {}
    results = {
        f"{_named(name)}/{_named(what)}": _number(value)
        for name, of_set in header["results"].items()
        for what, value in of_set.items()
        if what != "examples"
    }
    results |= {f"cost/{_named(name)}": _number(value) for name, value in cost.items()}
    results |= {f"parameters/{_named(name)}": _number(value) for name, value in parameters.items()}
    made_under: dict[str, Scalar] = {
        **{name: _scalar(spec[name]) for name in ("task", "method", "backbone", "head") if name in spec},
        "protocol": _scalar(spec["protocol"]["name"]),
        "seed": _scalar(spec["seeds"]["init"]),
        "kind": header["kind"],
        "status": header["status"],
        "study": _scalar(header["study"]["name"]),
        "key": record.key,
    }
    return Said(
        record=record,
        place="/".join(record.path.absolute().parts[-4:]),
        study=store.safe_name(str(header["study"]["name"])),
        task=str(spec["task"]),
        method=str(spec["method"]),
        search=_searched(study, str(spec["method"])),
        settings={_named(name): _scalar(value) for name, value in chosen.items()},
        made_under=made_under,
        results=results,
        curve=[_epoch(row) for row in header.get("curve") or []],
        written=(record.path / "record.json").stat().st_mtime,
        seconds=_seconds(cost),
    )


def _searched(study: Mapping[str, Any], method: str) -> dict[str, list[Scalar]]:
    """The values that the study's file lists; what a foreign file lists in another way is passed by."""
    search, known = study.get("search"), study.get("methods")
    spaces = [one["space"] for one in known or () if isinstance(one, dict) and one.get("name") == method]
    space = {**(spaces[0] if spaces and isinstance(spaces[0], dict) else {})}
    space |= {name: search[name] for name in ("lr", "weight_decay") if isinstance(search, dict) and name in search}
    return {
        _named(name): [_scalar(value) for value in values] for name, values in space.items() if isinstance(values, list)
    }


def _epoch(row: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """``train_loss`` is ``train/loss``, beside ``val/loss``; a learning rate has no such part."""
    values = {_named(name).replace("_", "/", 1): _number(value) for name, value in row.items() if name != _STEP}
    return int(row[_STEP]), values


def _seconds(cost: Mapping[str, Any]) -> float:
    spent = sum(float(cost.get(name) or 0.0) for name in ("fit_seconds", "predict_seconds"))
    return min(max(spent, 0.0), 1e9) if spent == spent else 0.0


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _scalar(value: Any) -> Scalar:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, ensure_ascii=False)


def _named(name: str) -> str:
    """`name` as part of a metric's name everywhere: no slash, and nothing that leads out of a directory."""
    return _ODD.sub("_", name).strip(". ")[:100] or "_"
