"""What differs between two runs, or two studies: `petl-study diff A B`, protocol first.

Exit code 0: they are comparable, as `analysis` takes them together, whatever else differs. 1: they are not. 2: wrong
input. Comparable are finished results of one kind, on one task, with one protocol, on the same data and test examples,
from the same weights and classifier. Methods, hyperparameters, seeds, machines and what was kept may differ.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.paired import accuracy_differences
from analysis.predictions import Predictions
from petl_study import store
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.store import Record, Study
from petl_study.strangers.foreign import foreign

LISTED = 20  # sets of examples that a table shows; all are in --json
_FINGERPRINT = 64  # characters, of which a table shows 12
_ZERO_SHOT = "zero_shot"  # trains nothing: it is asked under the classifier there is, and is no other's start

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One field that differs; None on the side that has no such field."""

    section: str
    field: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Comparison:
    """What `petl-study diff` found. `results` has a row a set of examples that both looked at."""

    a: str
    b: str
    differences: list[Difference]
    reasons: list[str]
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def comparable(self) -> bool:
        return not self.reasons


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (__doc__ or "").replace("`", "")
    parser.add_argument("a", type=Path, help="a run's directory, STUDY/runs/<task>/<method>/<key>, or a study's")
    parser.add_argument("b", type=Path, help="another")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what differs between `options.a` and `options.b`; 0 when they are comparable, 1 when not."""
    found = compare(options.a, options.b)
    if options.json:
        content = {**asdict(found), "comparable": found.comparable}
        print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))  # noqa: T201
    else:
        show(found, console())
    return 0 if found.comparable else 1


def compare(a: Path, b: Path) -> Comparison:
    """What differs between the runs, or the studies, at `a` and `b`.

    Raises
    ------
    InputError
        One of them is neither, or one is a run and the other a study.
    """
    is_study = [(path / "study.json").is_file() for path in (a, b)]
    if all(is_study):
        sections = []
        for path in (a, b):
            with foreign(path / "study.json"):
                sections.append(of_study(Study.open(path)))
        found = differences(*sections)
        return Comparison(str(a), str(b), found, _reasons(found, _decides_studies))
    if any(is_study):
        raise InputError(f"{a} and {b} are a study and no study: give two runs, or two studies.")
    one, other = _record(a), _record(b)
    sections = []
    for record in (one, other):
        with foreign(record.path / "record.json"):
            sections.append(of_run(record))
    found = differences(*sections)
    if _ZERO_SHOT in (one.spec["method"], other.spec["method"]):
        found = [each for each in found if each.section != "head"]
    failed = [f"{record.path} failed" for record in (one, other) if record.failed]
    return Comparison(str(a), str(b), found, failed + _reasons(found, _decides_runs), results(one, other))


# ------------------------------------------------------------------------------------------------------ what there is


def of_run(record: Record) -> Sections:
    """What determined a run, in the order in which differences matter."""
    spec, header = record.spec, record.header
    test = header.get("results", {}).get("test", {})
    return {
        "protocol": _flat(spec["protocol"]),
        "data": {
            "task": spec["task"],
            "fingerprint": spec["data"],
            **_flat({"source": spec.get("source")}),
            "group": header["task"]["group"],
            "classes": len(header["task"]["classes"]),
            "train_examples": header["task"].get("train_examples"),
            "test_examples": test.get("examples"),
            "skipped": len(header["task"].get("skipped", ())),
        },
        "backbone": {"name": spec["backbone"], "weights": spec["weights"]},
        "head": {"start": spec["head"]},
        "method": {
            "name": spec["method"],
            **spec["hyperparameters"],
            "lr": spec["lr"],
            "weight_decay": spec["weight_decay"],
        },
        "made": {"as": header["kind"], "epochs": "all" if spec.get("until") is None else spec["until"]},
        "seeds": dict(spec["seeds"]),
        "keep": _flat(spec.get("keep", {})),
        "environment": _flat(header["environment"]),
    }


def of_study(study: Study) -> Sections:
    """What a study compares and how, as resolved when it began; data and weights as its runs found them."""
    spec, runs = study.spec, list(study.records("run"))
    names = [task if isinstance(task, str) else task["name"] for task in spec["tasks"]]
    head, weights = spec["head"], {"weights": runs[0].spec["weights"]} if runs else {}
    return {
        "protocol": _flat(spec["protocol"]),
        "tasks": {"tasks": names},
        "data": {record.spec["task"]: record.spec["data"] for record in runs},
        "backbone": {"name": spec["backbone"], **weights},
        "head": {name: head.get(name, "new") if isinstance(head, dict) else head for name in names},
        "methods": {method["name"]: method["space"] for method in spec["methods"]},
        "search": _flat(spec["search"]),
        "seeds": {"seeds": spec["seeds"]},
        "keep": _flat(spec.get("keep", {})),
    }


def differences(a: Sections, b: Sections) -> list[Difference]:
    """The fields whose values are not equal, section by section."""
    return [
        Difference(section, name, a[section].get(name), b[section].get(name))
        for section in a
        for name in dict.fromkeys([*a[section], *b[section]])
        if a[section].get(name) != b[section].get(name)
    ]


def _reasons(found: list[Difference], decides: Callable[[Difference], bool]) -> list[str]:
    """Why two results are not comparable: a line a section."""
    deciding: dict[str, list[str]] = {}
    for each in filter(decides, found):
        deciding.setdefault(each.section, []).append(each.field)
    return [f"{section} ({', '.join(fields)})" for section, fields in deciding.items()]


def _decides_runs(each: Difference) -> bool:
    if each.section == "data":
        return each.field in ("task", "fingerprint", "test_examples")
    return each.section in ("protocol", "backbone", "head", "made")


def _decides_studies(each: Difference) -> bool:
    """Tasks of one study alone, and what has not run, are in nobody's way."""
    both = each.a is not None and each.b is not None
    return each.section == "protocol" or (each.section in ("data", "backbone", "head") and both)


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names; without what is None."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{above}{name}.")
        elif inner is not None:
            flat[f"{above}{name}"] = inner
    return flat


def _record(path: Path) -> Record:
    if not (path / "record.json").is_file():
        raise InputError(
            f"{path} is neither a run nor a study: it has no record.json and no study.json. Give two directories"
            " STUDY/runs/<task>/<method>/<key>, or those of two studies."
        )
    record = store.read(path)
    if record.header["kind"] == "ensemble":
        raise InputError(f"{path} is an ensemble of runs, which trained nothing; give two of its members.")
    return record


# ------------------------------------------------------------------------------------------------------------ results


def results(a: Record, b: Record) -> list[dict[str, Any]]:
    """How accurate both were, a row a set of examples that both looked at.

    Returns
    -------
    list of dict
        `set`; accuracies `a` and `b` (fractions) and `difference` (a minus b); where they looked at the same examples
        also `examples`, `low`, `high`, `level` (paired bootstrap) and `p_value` (McNemar's test, mid-p).
    """
    rows = []
    for name in [name for name in a.header.get("results", {}) if name in b.header.get("results", {})]:
        accuracies = [record.header["results"][name]["accuracy"] for record in (a, b)]
        row = {"set": name, "a": accuracies[0], "b": accuracies[1], "difference": accuracies[0] - accuracies[1]}
        rows.append(row | _paired(a, b, name))
    return rows


def _paired(a: Record, b: Record, name: str) -> dict[str, Any]:
    (ids, labels), (other_ids, other_labels) = a.examples(name), b.examples(name)
    logits = [a.logits(name), b.logits(name)]
    if not (np.array_equal(ids, other_ids) and np.array_equal(labels, other_labels)):
        return {}
    if logits[0].shape != logits[1].shape:
        return {}
    both = pd.DataFrame({"method": ["a", "b"], "seed": [0, 0]})
    preds = Predictions(labels, np.stack([each.astype(np.float64) for each in logits]), both)
    found = accuracy_differences(preds, rng=np.random.default_rng(0)).iloc[0]
    kept = {key: float(found[key]) for key in ("low", "high", "level")}
    return {"examples": len(labels), **kept, "p_value": float(found["mid_p"])}


# ------------------------------------------------------------------------------------------------------------ display


def show(found: Comparison, out: Console) -> None:
    """Print a comparison."""

    def line(text: str, style: str = "") -> None:
        out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    line(f"A  {found.a}\nB  {found.b}\n")
    if found.comparable:
        line("Comparable: one protocol, the same data, the same backbone and head.", "green")
    else:
        line(f"Not comparable, as they differ in {'; '.join(found.reasons)}.", "red")
    if found.differences:
        line("")
        out.print(_table(found.differences))
    else:
        line("Nothing that determines a result differs.")
    if found.results:
        line("")
        out.print(_accuracies(found.results[:LISTED]))
        if len(found.results) > LISTED:
            line(f"and {len(found.results) - LISTED} more sets: --json has them.")


def _table(found: list[Difference]) -> Table:
    table = Table("differs", "", "A", "B", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    before = ""
    for each in found:
        section = each.section if each.section != before else ""
        table.add_row(section, Text(each.field), Text(_text(each.a)), Text(_text(each.b)))
        before = each.section
    return table


def _accuracies(rows: list[dict[str, Any]]) -> Table:
    level = next((f"{row['level']:.0%} interval" for row in rows if "level" in row), "interval")
    table = Table("accuracy in %", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("A", "B", f"A - B [{level}]", "McNemar's p"):
        table.add_column(column, justify="right")
    for row in rows:
        difference, p = f"{100 * row['difference']:+.2f}", "other examples"
        if "low" in row:
            difference += f" [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
            p = f"{row['p_value']:.3g}"
        table.add_row(Text(row["set"]), f"{100 * row['a']:.2f}", f"{100 * row['b']:.2f}", Text(difference), p)
    return table


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case str() if len(value) == _FINGERPRINT:
            return value[:12]
        case list():
            return ", ".join(map(str, value))
        case dict():
            return ", ".join(f"{name} {values}" for name, values in value.items()) or "no hyperparameters"
    return str(value)
