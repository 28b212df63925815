from __future__ import annotations

import json

from petl_study.cli import main


def test_every_method_is_measured_beside_and_merged_where_it_can_be(tmp_path, capsys):
    out = tmp_path / "merged.json"
    arguments = ["--backbone", "test_vit", "--methods", "lora,adaptformer", "--batch", "2", "--rounds", "2"]
    assert main(["bench", "merged", *arguments, "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["method"], row["way"]) for row in rows] == [
        ("plain", "again"),
        ("lora", "beside"),
        ("lora", "merged"),
        ("adaptformer", "beside"),
    ]
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert "adaptformer cannot be merged" in capsys.readouterr().out
