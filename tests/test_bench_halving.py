"""What a pruner would have done to a finished grid is what it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import analysis
import toy
from petl_study.bench import halving
from petl_study.cli import main
from petl_study.store import Study

FOUR = {"base": "embedded", "name": "four", "epochs": 4, "warmup_epochs": 0, "batch_size": 32}


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("grid")
    search = {"lr": [1e-4, 1e-2], "weight_decay": [0.0]}
    study = toy.study(methods=["full", {"lora": {"rank": [1, 2]}}], seeds=[0], protocol=FOUR, search=search)
    (place / "grid.yaml").write_text(yaml.safe_dump(study))
    assert main(["run", str(place / "grid.yaml"), "--out", str(place / "study"), "--engine", "serial"]) == 0
    return place / "study"


def test_a_replay_trains_what_a_halved_study_trains_and_chooses_what_it_chooses(grid, tmp_path, capsys):
    pruned = halving._pruned(Study(grid), {"name": "halving", "factor": 2, "first": 1})
    told = halving.replay(Study(grid), pruned).set_index("method")
    (tmp_path / "halved.yaml").write_text(yaml.safe_dump(pruned.model_dump()))
    main(["run", str(tmp_path / "halved.yaml"), "--out", str(tmp_path / "s"), "--engine", "serial"])
    trials = analysis.load_trials(tmp_path / "s")
    assert told["epochs"].to_dict() == trials.groupby("method")["epochs"].sum().to_dict() == {"full": 5, "lora": 8}
    assert told["whole"].to_dict() == {"full": 8, "lora": 16}
    of_grid, of_halved = (
        {run.spec["method"]: run.header["selected"] for run in Study(path).records("run")}
        for path in (grid, tmp_path / "s")
    )
    for method in told.index:
        assert told["same"][method] == (of_grid[method]["trial"] == of_halved[method]["trial"])
        lost = of_grid[method]["val_accuracy"] - of_halved[method]["val_accuracy"]
        assert told["val_loss"][method] == pytest.approx(lost)

    command = ["bench", "halving", str(grid), "--first", "1", "--engine", "serial", "--out", str(tmp_path / "bench")]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0  # everything is there by now
    shown = capsys.readouterr().out
    assert "all 1 6 54.2%" in " ".join(shown.split())
    columns = ["method", "lr", "hyperparameters", "test_accuracy"]
    there, halved = (analysis.load_runs(tmp_path / name) for name in ("bench", "s"))
    assert there[columns].equals(halved[columns])
    lost = halving.compare(grid, tmp_path / "bench").set_index("method")["test_loss"]
    accuracies = (analysis.load_runs(path).set_index("method")["test_accuracy"] for path in (grid, tmp_path / "s"))
    expected = next(accuracies) - next(accuracies)
    assert lost.to_dict() == pytest.approx(expected.to_dict())


def test_the_interval_is_of_tasks_and_methods():
    table = pd.DataFrame([{"task": t, "method": m, "x": float(t == "b")} for t in "ab" for m in "cde"])
    assert halving.interval(table, "x") == (0.0, 1.0)  # of two tasks both may be the same
    assert halving.interval(table.assign(x=0.25), "x") == (0.25, 0.25)


def test_what_cannot_be_replayed_is_refused(grid, tmp_path, capsys):
    assert main(["bench", "halving", str(grid), "--first", "3"]) == 2
    assert "no trial can be stopped" in capsys.readouterr().err
    assert main(["bench", "halving", str(tmp_path), "--first", "1"]) == 2
    assert "is no study" in capsys.readouterr().err
    shutil.copytree(grid, tmp_path / "part")
    shutil.rmtree(next((tmp_path / "part" / "trials" / "toy" / "lora").iterdir()))
    command = ["bench", "halving", str(tmp_path / "part"), "--first", "1"]
    assert main(command) == 0
    assert "all 1 2 62.5%" in " ".join(capsys.readouterr().out.split())
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "1 of 2 searches have all their trials" in capsys.readouterr().err
