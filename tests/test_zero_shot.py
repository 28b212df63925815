"""The untouched backbone under its own classifier, as a run beside those of methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
import toy
from petl_study import backbones, cli, engines, runner, spec, tasks, training
from petl_study.errors import InputError
from petl_study.export import merged
from petl_study.inputs import Normalisation
from petl_study.report import evidence
from petl_study.store import Study
from petl_study.tasks import TaskInfo, _registry

NAMES = ("0", "1", "2")  # micro_vit has rows for these


@pytest.fixture(autouse=True, scope="module")
def numerals():
    """The toy task by names that micro_vit knows; other tests count the tasks there are."""
    info = TaskInfo("numerals", "natural", NAMES, "as toy, by other names", shift_sets=("contrast:1",))
    tasks.register(info)(toy.make)
    yield
    del _registry._TASKS["numerals"]


STUDY = {"tasks": ["numerals"], "methods": ["bitfit"], "search": {"lr": [1e-3], "weight_decay": [0.0]}, "seeds": [0]}


class Silent:
    def started(self, trial) -> None: ...

    def finished(self, trial, record, stored_before) -> None: ...

    def without_result(self, task, method, trials) -> None: ...


def run(path: Path, **changes: object) -> runner.Outcome:
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        return runner.run(spec.resolve(toy.study(**{**STUDY, **changes})), path, engine, Silent())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zero_shot") / "study"
    assert run(path, zero_shot=True, head="zero_shot") == runner.Outcome(trained=3)
    return path


def untrained(path: Path):
    [record] = [r for r in Study(path).records("run") if r.spec["method"] == "zero_shot"]
    return record


def test_the_run_is_the_backbone_under_its_own_rows(finished):
    record, task = untrained(finished), tasks.load("numerals")
    model = backbones.create("micro_vit", 3)
    weight, bias = backbones.zero_shot_head("micro_vit", NAMES)
    model.get_classifier().load_state_dict({"weight": weight, "bias": bias})
    assert record.sets == ["test", "contrast:1", "val"]
    known = backbones.info("micro_vit")
    for name in record.sets:
        said = training.predict(model.eval(), task.split(name), Normalisation(known.mean, known.std))
        np.testing.assert_array_equal(record.logits(name), said)
        np.testing.assert_array_equal(record.examples(name)[0], task.split(name).ids)


def test_nothing_is_tuned_searched_or_timed_as_training(finished):
    row = analysis.load_runs(finished).set_index("method").loc["zero_shot"]
    assert (row["tuned_parameters"], row["classifier_parameters"], row["train_examples"]) == (0, 0, 0)
    assert row["fit_seconds"] < 0.01
    assert (row["seed"], row["head"], row["hyperparameters"]) == (0, "zero_shot", {})
    assert np.isnan(row["search_trials"])
    assert (untrained(finished).spec["fit"], untrained(finished).header["curve"]) == ("none", [])
    assert "zero_shot" not in set(analysis.load_trials(finished)["method"])


def test_it_is_the_beginning_of_the_weight_space_path(finished):
    from analysis import weights

    curves = weights.wise_curves(
        weights.load_weights(finished, "numerals", "bitfit"), alphas=(0.0, 1.0), validate=False
    )
    start = curves[curves["alpha"] == 0.0].set_index("set")["accuracy"]
    mine = analysis.load_accuracies(finished).query("method == 'zero_shot'").set_index("set")["accuracy"]
    assert start.to_dict() == mine.drop("val").to_dict()
    assert curves.query("alpha == 1 and set == 'test'")["accuracy"].item() != start["test"]


def test_the_run_says_the_same_once_exported(finished, tmp_path):
    assert merged.run(untrained(finished).path, tmp_path / "model") == 0


def test_it_stands_beside_methods_whose_classifier_is_new(tmp_path, capsys):
    run(tmp_path / "s", zero_shot=["numerals"])
    assert set(evidence.gather(tmp_path / "s").accuracy["method"]) == {"bitfit", "zero_shot"}  # what a report shows
    assert cli.main(["status", str(tmp_path / "s")]) == 0
    told = capsys.readouterr().out
    assert "zero_shot" in told
    assert "3 of 3 finished" in told


def test_runs_that_start_from_different_classifiers_are_still_told_apart(finished):
    runs = analysis.load_runs(finished)
    other = runs[runs["method"] == "bitfit"].assign(head="new", method="lora")
    analysis.require_comparable(runs)
    with pytest.raises(InputError, match="different head"):
        analysis.require_comparable(pd.concat([runs, other]))


def test_the_flag_adds_it_to_a_study_that_was_begun_without(tmp_path, capsys):
    file, out = tmp_path / "toys.yaml", tmp_path / "s"
    file.write_text(yaml.safe_dump(toy.study(**STUDY)))
    command = ["run", str(file), "--out", str(out), "--engine", "serial"]
    assert cli.main(command) == 0
    begun = (out / "study.json").read_bytes()
    keys = {record.key for record in Study(out).records("run")}
    assert cli.main([*command, "--zero-shot"]) == 0
    assert "1 trained, 2 stored before" in capsys.readouterr().out
    assert (out / "study.json").read_bytes() == begun
    assert keys < {record.key for record in Study(out).records("run")}
    assert cli.main(["status", str(out)]) == 0
    assert "3 of 3 finished" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert "0 trained, 2 stored before" in capsys.readouterr().out


def test_a_study_that_differs_in_more_is_still_another(finished):
    with pytest.raises(InputError, match="belongs to another study, 'toys'; it differs in seeds, zero_shot"):
        run(finished, seeds=[1], head="zero_shot")


def test_a_study_that_does_not_ask_for_it_says_nothing_of_it():
    plain = spec.resolve(toy.study())
    assert "zero_shot" not in plain.model_dump()
    assert spec.resolve(plain.model_dump()) == plain
    asked = spec.resolve(toy.study(tasks=["numerals", "toy"], zero_shot=["numerals"]))
    assert asked.zero_shot_tasks == ["numerals"]
    assert spec.resolve(asked.model_dump()) == asked


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (True, r"task 'toy' cannot start .* \(zero_shot\): it has no rows for red, green, blue. Leave it out of"),
        (["toys"], r"zero_shot: unknown task 'toys'; known: toy"),
    ],
)
def test_tasks_that_cannot_be_asked_about_are_refused(asked, told):
    with pytest.raises(InputError, match=told):
        spec.resolve(toy.study(zero_shot=asked))
