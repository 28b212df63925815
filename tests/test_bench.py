from __future__ import annotations

import json
from pathlib import Path

import pytest

from petl_study.bench.analysis import TOGETHER
from petl_study.bench.measured import measured
from petl_study.cli import main

SMALL = ["bench", "analysis", "--runs", "4", "--examples", "60", "--classes", "3"]


def test_every_step_is_measured_and_written_and_nothing_is_left_behind(tmp_path, capsys):
    (tmp_path / "place").mkdir()
    assert main([*SMALL, "--directory", str(tmp_path / "place"), "--out", str(tmp_path / "figures.json")]) == 0
    made = json.loads((tmp_path / "figures.json").read_text())
    assert made["size"] == {"runs": 4, "examples": 60, "classes": 3, "bytes": 4 * 60 * 3 * 2}
    steps = {step["name"]: step for step in made["steps"]}
    assert {"disagreement", "confidence overlap", "bootstrap of accuracies", "greedy selection"} <= set(steps)
    first = [step["seconds"] for name, step in steps.items() if name not in (TOGETHER, "greedy selection")]
    assert steps[TOGETHER]["seconds"] == pytest.approx(sum(first))
    assert all(step["seconds"] > 0 and step["peak_bytes"] > 1e7 for step in made["steps"])
    assert made["largest_difference_of_kappa"] < 1e-12
    assert list((tmp_path / "place").iterdir()) == []
    printed = capsys.readouterr().out
    assert all(name in printed for name in steps)


def test_what_the_plain_way_took_says_how_much_of_it_was_done(tmp_path):
    main([*SMALL, "--out", str(tmp_path / "figures.json")])
    naive = {row["name"]: row for row in json.loads((tmp_path / "figures.json").read_text())["naive"]}
    assert naive["disagreement"]["share"] == 1
    assert naive["confidence overlap"]["share"] == 1 / 4
    assert naive["bootstrap of accuracies"]["share"] == 20 / 1000


@pytest.mark.parametrize(("option", "value"), [("--runs", "1"), ("--examples", "0"), ("--classes", "1")])
def test_a_size_that_cannot_be_measured_is_refused(capsys, option, value):
    assert main(["bench", "analysis", option, value]) == 2
    assert f"{option} must be a whole number of at least" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux starts the count of a peak anew")
def test_memory_is_the_peak_of_the_work_and_not_what_came_before():
    with measured("large") as large:
        bytearray(300_000_000)
    with measured("small") as small:
        bytearray(1000)
    assert large.seconds > 0
    assert large.peak_bytes - small.peak_bytes > 250_000_000
