from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import toy
from petl_study import calibration, engines, forecast, frozen, progress, runner, spec, tasks
from petl_study.calibration import Cost, Work
from petl_study.cli import main
from petl_study.forecast import Stored
from petl_study.spec import StudySpec

TRAIN, VAL, TEST = 64, 32, 48  # the toy task's examples


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(calibration, "SECONDS", 0.0)
    frozen._kept.clear()
    yield
    frozen._kept.clear()


@pytest.fixture
def priced(monkeypatch):
    """Every image costs a second to train on and a hundredth to ask about; of `linear` the backbone a tenth."""

    def costs(study: StudySpec, classes: int, device: str) -> list[Cost]:
        def cost(name: str) -> Cost:
            before = Work(5.0, 0.1) if name == "linear" else None
            return Cost(name, {}, Work(30.0, 1.0), Work(10.0, 0.01), before, build_seconds=2.0, held_bytes=1000)

        return [cost(name) for name in [*(method.name for method in study.methods), "plain"]]

    monkeypatch.setattr(calibration, "costs", costs)


def told(workers: int = 1, stored: dict[tuple[str, str], Stored] | None = None, **changes: object) -> dict[str, dict]:
    made = forecast.forecast(spec.resolve(toy.study(**changes)), stored or {}, workers=workers, device="cpu")
    return {row["method"]: row for row in made["rows"]} | {"all": made}


def test_everything_that_a_study_trains_and_asks_is_counted(priced):
    of = told(keep={"shifts": ["contrast:1"]})
    trained = 2 * 2 * TRAIN + 2 * 2 * (TRAIN + VAL)  # two trials and two runs, two epochs each
    asked = 2 * 2 * VAL + 2 * 2 * TEST  # validation after every epoch; test and one shift set of each run
    row = of["lora"]
    assert (row["trials"], row["runs"], row["stored"]) == (2, 2, 0)
    assert row["images"] == trained + asked
    assert row["flops"] == 30 * trained + 10 * asked
    assert row["hours"] * 3600 == pytest.approx(trained + asked / 100 + 4 * 2.0)
    everything = of["all"]
    assert everything["worker_hours"] == pytest.approx(of["lora"]["hours"] + of["bitfit"]["hours"])
    assert everything["trials"] == 4
    assert everything["peak_bytes"] == everything["peak_bytes_of_a_worker"]


def test_a_frozen_backbone_is_counted_once_for_every_set(priced):
    of = told(methods=["linear"])
    row, sets = of["linear"], TRAIN + VAL + 3 * TEST
    passed = 2 * 2 * TRAIN + 2 * 2 * (TRAIN + VAL) + 2 * 2 * VAL + 2 * 3 * TEST
    assert row["images"] == sets
    assert row["saved_hours"] * 3600 == pytest.approx((passed - sets) * 0.1)


def test_a_search_that_stops_trials_early_is_counted_leg_by_leg(priced):
    pruner = {"name": "halving", "factor": 2, "first": 2}
    search = {"sampler": "grid", "lr": [1e-3, 3e-3, 1e-2, 3e-2], "weight_decay": [1e-4]}
    epochs = {"protocol": {**toy.study()["protocol"], "epochs": 4}, "methods": ["bitfit"], "keep": {"shifts": []}}
    whole = told(search=search, **epochs)["bitfit"]
    early = told(search={**search, "pruner": pruner}, **epochs)["bitfit"]
    assert whole["images"] - early["images"] == (4 * 4 - (4 * 2 + 2 * 2)) * (TRAIN + VAL)


def test_workers_without_a_core_of_their_own_save_no_time(priced, monkeypatch):
    monkeypatch.setattr(forecast.machine, "computer", lambda: {"cores": 3})
    monkeypatch.setattr(forecast.machine, "describe", lambda device: {})
    few, many = told(3)["all"], told(9)["all"]
    assert few["hours"] == pytest.approx(few["worker_hours"] / 3)
    assert many["hours"] == few["hours"]
    assert many["peak_bytes"] == 9 * many["peak_bytes_of_a_worker"]


def test_what_is_stored_is_left_out_and_a_search_with_runs_is_over(priced):
    begun = {("toy", "lora"): Stored(trials=1, epochs=2), ("toy", "bitfit"): Stored(trials=1, epochs=1, runs=1)}
    of, fresh = told(stored=begun), told()
    assert fresh["lora"]["images"] - of["lora"]["images"] == 2 * (TRAIN + VAL)
    assert of["bitfit"]["images"] == 2 * (TRAIN + VAL) + 3 * TEST
    assert (of["lora"]["stored"], of["bitfit"]["stored"]) == (1, 2)


def test_a_finished_study_has_nothing_left_and_another_is_refused(priced, tmp_path, capsys):
    file, out = tmp_path / "toys.yaml", tmp_path / "s"
    file.write_text(yaml.safe_dump(toy.study(methods=["bitfit"])))
    study = spec.load(file)
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        from rich.console import Console

        with (tmp_path / "log").open("w") as log, progress.create(study, Console(file=log), 1) as display:
            runner.run(study, out, engine, display)
    assert main(["plan", str(file), "--out", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["stored"], made["images"], made["hours"]) == (4, 0, 0)
    file.write_text(yaml.safe_dump(toy.study(methods=["ssf"])))
    assert main(["plan", str(file), "--out", str(out)]) == 2
    assert "belongs to another study" in capsys.readouterr().err


def test_the_zero_shot_run_asks_the_backbone_alone(priced):
    row = told(zero_shot=True, tasks=["digits"], head="zero_shot", keep={"shifts": []})["zero_shot"]
    assert (row["trials"], row["runs"]) == (0, 1)
    assert row["images"] == 797 + 200


# -------------------------------------------------------------------------------------------------------- calibration


def test_methods_are_measured_on_the_machine_and_the_rest_take_their_operations(capsys, tmp_path):
    file = tmp_path / "toys.yaml"
    file.write_text(yaml.safe_dump(toy.study(methods=["linear", "full", {"lora": {"rank": [1, 8, 32]}}, "bitfit"])))
    assert main(["plan", str(file), "--out", str(tmp_path / "s"), "--workers", "1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    rows = {row["method"]: row for row in made["rows"]}
    assert all(row["hours"] > 0 and row["flops"] > 0 for row in rows.values())
    assert rows["full"]["flops"] > rows["lora"]["flops"] > rows["bitfit"]["flops"] > rows["linear"]["flops"]
    assert rows["lora"]["hyperparameters"]["rank"] == 8
    assert rows["full"]["timed"]
    assert not rows["bitfit"]["timed"]
    assert rows["linear"]["saved_hours"] > 0
    assert rows["full"]["peak_bytes"] > rows["bitfit"]["peak_bytes"] > 1e8
    assert made["hours"] == made["worker_hours"]
    assert main(["plan", str(file), "--out", str(tmp_path / "s")]) == 0
    printed = capsys.readouterr().out
    assert "its operations" in printed
    assert "computed once for every set of images and worker" in printed


def test_operations_without_numbers_are_those_of_the_real_model():
    study = spec.resolve(toy.study(methods=["full", "linear", "selective"]))
    *found, plain = calibration.costs(study, 3, "cpu")
    full, linear, _ = found
    assert full.before is None
    assert linear.before is not None
    assert linear.before.flops + linear.ask.flops == pytest.approx(plain.ask.flops)
    assert linear.ask.flops == 2 * 96 * 3  # the classifier alone
    assert linear.whole.flops == pytest.approx(plain.ask.flops + linear.ask.flops)


def test_a_method_without_meaning_on_the_backbone_has_a_reason_and_no_hours():
    study = spec.resolve(
        toy.study(backbone="random:test_convnext", methods=["vpt_deep", "bitfit"], search={"trials": 1})
    )
    made = forecast.forecast(study, {}, workers=1, device="cpu")
    vpt, bitfit = made["rows"]
    assert vpt["reason"]
    assert vpt["hours"] == 0
    assert bitfit["hours"] > 0
    forecast._print(made)


def test_no_image_of_an_embedded_task_is_made_for_its_size(monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda _: pytest.fail("its images are made"))
    study = spec.resolve(toy.study(tasks=["letters"], keep={"shifts": ["noise", "corrupt:fog:3"]}))
    assert forecast.size_of(study, study.tasks[0]) == forecast.Sizes(800, 200, 1000 * (1 + 3 + 1))


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (["--workers", "0"], {}, "--workers must be a whole number of at least 1, got 0"),
        (["--device", "cuda:99"], {}, "device 'cuda:99' is not to be had here"),
        ([], {"tasks": ["folder:nowhere"]}, "there is no directory"),
        ([], {"methods": ["lorra"]}, "Did you mean 'lora'?"),
    ],
)
def test_wrong_input_is_one_message(tmp_path: Path, capsys, options, changes, message):
    file = tmp_path / "toys.yaml"
    file.write_text(yaml.safe_dump(toy.study(**changes)))
    assert main(["plan", str(file), *options]) == 2
    assert message in capsys.readouterr().err
