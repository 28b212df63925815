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
        (["--task", "digits", "--combine", "mean"], "unknown combine 'mean'; known: geometric, greedy, mean_logit"),
        (["--task", "digits", "--combine", "greedy", "--fit", "test"], "--fit must be val, got 'test'"),
        (["--task", "digits", "--combine", "greedy", "--steps", "0"], "steps must be a whole number of at least 1"),
        (["--task", "digits", "--combine", "greedy", "--subsets", "2"], "greedy weighs its members by itself"),
        (["--task", "digits", "--subsets", "1"], "--subsets must be a whole number of at least 2, got 1"),
        (["--task", "digits", "--subsets", "11"], "sizes must run from 1 to 10"),
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


@pytest.mark.parametrize("combine", analysis.FITTED)
def test_a_fitted_rule_is_fitted_on_val_and_stores_what_it_says(study, combine, capsys):
    assert run(study, "--task", "digits", "--methods", "lora,ssf", "--combine", combine, "--steps", "4") == 0
    [record] = Study.open(study).records("ensemble")
    preds, val = (analysis.load_predictions(study, "digits", name, ["lora", "ssf"]) for name in ("test", "val"))
    fitted = analysis.fit_ensemble(val, combine, steps=4)
    assert np.allclose(np.exp(record.logits("test")), analysis.ensemble(preds, fitted), atol=1e-5)
    assert record.spec["fit"] == {"set": "val", **fitted.settings}
    printed = capsys.readouterr().out
    assert "accuracy on val is that of what was made for it" in printed
    if combine == "stacking":
        assert "weights" not in record.header
        assert "weight (%)" not in printed
    else:
        assert record.header["weights"] == pytest.approx(fitted.members["weight"].tolist())
        assert re.search(rf"lora, seed 0 .*{100 * record.header['weights'][0]:.2f}", printed)
    assert analysis.load_ensembles(study)["combine"].tolist() == [combine]


def test_how_a_rule_was_fitted_is_part_of_what_determines_the_result(study):
    for steps in (2, 3, 3):
        assert run(study, "--task", "digits", "--combine", "greedy", "--steps", steps) == 0
    assert len(list(Study.open(study).records("ensemble"))) == 2


def test_validation_chooses_the_members_and_test_is_shown(study, capsys):
    assert run(study, "--task", "digits", "--subsets", "2", "--combine", "mean_prob") == 0
    printed = capsys.readouterr().out
    test, val = (analysis.load_predictions(study, "digits", name) for name in ("test", "val"))
    table = analysis.subsets(test, val, up_to=2, at_least=2, combine="mean_prob")
    [record] = Study.open(study).records("ensemble")
    keys = test.runs["key"].iloc[list(table["members"].iloc[0])]
    assert sorted(record.spec["members"]) == sorted(keys)
    assert record.header["chosen"] == {"set": "val", "of": 45, "val_accuracy": table["val_accuracy"].iloc[0]}
    assert record.header["results"]["test"]["accuracy"] == table["test_accuracy"].iloc[0]
    assert "best on val of 45 subsets" in printed
    best_on_val = re.search(r"best member on val: .*\((.+)\)", printed).group(1)
    assert best_on_val in [test.names[row] for row in table["members"].iloc[0]]


def test_an_ensemble_of_methods_stands_beside_as_many_seeds_of_one(study, capsys):
    assert run(study, "--task", "digits", "--methods", "lora,ssf", "--seeds", "0") == 0
    printed = capsys.readouterr().out
    test = analysis.load_predictions(study, "digits")
    rows, scores = analysis.ensemble_of_seeds(test, 2)
    method = test.runs["method"].iloc[rows[0]]
    members = analysis.load_predictions(study, "digits", methods=["lora", "ssf"], seeds=0)
    together = analysis.ensemble(members).argmax(axis=1) == members.labels
    gain = 100 * (together.mean() - (scores.argmax(axis=1) == test.labels).mean())
    assert f"over 2 seeds of {method}" in printed
    assert re.search(rf"test .* {re.escape(f'{gain:+.2f}')} \[[^]]*\]\n", printed)
    assert re.search(rf"mid-p: .*over 2 seeds of {method} [0-9.<]", printed)


def test_where_no_method_has_as_many_seeds_that_is_said_and_smaller_ones_are_compared(study, capsys):
    assert run(study, "--task", "digits") == 0
    printed = capsys.readouterr().out
    assert "No other 10 seeds of one method are there" in printed
    row = analysis.ensemble_sizes(analysis.load_predictions(study, "digits"), rng=np.random.default_rng(0)).iloc[-1]
    assert f"ensembles of methods gain {100 * row['methods_gain']:+.2f}" in printed


def test_seeds_of_one_method_are_not_their_own_control(study, capsys):
    best = analysis.load_predictions(study, "digits")
    rows, _ = analysis.ensemble_of_seeds(best, 2)
    assert run(study, "--task", "digits", "--methods", best.runs["method"].iloc[rows[0]]) == 0
    assert "No other 2 seeds" in capsys.readouterr().out


def test_every_pair_is_shown_where_that_is_asked_for(study, capsys):
    assert run(study, "--task", "digits", "--methods", "lora,ssf", "--seeds", "0", "--pairs") == 0
    pair = analysis.diversity_gain(analysis.load_predictions(study, "digits", methods=["lora", "ssf"], seeds=0)).iloc[0]
    shown = [f"{100 * pair[name]:.2f}" for name in ("disagreement", "ensemble", "gain_over_better", "gain_over_mean")]
    assert re.search(r"lora 0, ssf 0\s+" + r"\s+".join(shown), capsys.readouterr().out)


def test_what_at_least_one_member_gets_right_is_shown(study, capsys):
    assert run(study, "--task", "digits", "--methods", "lora,ssf") == 0
    bound = analysis.oracle(analysis.load_predictions(study, "digits", methods=["lora", "ssf"])).mean()
    assert f"At least one member is right on {bound:.2%} of test" in capsys.readouterr().out
