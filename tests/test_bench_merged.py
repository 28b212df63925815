from __future__ import annotations

import json

import pytest

import analysis
from petl_study import methods
from petl_study.bench import merged
from petl_study.cli import main

SMALL = ["bench", "merged", "--backbone", "test_vit", "--batch", "2", "--rounds", "2"]


def test_every_method_is_measured_beside_and_merged_where_it_can_be(tmp_path, capsys):
    out = tmp_path / "merged.json"
    assert main([*SMALL, "--methods", "lora,adaptformer", "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    rows = made["rows"]
    assert [(row["method"], row["way"]) for row in rows] == [
        ("plain", "again"),
        ("lora", "beside"),
        ("lora", "merged"),
        ("adaptformer", "beside"),
    ]
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert all(row["seconds"] > 0 for row in rows)
    assert rows[1]["hyperparameters"]["rank"] == 8
    assert made["environment"]["device"] == "cpu"
    assert {"hardware", "threads", "versions"} <= set(made["environment"])
    printed = capsys.readouterr().out
    assert "adaptformer cannot be merged" in printed
    assert "median and quartiles of 2 pairs, test_vit, batches of 2" in printed


def test_what_is_written_is_what_the_analysis_reads(tmp_path):
    out = tmp_path / "merged.json"
    main([*SMALL, "--methods", "lora,adaptformer", "--out", str(out)])
    table = analysis.load_inference(out).set_index("method")
    assert table.loc["lora", ["before", "after", "before_seconds", "after_seconds"]].notna().all()
    assert table.loc["adaptformer", ["before", "after"]].notna().tolist() == [True, False]
    assert "adaptformer cannot be merged" in table.loc["adaptformer", "reason"]
    assert set(table["backbone"]) == {"test_vit"}


def test_all_methods_are_asked_for_by_that_word(monkeypatch):
    monkeypatch.setattr(methods, "list_methods", lambda: ["bitfit", "prefix_tuning", "vqt"])
    seen: list[str] = []
    monkeypatch.setattr(merged, "measure", lambda _, names, **__: seen.extend(names) or {})
    monkeypatch.setattr(merged, "show", lambda _: None)
    assert main([*SMALL, "--methods", "all"]) == 0
    assert seen == ["bitfit", "prefix_tuning", "vqt"]


def test_it_tells_which_method_is_next():
    told: list[str] = []
    merged.measure("test_vit", ["bitfit", "linear"], batch=1, rounds=1, device="cpu", tell=told.append)
    assert told == ["bitfit", "linear"]


def test_a_method_without_meaning_on_the_backbone_is_left_out_with_its_reason():
    made = merged.measure("random:test_convnext", ["vpt_deep", "bitfit"], batch=2, rounds=1, device="cpu")
    assert {row["method"] for row in made["rows"]} == {"plain", "bitfit"}
    assert [(row["method"], row["way"]) for row in made["left_out"]] == [("vpt_deep", "beside")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "lorra"], "Did you mean 'lora'?"),
        (["--rounds", "0"], "--rounds must be a whole number of at least 1, got 0"),
        (["--batch", "0"], "--batch must be a whole number of at least 1, got 0"),
        (["--device", "cuda:99"], "device 'cuda:99' is not to be had here"),
        (["--backbone", "nothing"], "unknown backbone 'nothing'"),
    ],
)
def test_wrong_input_is_one_message(options, message, capsys):
    assert main([*SMALL, *options]) == 2
    assert message in capsys.readouterr().err
