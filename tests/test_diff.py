"""`petl-study diff`: what differs between two runs or studies, and whether they are comparable."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import studies
import toy
from analysis.comparable import require_comparable
from analysis.rows import read_row, run_row
from petl_study import diff, spec, store
from petl_study.cli import main
from petl_study.errors import InputError
from petl_study.store import Record, Study

SMALL = {"tasks": ["digits"], "methods": ["lora", "ssf"], "seeds": [0], "failed": None}


def runs(path: Path) -> dict[str, Record]:
    return {record.spec["method"]: record for record in Study.open(path).records("run")}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Record]:
    return runs(studies.write_study(tmp_path_factory.mktemp("made") / "a", **SMALL))


def altered(record: Record, where: Path, **changes: object) -> Record:
    """A copy of `record` with another specification."""
    kinds = {name: record.examples(name) for name in record.sets}
    header = {**record.header, "spec": {**record.spec, **changes}}
    return store.write(where, header, logits={name: record.logits(name) for name in kinds}, examples=kinds)


def test_two_methods_of_a_study_are_comparable_and_their_accuracies_are_paired(made, capsys):
    a, b = made["lora"], made["ssf"]
    assert main(["diff", str(a.path), str(b.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparable"]
    assert {(each["section"], each["field"]) for each in found["differences"]} >= {("method", "name")}
    assert not {each["section"] for each in found["differences"]} & {"protocol", "data", "backbone", "head", "seeds"}
    test = next(row for row in found["results"] if row["set"] == "test")
    accuracies = [record.header["results"]["test"]["accuracy"] for record in (a, b)]
    assert test["difference"] == pytest.approx(accuracies[0] - accuracies[1])
    assert test["low"] <= test["difference"] <= test["high"]
    assert 0 < test["p_value"] <= 1
    assert {row["set"] for row in found["results"]} == set(a.sets)


def test_a_run_beside_itself_differs_in_nothing(made, capsys):
    path = str(made["lora"].path)
    assert main(["diff", path, path]) == 0
    assert "Nothing that determines a result differs." in capsys.readouterr().out


def test_the_protocol_comes_first_and_decides(made, tmp_path, capsys):
    a = made["lora"]
    protocol = {**a.spec["protocol"], "normalisation": "none", "epochs": 99}
    b = altered(a, tmp_path / "b", protocol=protocol, seeds={**a.spec["seeds"], "init": 7}, data="0" * 64)
    assert main(["diff", str(a.path), str(b.path)]) == 1
    said = capsys.readouterr().out
    assert "Not comparable, as they differ in protocol (epochs, normalisation); data (fingerprint)." in said
    assert said.index("normalisation  ") < said.index("fingerprint  ") < said.index("init  ")


@pytest.mark.parametrize(
    ("changes", "comparable"),
    [
        ({"protocol": {**studies.PROTOCOL, "epochs": 11}}, False),
        ({"data": "0" * 64}, False),
        ({"backbone": "random:test_vit"}, False),
        ({"weights": "1" * 64}, False),
        ({"head": "zero_shot"}, False),
        ({"lr": 0.5, "seeds": {"init": 5, "order": 5, "sampling": 0}}, True),
        ({"hyperparameters": {"rank": 3}, "method": "other"}, True),
    ],
)
def test_what_is_comparable_is_what_analysis_takes_together(made, tmp_path, changes, comparable):
    a = made["lora"]
    b = altered(a, tmp_path / "b", **changes)
    assert diff.compare(a.path, b.path).comparable is comparable
    frame = pd.DataFrame([read_row(record, run_row) for record in (a, b)])
    if comparable:
        require_comparable(frame)
    else:
        with pytest.raises(InputError, match="petl-study diff"):
            require_comparable(frame)


def test_other_examples_are_not_paired(made, tmp_path):
    a = made["lora"]
    other = runs(studies.write_study(tmp_path / "other", **{**SMALL, "draw": 1}))["lora"]
    found = diff.compare(a.path, other.path)
    assert not found.comparable
    assert all("p_value" not in row for row in found.results)
    assert "other examples" in shown(found)


def shown(found: diff.Comparison) -> str:
    out = Console(width=200, record=True, file=io.StringIO())
    diff.show(found, out)
    return out.export_text()


def study(path: Path, **changes: object) -> Path:
    return Study.create(path, spec.resolve(toy.study(**changes)).model_dump()).path


def test_studies_are_compared_by_what_they_say(tmp_path, capsys):
    a = study(tmp_path / "a")
    assert main(["diff", str(a), str(study(tmp_path / "b", seeds=[3], methods=["ssf"]))]) == 0
    said = capsys.readouterr().out
    assert "lora" in said
    assert "seeds" in said
    other = study(tmp_path / "c", protocol={"base": "embedded", "epochs": 3})
    assert main(["diff", str(a), str(other), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["reasons"][0].startswith("protocol (name, epochs")
    tasks = study(tmp_path / "d", tasks=["digits"])
    assert diff.compare(a, tasks).comparable  # tasks that only one of them has are in nobody's way


def test_what_is_no_run_is_told(made, tmp_path, capsys):
    a = made["lora"].path
    assert main(["diff", str(a), str(tmp_path)]) == 2
    assert "is neither a run nor a study" in capsys.readouterr().err
    assert main(["diff", str(a), str(a.parents[3])]) == 2
    assert "a study and no study" in capsys.readouterr().err


def test_a_failed_run_has_nothing_to_compare(tmp_path):
    path = studies.write_study(tmp_path / "a", **{**SMALL, "failed": ("digits", "lora", 0)})
    found = diff.compare(runs(path)["lora"].path, runs(path)["ssf"].path)
    assert not found.comparable
    assert "failed" in found.reasons[0]
