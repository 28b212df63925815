from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import analysis
from petl_study import ensemble
from petl_study.store import Study
from studies import KINDS, SEVERITIES, write_study


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("ensemble") / "study", tasks=("digits", "count"))


@pytest.fixture
def study(written, tmp_path):
    """A study of one's own, to store in: the directories of `written`, linked."""
    path = tmp_path / "study"
    path.mkdir()
    (path / "study.json").hardlink_to(written / "study.json")
    (path / "runs").symlink_to(written / "runs")
    return path


def run(*argv: object) -> int:
    return ensemble.main([str(a) for a in argv])


def test_it_prints_members_accuracies_and_gains_and_stores_the_ensemble(study, capsys):
    assert run(study, "--task", "digits", "--methods", "lora,ssf,bitfit", "--seeds", "0") == 0
    out = capsys.readouterr().out
    preds = analysis.load_predictions(study, "digits", methods=["lora", "ssf", "bitfit"], seeds=0)
    for name, accuracy in zip(preds.names, preds.accuracy, strict=True):
        assert re.search(rf"{name}\s.*{100 * accuracy:.2f}", out)
    scores = preds.logits.mean(axis=0)
    combined = (scores.argmax(axis=1) == preds.labels).mean()
    assert re.search(rf"ensemble\s.*{100 * combined:.2f}", out)
    gain = re.escape(f"{100 * (combined - preds.accuracy.max()):+.2f}")
    assert re.search(rf"test\s+{100 * combined:.2f}\s+{gain} \[", out)
    assert all(f"{kind}:{severity}" in out for kind in KINDS for severity in SEVERITIES)
    assert str(study / "ensembles" / "digits") in out


def test_the_stored_ensemble_is_loaded_by_analysis(study):
    run(study, "--task", "digits", "--methods", "lora,ssf", "--combine", "mean_prob")
    row = analysis.load_ensembles(study).iloc[0]
    assert (row["task"], row["group"], row["combine"], row["size"]) == ("digits", "natural", "mean_prob", 4)
    members = analysis.load_predictions(study, "digits", methods=["lora", "ssf"])
    assert row["best_member_accuracy"] == members.accuracy.max()
    assert [member["seed"] for member in row["members"]] == [0, 1, 0, 1]
    assert row["tuned_parameters"] == members.runs["tuned_parameters"].sum()
    for split in ("test", "val", "noise:2"):
        preds = analysis.load_predictions(study, "digits", split, methods=["ensemble:mean_prob", "ssf"])
        assert preds.names == ["ssf, seed 0", "ssf, seed 1", "ensemble:mean_prob"]
        members = analysis.load_predictions(study, "digits", split, methods=["lora", "ssf"])
        expected = analysis.ensemble(members, "mean_prob")
        assert np.allclose(np.exp(preds.logits[2]), expected, atol=1e-6)
        assert len(analysis.disagreement(preds)) == 3  # made under the same conditions as its members
    assert len(analysis.load_predictions(study, "digits")) == 10  # unasked for, it is no member of anything


def test_doing_it_again_changes_nothing(study, capsys):
    for methods in ("lora,ssf", "lora,ssf", "ssf,lora"):
        assert run(study, "--task", "digits", "--methods", methods) == 0
    [record] = Study.open(study).records("ensemble")
    printed = capsys.readouterr().out
    assert printed.count(str(record.path)) == 3


@pytest.mark.parametrize("combine", analysis.COMBINE)
def test_every_rule_stores_what_it_says(study, combine):
    assert run(study, "--task", "count", "--combine", combine) == 0
    [record] = Study.open(study).records("ensemble")
    logits, labels = record.logits("test"), record.examples("test")[1]
    assert record.header["results"]["test"]["accuracy"] == (logits.argmax(axis=1) == labels).mean()
    scores = analysis.ensemble(analysis.load_predictions(study, "count"), combine)
    assert (logits.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert record.spec["method"] == f"ensemble:{combine}"
    assert len(record.spec["members"]) == 9  # the failed run is no member


def test_nothing_is_stored_where_that_is_not_wanted(study, capsys):
    assert run(study, "--task", "digits", "--no-store") == 0
    assert "stored" not in capsys.readouterr().out
    assert not (study / "ensembles").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--task", "digit"], "unknown task 'digit'; known: count, digits. Did you mean 'digits'?"),
        (["--task", "digits", "--methods", "lorra,ssf"], "unknown method 'lorra'; known: bitfit"),
        (["--task", "digits", "--methods", "lora", "--seeds", "0"], "at least two members; got lora, seed 0"),
        (["--task", "digits", "--methods", "lora,lora"], "method 'lora' is listed twice"),
        (["--task", "digits", "--methods", "ensemble:vote,lora"], "is itself an ensemble"),
        (["--task", "digits", "--seeds", "5"], "no run has seed 5; seeds: 0, 1"),
        (["--task", "digits", "--combine", "mean"], "unknown combine 'mean'; known: mean_logit, mean_prob, vote"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(study, capsys, argv, message):
    assert run(study, *argv) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (study / "ensembles").exists()


@pytest.mark.parametrize(
    "argv", [["--task", "digits", "--methods", "lora,,ssf"], ["--task", "digits", "--seeds", "a"], []]
)
def test_an_option_that_is_no_list_is_a_usage_error(study, capsys, argv):
    with pytest.raises(SystemExit, match="2"):
        run(study, *argv)
    assert "usage:" in capsys.readouterr().err


def test_a_place_that_is_no_study_is_refused(tmp_path, capsys):
    assert run(tmp_path / "nowhere", "--task", "digits") == 2
    assert "is no study" in capsys.readouterr().err


def test_runs_of_two_protocols_in_one_directory_are_not_combined(tmp_path, capsys):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("lora",), seeds=(0,), failed=None)
    other = write_study(
        tmp_path / "other",
        tasks=("count",),
        methods=("ssf",),
        seeds=(0,),
        failed=None,
        protocol={"name": "long", "epochs": 100},
    )
    (other / "runs" / "count" / "ssf").rename(path / "runs" / "count" / "ssf")
    assert run(path, "--task", "count") == 2
    assert "different protocol are not averaged" in capsys.readouterr().err
    assert not (path / "ensembles").exists()


def test_as_a_module_a_damaged_record_is_a_message_without_a_traceback(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("lora", "ssf"), seeds=(0,), failed=None)
    [file, *_] = path.glob("runs/count/ssf/*/logits.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    done = subprocess.run(
        [sys.executable, "-m", "petl_study.ensemble", path, "--task", "count"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{file} is damaged: it has 100 bytes of" in done.stderr
    assert "Traceback" not in done.stderr
