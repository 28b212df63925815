from __future__ import annotations

import shutil

import numpy as np
import pytest

import analysis
from petl_study.errors import DamagedRecord, InputError
from petl_study.store import Study, write
from studies import FAILED, GROUPS, KINDS, METHODS, SEVERITIES, SHIFTED, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("analysis") / "study")


def test_a_row_for_every_finished_run(study):
    runs = analysis.load_runs(study)
    assert len(runs) == len(GROUPS) * len(METHODS) * 2 - 1
    assert set(runs["task"]) == set(GROUPS)
    assert runs.groupby("task")["group"].first().to_dict() == GROUPS
    assert runs.groupby("method")["tuned_parameters"].first().to_dict() == METHODS
    failed = runs[(runs["task"] == FAILED[0]) & (runs["method"] == FAILED[1])]
    assert failed["seed"].tolist() == [0]


def test_a_run_says_what_the_search_chose_and_what_it_scored(study):
    runs, trials = analysis.load_runs(study), analysis.load_trials(study)
    lora = runs[(runs["task"] == "digits") & (runs["method"] == "lora")].iloc[0]
    assert lora["hyperparameters"] == {"rank": 8}
    searched = trials[(trials["task"] == "digits") & (trials["method"] == "lora")]
    assert len(searched) == lora["search_trials"] == 3
    assert lora["val_accuracy"] == searched["val_accuracy"].max()
    assert searched.loc[searched["selected"], "lr"].tolist() == [lora["lr"]]
    assert lora["bytes"] > 0
    assert lora["protocol"] == "synthetic"
    assert len(lora["protocol_fingerprint"]) == len(lora["data"]) == len(lora["weights"]) == 64


def test_the_stored_accuracy_is_that_of_the_stored_logits(study):
    preds = analysis.load_predictions(study, "digits")
    assert np.allclose(preds.accuracy, preds.runs["test_accuracy"].astype(float))


def test_failures_are_listed_with_their_reason_and_trials_keep_theirs(study):
    failures = analysis.load_failures(study)
    assert sorted(failures["kind"]) == ["run", "trial"]
    assert set(failures["method"]) == {FAILED[1]}
    assert failures["reason"].str.contains("nan in epoch 3").all()
    trials = analysis.load_trials(study)
    assert trials.loc[trials["status"] == "failed", "val_accuracy"].isna().all()


def test_accuracies_name_kind_and_severity_of_every_set(study):
    table = analysis.load_accuracies(study)
    digits = table[(table["task"] == "digits") & (table["method"] == "ssf") & (table["seed"] == 0)]
    assert len(digits) == 2 + len(KINDS) * len(SEVERITIES)
    assert digits.set_index("set").loc["noise:2", ["kind", "severity"]].tolist() == ["noise", 2]
    assert digits.set_index("set").loc["test", "severity"] == 0
    assert set(table.loc[table["severity"].fillna(0) > 0, "task"]) == set(SHIFTED)


def test_predictions_are_ordered_by_method_and_seed_and_carry_ids(study):
    preds = analysis.load_predictions(study, "digits", "noise:3", methods=["ssf", "lora"])
    assert preds.names == ["lora, seed 0", "lora, seed 1", "ssf, seed 0", "ssf, seed 1"]
    assert preds.ids[0] == "test/00000"
    assert len(analysis.load_predictions(study, "digits", seeds=1)) == len(METHODS)
    assert len(analysis.load_predictions(study, "digits", methods="lora", seeds=[0])) == 1


def test_several_studies_are_joined_and_the_same_result_is_taken_once(study, tmp_path):
    shutil.copytree(study, tmp_path / "copy")
    write_study(tmp_path / "other", name="other", seeds=(2,), failed=None)
    both = analysis.load_runs([study, str(tmp_path / "copy"), tmp_path / "other"])
    assert len(both) == len(analysis.load_runs(study)) + len(GROUPS) * len(METHODS)
    preds = analysis.load_predictions([study, tmp_path / "other"], "digits", methods="lora")
    assert preds.runs["seed"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "digit"}, "unknown task 'digit'; known: count, digits, letters, textures. Did you mean 'digits'?"),
        ({"task": "digits", "methods": "lorra"}, "task 'digits': unknown method 'lorra'; known: bitfit, .*'lora'"),
        ({"task": "digits", "split": "noise"}, "unknown split 'noise'; known: blur:1, .*, test, val"),
        ({"task": "digits", "seeds": 7}, "no run has seed 7; seeds: 0, 1"),
        ({"task": "count", "methods": "full", "seeds": 1}, "no finished run of full has seed 1"),
    ],
)
def test_asking_for_what_is_not_there_shows_what_is(study, asked, message):
    with pytest.raises(InputError, match=message):
        analysis.load_predictions(study, **asked)


def test_a_directory_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no study: it has no study\.json"):
        analysis.load_runs(tmp_path)
    with pytest.raises(InputError, match="no study was given"):
        analysis.load_runs([])


def test_a_study_without_results_gives_empty_frames_with_all_columns(tmp_path, study):
    write_study(tmp_path / "empty", tasks=())
    for load in (
        analysis.load_runs,
        analysis.load_trials,
        analysis.load_failures,
        analysis.load_accuracies,
        analysis.load_ensembles,
    ):
        empty = load(tmp_path / "empty")
        assert len(empty) == 0
        assert list(empty.columns) == list(load(study).columns)


def edited(study, task, method, *, ids=None, keep=None, sets=None):
    """Store one run of `study` again, as a stranger's tool might have written it."""
    [record, *_] = [r for r in Study.open(study).records("run", task) if r.spec["method"] == method]
    logits = {name: record.logits(name)[:keep] for name in record.sets if sets is None or name in sets}
    seen = {name: tuple(a[:keep] for a in record.examples(name)) for name in logits}
    if ids:
        seen = {name: (np.char.add(ids, names), labels) for name, (names, labels) in seen.items()}
    results = {name: result for name, result in record.header["results"].items() if name in logits}
    shutil.rmtree(record.path)
    write(record.path, record.header | {"results": results}, logits=logits, examples=seen)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"keep": 40}, r"bitfit, seed \d and lora.* cannot be put together: they have 200 examples .* and 40"),
        ({"ids": "other/"}, r"different examples \(200 of 200 ids differ; number 0 is 'test/00000' and 'other/test"),
        ({"sets": ["val"]}, r"1 of 10 runs have no logits for 'test': lora, seed \d"),
    ],
)
def test_runs_that_looked_at_different_examples_are_not_put_together(tmp_path, edit, message):
    path = write_study(tmp_path / "study", tasks=("digits",))
    edited(path, "digits", "lora", **edit)
    with pytest.raises(InputError, match=message):
        analysis.load_predictions(path, "digits")
    assert len(analysis.load_predictions(path, "digits", methods=["ssf", "full"])) == 4  # the rest is untouched


def test_a_damaged_record_is_named_with_the_remedy(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("lora",), failed=None)
    [file, *_] = path.glob("runs/*/*/*/logits.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedRecord, match=r"logits\.safetensors is damaged.*To mend it"):
        analysis.load_predictions(path, "count")


def test_an_intact_record_of_another_make_is_refused(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("lora",), seeds=(0,), failed=None)
    [record] = Study.open(path).records("run")
    shutil.rmtree(record.path)
    write(record.path, {name: value for name, value in record.header.items() if name != "parameters"} | {"cost": None})
    with pytest.raises(DamagedRecord, match="intact but not as this version writes it"):
        analysis.load_runs(path)
