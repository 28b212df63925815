"""Whole studies on the toy task: resuming, killing, engines, failures."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import analysis
import pictures
import toy
from petl_study import cli, diff, engines, places, report, runner, spec, status, store, training
from petl_study.errors import DamagedRecord, InputError
from petl_study.search import searches
from petl_study.store import KINDS, Record, Study, alone, key_of

STUDY = {"tasks": ["toy"], "seeds": [0]}


class Silent:
    def __init__(self) -> None:
        self.trained: list[str] = []
        self.empty: list[str] = []

    def started(self, trial) -> None:
        self.trained.append(trial.describe())

    def finished(self, trial, record, stored_before) -> None:
        pass

    def without_result(self, task, method, trials) -> None:
        self.empty.append(method)


def run(path: Path, engine: str = "serial", **changes: object) -> tuple[runner.Outcome, Silent]:
    listener = Silent()
    with engines.create(engine, workers=2, threads=1, device="cpu") as running:
        return runner.run(spec.resolve(toy.study(**changes)), path, running, listener), listener


def records(path: Path) -> dict[str, Record]:
    return {r.key: r for kind in KINDS for r in Study(path).records(kind)}


def assert_same_results(one: Path, other: Path) -> None:
    """The same records with the same numbers in them, bit for bit, times and memory aside."""
    a, b = records(one), records(other)
    assert a.keys() == b.keys()
    for key, record in a.items():
        for field in ("status", "spec", "results", "parameters", "curve", "selected"):
            assert record.header.get(field) == b[key].header.get(field)
        for name in record.sets:
            np.testing.assert_array_equal(record.logits(name), b[key].logits(name))
            for x, y in zip(record.examples(name), b[key].examples(name), strict=True):
                np.testing.assert_array_equal(x, y)
        if record.header["kind"] == "run":
            for name, tensor in record.tensors().items():
                np.testing.assert_array_equal(tensor, b[key].tensors()[name])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "study"
    outcome, _ = run(path)
    assert outcome == runner.Outcome(trained=8, stored_before=0, failed=0)
    return path


def test_a_run_holds_what_the_design_promises(finished):
    runs = list(Study(finished).records("run"))
    assert len(runs) == 4  # two methods, two seeds
    for record in runs:
        assert record.sets == ["test", "contrast:1", "contrast:2", "val"]
        assert record.logits("test").shape == (48, 3)
        np.testing.assert_array_equal(record.examples("test")[0], record.examples("contrast:1")[0])
        assert record.spec["protocol"]["name"] == "blink"
        assert len(record.spec["data"]) == len(record.spec["weights"]) == 64
        assert [row["epoch"] for row in record.header["curve"]] == [1, 2]
        assert record.header["cost"]["fit_seconds"] > 0
        assert 1e7 < record.header["cost"]["peak_memory_bytes"] < 3e9
        tensors = record.tensors()
        assert sum(t.size for t in tensors.values()) == sum(
            record.header["parameters"][part] for part in ("tuned", "classifier")
        )


def test_val_logits_of_a_run_are_its_selected_trials(finished):
    trials = {r.key: r for r in Study(finished).records("trial")}
    for record in Study(finished).records("run"):
        best = trials[record.header["selected"]["trial"]]
        np.testing.assert_array_equal(record.logits("val"), best.logits("val"))
        same_cell = [t for t in trials.values() if t.spec["method"] == record.spec["method"]]
        highest = max(t.header["results"]["val"]["accuracy"] for t in same_cell)
        assert best.header["results"]["val"]["accuracy"] == highest


def test_seeds_differ_and_are_recorded(finished):
    a, b = (r for r in Study(finished).records("run") if r.spec["method"] == "lora")
    assert {a.spec["seeds"]["init"], b.spec["seeds"]["init"]} == {0, 1}
    assert not np.array_equal(a.logits("test"), b.logits("test"))


def test_the_same_study_twice_is_the_same_bit_for_bit(finished, tmp_path):
    run(tmp_path / "again")
    assert_same_results(finished, tmp_path / "again")


def test_a_finished_study_is_not_trained_again(finished):
    outcome, listener = run(finished)
    assert outcome == runner.Outcome(trained=0, stored_before=8, failed=0)
    assert listener.trained == []


def test_a_study_can_be_moved_and_goes_on_there(finished, tmp_path):
    subprocess.run(["cp", "-r", finished, tmp_path / "moved"], check=True)
    lost = next(Study(tmp_path / "moved").records("run")).path
    subprocess.run(["rm", "-r", lost], check=True)
    outcome, _ = run(tmp_path / "moved")
    assert (outcome.trained, outcome.stored_before) == (1, 7)
    assert_same_results(finished, tmp_path / "moved")


def test_a_damaged_record_stops_the_study_and_removing_it_mends_it(finished, tmp_path):
    subprocess.run(["cp", "-r", finished, tmp_path / "hurt"], check=True)
    hurt = next(Study(tmp_path / "hurt").records("trial")).path
    (hurt / "record.json").write_text("{")
    with pytest.raises(DamagedRecord, match=f"{hurt}/record.json is damaged"):
        run(tmp_path / "hurt")
    subprocess.run(["rm", "-r", hurt], check=True)
    run(tmp_path / "hurt")
    assert_same_results(finished, tmp_path / "hurt")


def test_a_diverging_trial_is_recorded_and_the_study_goes_on(tmp_path, monkeypatch):
    fit = training.fit

    def sometimes(*args, lr, **kwargs):
        if lr > 1e-3:
            raise training.Diverged("the training loss became nan in epoch 1 of 2")
        return fit(*args, lr=lr, **kwargs)

    monkeypatch.setattr(training, "fit", sometimes)
    outcome, _ = run(tmp_path / "s", methods=["linear"], seeds=[0])
    assert (outcome.trained, outcome.failed) == (3, 1)
    [failed] = [r for r in Study(tmp_path / "s").records("trial") if r.failed]
    assert failed.header["error"] == {"kind": "Diverged", "message": "the training loss became nan in epoch 1 of 2"}
    [final] = Study(tmp_path / "s").records("run")
    assert (final.spec["lr"], final.header["selected"]["failed"]) == (1e-3, 1)
    assert run(tmp_path / "s", methods=["linear"], seeds=[0])[0].stored_before == 3


def test_a_rate_that_blows_up_really_ends_as_a_failure(tmp_path):
    search = {"lr": [1e30], "weight_decay": [0.0]}
    outcome, listener = run(tmp_path / "s", methods=["full"], search=search)
    assert (outcome.trained, outcome.failed) == (1, 1)
    assert listener.empty == ["full"]
    [failed] = Study(tmp_path / "s").records("trial")
    assert "became nan" in failed.header["error"]["message"]


def test_two_drivers_do_not_share_a_study(finished):
    with alone(finished), pytest.raises(InputError, match="is being run by another process"):
        run(finished)


def command(path: Path, study: Path, engine: str) -> list[str]:
    options = ["--out", str(path), "--engine", engine, "--workers", "2"]
    return [sys.executable, toy.__file__, "run", str(study), *options]


@pytest.fixture
def study_file(tmp_path) -> Path:
    file = tmp_path / "toys.yaml"
    file.write_text(yaml.safe_dump(toy.study()))
    return file


def test_processes_equal_the_serial_engine_bit_for_bit(finished, tmp_path, study_file):
    done = subprocess.run(command(tmp_path / "s", study_file, "processes"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_results(finished, tmp_path / "s")


FIVE_TIMES = [pytest.param(engine, 5, marks=pytest.mark.slow) for engine in ("serial", "processes")]


@pytest.mark.parametrize(("engine", "kills"), [("serial", 1), *FIVE_TIMES])
def test_killed_and_run_again_it_equals_the_uninterrupted_study(engine, kills, finished, tmp_path, study_file):
    """SIGKILL at random moments; whatever was finished is never trained again."""
    chance = random.Random(kills)
    path, kept = tmp_path / "s", {}
    for _ in range(kills):
        driver = subprocess.Popen(
            command(path, study_file, engine), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(list(path.rglob("record.json")))
        while len(list(path.rglob("record.json"))) <= before and driver.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        driver.kill()
        driver.wait()
        now = {file: file.stat().st_mtime_ns for file in path.rglob("record.json") if ".writing-" not in str(file)}
        assert kept.items() <= now.items()
        kept = now
    done = subprocess.run(command(path, study_file, engine), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {f: f.stat().st_mtime_ns for f in kept} == kept
    assert not list(path.rglob(".writing-*"))
    assert_same_results(finished, path)


def test_workers_end_with_a_killed_driver(tmp_path, study_file):
    driver = subprocess.Popen(command(tmp_path / "s", study_file, "processes"), stdout=subprocess.DEVNULL)
    while not list((tmp_path / "s").rglob("record.json")):
        assert driver.poll() is None
        time.sleep(0.02)
    children = _children(driver.pid)
    assert len(children) >= 2
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while (alive := [pid for pid in children if _running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


def _children(pid: int) -> list[str]:
    """Whichever of its threads started them."""
    return [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def _running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def under_way(tmp_path, study_file):
    """A study on two workers of which some results are stored, and of which ctrl-C is not ignored."""
    driver = subprocess.Popen(
        command(tmp_path / "s", study_file, "processes"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    while len(list((tmp_path / "s").rglob("record.json"))) < 3:  # two may be on their way to the driver
        assert driver.poll() is None
        time.sleep(0.02)
    yield driver
    driver.kill()
    driver.communicate()


def test_an_interrupt_stops_cleanly_and_says_what_is_kept(under_way):
    began = time.monotonic()
    under_way.send_signal(signal.SIGINT)
    _, errors = under_way.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert under_way.returncode == 130, errors
    assert re.search(r"interrupted: results stored and kept: [1-9]\d*; trials under way, dropped: [12]\. The", errors)
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_second_interrupt_leaves_at_once(under_way):
    """Also where the first is held up: here by a worker's end that is waited for in vain."""
    workers = [int(child) for child in _children(under_way.pid)]
    under_way.send_signal(signal.SIGSTOP)  # so that both arrive before it has ended
    for stop in (signal.SIGINT, signal.SIGCONT, signal.SIGINT):
        under_way.send_signal(stop)
        time.sleep(0.05)
    assert under_way.wait(5) in (-signal.SIGINT, 130)
    deadline = time.monotonic() + 10
    while (alive := [pid for pid in workers if _running(str(pid))]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


# ------------------------------------------------------------------------------------------------------- what may fail


def test_a_worker_that_is_killed_is_replaced_and_its_trial_tried_again(under_way, finished, tmp_path):
    for child in _children(under_way.pid):
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    output, errors = under_way.communicate(timeout=60)
    assert under_way.returncode == 0, errors
    assert "8 trained." in output
    assert_same_results(finished, tmp_path / "s")


class Faulty(engines.Engine):
    """The serial engine, but for trials of one method: what happens to them is given, a step a try."""

    def __init__(self, method: str, *steps: Exception | None) -> None:
        super().__init__(workers=1, threads=1, device="cpu")
        self.method, self.steps, self.serial = method, list(steps), engines.create("serial", **SERIAL)

    def submit(self, trial, directory):
        future = Future()
        if trial.method == self.method and self.steps and (error := self.steps.pop(0)):
            future.set_exception(error)
            return future
        return self.serial.submit(trial, directory)

    def __enter__(self):
        self.serial.__enter__()
        return self

    def __exit__(self, *how):
        self.serial.__exit__(*how)


SERIAL = {"workers": 1, "threads": 1, "device": "cpu"}


def run_on(engine: engines.Engine, path: Path, retry_failed: bool = False, **changes: object) -> runner.Outcome:
    with engine:
        return runner.run(spec.resolve(toy.study(**changes)), path, engine, Silent(), retry_failed=retry_failed)


def test_a_trial_is_given_up_when_its_worker_is_lost_three_times_and_the_study_goes_on(tmp_path):
    gone = engines.Lost("the worker that ran it was ended by SIGKILL")
    outcome = run_on(Faulty("bitfit", gone, gone, gone, None), tmp_path / "s")
    assert (outcome.trained, outcome.failed) == (8, 1)
    [failed] = [r for r in Study(tmp_path / "s").records("trial") if r.failed]
    assert failed.header["error"] == {"kind": "Lost", "message": str(gone)}
    [row] = analysis.load_failures(tmp_path / "s").to_dict("records")
    assert (row["method"], row["error"], row["reason"]) == ("bitfit", "Lost", str(gone))


def test_what_was_lost_once_is_tried_again(finished, tmp_path):
    gone = engines.Lost("the node has left")
    assert run_on(Faulty("bitfit", gone, None, gone), tmp_path / "s").failed == 0
    assert_same_results(finished, tmp_path / "s")


def test_failures_are_tried_again_on_demand_and_the_search_selects_again(finished, tmp_path):
    """The trial that is best by validation fails at first, so that another one is selected."""
    lora = [r for r in Study(finished).records("run") if r.spec["method"] == "lora"]
    best = lora[0].header["selected"]["trial"]
    asked = [trial for search in searches(spec.resolve(toy.study())) for trial in next(search)]
    keys = [key_of(trial.spec) for trial in asked if trial.method == "lora"]
    steps = [engines.TimedOut(60.0) if key == best else None for key in keys]
    assert run_on(Faulty("lora", *steps), tmp_path / "s").failed == 1
    runs = {r.key for r in Study(tmp_path / "s").records("run")}
    assert not {r.key for r in lora} & runs
    again = run_on(Faulty("none"), tmp_path / "s")
    assert (again.trained, again.failed) == (0, 1)  # not of itself
    again = run_on(Faulty("none"), tmp_path / "s", retry_failed=True)
    assert (again.trained, again.stored_before, again.failed) == (3, 5, 0)
    assert_same_results(finished, tmp_path / "s")


LONG = {
    "methods": ["linear"],
    "protocol": {"base": "embedded", "name": "long", "epochs": 100_000, "warmup_epochs": 0, "batch_size": 32},
    "search": {"trials": 1},
}


def require_timed_out(study: Path) -> None:
    [failed] = Study(study).records("trial")
    assert failed.header["error"]["kind"] == "TimedOut"
    assert "after 0.5 s" in failed.header["error"]["message"]


def test_a_trial_that_takes_too_long_is_ended(tmp_path):
    engine = engines.create("serial", timeout=0.5, **SERIAL)
    assert run_on(engine, tmp_path / "s", **LONG).failed == 1
    require_timed_out(tmp_path / "s")


@pytest.mark.slow
def test_a_worker_whose_trial_takes_too_long_is_ended(tmp_path):
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(toy.study(**LONG)))
    options = [*command(tmp_path / "s", file, "processes"), "--trial-timeout", "0.5"]
    done = subprocess.run(options, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "failed: it was ended after 0.5 s" in done.stdout
    require_timed_out(tmp_path / "s")


def _missing() -> None:
    {}["rank"]


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (lambda: np.ones(2**46), "OutOfMemory", "Unable to allocate 512. TiB"),
        (lambda: torch.ones(2**46), "OutOfMemory", "281474976710656 bytes"),
        (_missing, "KeyError", "'rank'"),
    ],
)
def test_what_stops_one_trial_is_recorded_and_the_study_goes_on(fault, kind, told, tmp_path, monkeypatch):
    fit = training.fit

    def sometimes(*args, lr, **kwargs):
        if lr > 1e-3:
            fault()
        return fit(*args, lr=lr, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", sometimes)
        outcome, _ = run(tmp_path / "s", methods=["linear"], seeds=[0])
    assert (outcome.trained, outcome.failed) == (3, 1)
    [failed] = [r for r in Study(tmp_path / "s").records("trial") if r.failed]
    reason = failed.header["error"]
    assert reason["kind"] == kind
    assert told in reason["message"]
    assert ("GB were held at the most" in reason["message"]) is (kind == "OutOfMemory")
    assert reason["where"][0].startswith("petl_study/execution.py:")
    assert any(frame.endswith("in sometimes") for frame in reason["where"])
    again = run_on(engines.create("serial", **SERIAL), tmp_path / "s", True, methods=["linear"], seeds=[0])
    assert (again.trained, again.failed) == (2, 0)  # the trial, and the run anew that may be another's now


def test_a_diverged_training_is_not_tried_again(tmp_path):
    search = {"lr": [1e30], "weight_decay": [0.0]}
    study = {"methods": ["full"], "search": search}
    run(tmp_path / "s", **study)
    again = run_on(engines.create("serial", **SERIAL), tmp_path / "s", True, **study)
    assert (again.trained, again.stored_before) == (0, 1)


def test_a_timeout_is_a_positive_number(tmp_path, study_file, capsys):
    assert cli.main(["run", str(study_file), "--out", str(tmp_path / "s"), "--trial-timeout", "-1"]) == 2
    assert capsys.readouterr().err == "petl-study: --trial-timeout must be a positive number of seconds, got -1.\n"


def test_a_study_keeps_what_it_says(tmp_path):
    kept = {"logits": "float16", "shifts": ["contrast:2"], "tensors": ["lora"]}
    run(tmp_path / "study", **STUDY, keep=kept)
    runs = {record.spec["method"]: record for record in Study(tmp_path / "study").records("run")}
    for record in runs.values():
        assert record.sets == ["test", "contrast:2", "val"]
        assert record.logits("test").dtype == np.float16
        result = record.header["results"]["test"]
        assert result == training.score(record.logits("test"), record.examples("test")[1])
    assert runs["lora"].tensors()
    with pytest.raises(InputError, match=r"has no tuned\.safetensors"):
        runs["bitfit"].tensors()


# -------------------------------------------------------------------------------------------------- successive halving

FOUR = {"base": "embedded", "name": "four", "epochs": 4, "warmup_epochs": 0, "batch_size": 32}
POINTS = {"lr": [1e-3, 1e-2], "weight_decay": [1e-4]}
HALVING = {**POINTS, "pruner": {"name": "halving", "factor": 2, "first": 1}}
SHORT = {"methods": ["bitfit", {"lora": {"rank": [1, 2]}}], "seeds": [0], "protocol": FOUR}


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("grid") / "study"
    run(path, **SHORT, search=POINTS)
    return path


@pytest.fixture(scope="module")
def halved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("halved") / "study"
    run(path, **SHORT, search=HALVING)
    return path


def test_a_stopped_trial_is_the_beginning_of_the_grids_and_a_whole_one_is_the_grids_own(grid, halved):
    def point(record: Record) -> tuple[object, ...]:
        return record.spec["method"], str(record.spec["hyperparameters"]), record.spec["lr"]

    of_grid = {point(record): record for record in Study(grid).records("trial")}
    found = list(Study(halved).records("trial"))
    assert sorted(r.epochs for r in found if r.spec["method"] == "bitfit") == [1, 4]  # of two one goes on, to the end
    assert sorted(r.epochs for r in found if r.spec["method"] == "lora") == [1, 1, 2, 4]
    for record in found:
        whole = of_grid[point(record)]
        assert record.header["curve"] == whole.header["curve"][: record.epochs]
        assert (record.key == whole.key) is not record.stopped
        if not record.stopped:
            assert record.header["results"] == whole.header["results"]
            np.testing.assert_array_equal(record.logits("val"), whole.logits("val"))


def test_a_finished_halving_holds_a_record_a_trial_and_no_checkpoint(halved):
    assert not (halved / "checkpoints").exists()
    assert len(list(Study(halved).records("trial"))) == 6
    assert not [path for path in halved.rglob("*") if "writing" in path.name]
    [lora] = [r for r in Study(halved).records("run") if r.spec["method"] == "lora"]
    assert {k: lora.header["selected"][k] for k in ("trials", "failed", "stopped")} == {
        "trials": 4,
        "failed": 0,
        "stopped": 3,
    }


def test_halving_is_the_same_on_several_workers_and_is_not_trained_again(halved, tmp_path):
    file = tmp_path / "halving.yaml"
    file.write_text(yaml.safe_dump(toy.study(**SHORT, search=HALVING)))
    done = subprocess.run(command(tmp_path / "s", file, "processes"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_results(halved, tmp_path / "s")
    outcome, listener = run(tmp_path / "s", **SHORT, search=HALVING)
    assert (outcome.trained, listener.trained) == (0, [])


@pytest.mark.parametrize(("where", "call"), [("write", 4), ("supersede", 4), ("forget", 3), ("supersede", 11)])
def test_halving_interrupted_anywhere_goes_on_to_the_same_end(where, call, halved, tmp_path, monkeypatch):
    """Before a record is written, and between it and what is cleared away after it."""
    calls, place = [], store if where == "write" else Study
    original = getattr(place, where)

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(place, where, failing)
        run(tmp_path / "s", **SHORT, search=HALVING)
    run(tmp_path / "s", **SHORT, search=HALVING)
    assert_same_results(halved, tmp_path / "s")
    assert not (tmp_path / "s" / "checkpoints").exists()


def test_a_grids_records_are_taken_for_halving_without_training(grid, tmp_path):
    for kind in ("trials", "runs"):
        subprocess.run(["mkdir", "-p", tmp_path / "s"], check=True)
        subprocess.run(["cp", "-r", grid / kind, tmp_path / "s" / kind], check=True)
    file = tmp_path / "s" / "study.json"
    Study.create(tmp_path / "new", spec.resolve(toy.study(**SHORT, search=HALVING)).model_dump())
    file.write_bytes((tmp_path / "new" / "study.json").read_bytes())
    _, listener = run(tmp_path / "s", **SHORT, search=HALVING)
    assert not [told for told in listener.trained if "seed=" not in told]


def test_a_trial_that_fails_between_rungs_is_gone_on_with_no_further(tmp_path, monkeypatch):
    ask = training.ask

    def sometimes(model, examples, *args):
        if len(examples.labels) == 32 and model.asked == 3:  # after the third epoch, on validation
            raise training.Diverged("3 of 32 examples have NaN or infinite logits")
        return ask(model, examples, *args)

    fit = training.fit

    def counting(model, *args, after_epoch, lr, **kwargs):
        def counted():
            model.asked += lr > 1e-3
            return after_epoch()

        model.asked = len(kwargs["start"].curve) if kwargs["start"] and lr > 1e-3 else 0
        return fit(model, *args, after_epoch=counted, lr=lr, **kwargs)

    monkeypatch.setattr(training, "ask", sometimes)
    monkeypatch.setattr(training, "fit", counting)
    only = {**SHORT, "methods": ["full"]}
    search = {"lr": [1e-2, 2e-2], "weight_decay": [1e-4], "pruner": {"name": "halving", "factor": 2, "first": 1}}
    outcome, listener = run(tmp_path / "s", **only, search=search)
    [failed] = [r for r in Study(tmp_path / "s").records("trial") if r.failed]
    assert (failed.epochs, outcome.failed, listener.empty) == (2, 1, ["full"])
    assert "until" not in failed.spec
    assert not (tmp_path / "s" / "checkpoints").exists()
    again, _ = run(tmp_path / "s", **only, search=search)
    assert again.trained == 0


def test_tables_tell_stopped_trials_from_finished_ones(grid, halved, capsys):
    trials, runs = analysis.load_trials(halved), analysis.load_runs(halved)
    stopped = trials[trials["status"] == "stopped"]
    assert sorted(stopped["epochs"]) == [1, 1, 1, 2]
    assert stopped["val_accuracy"].isna().all() and stopped["best_val_accuracy"].isna().all()
    assert stopped["stopped_val_accuracy"].notna().all()
    assert not stopped["selected"].any()
    short, whole = (
        next(r.path for r in Study(halved).records("trial") if r.stopped is is_stopped) for is_stopped in (True, False)
    )
    assert not diff.compare(short, whole).comparable
    finished = trials[trials["status"] == "finished"]
    assert set(finished["epochs"]) == {4}
    assert finished["val_accuracy"].notna().all()
    assert set(zip(runs["method"], runs["search_stopped"], strict=True)) == {("bitfit", 1), ("lora", 3)}
    with pytest.raises(InputError, match=r"4 of 6 trials were stopped early, .*: 'bitfit' on toy; 'lora' on toy\. Ask"):
        analysis.expected_best(trials)
    analysis.expected_best(trials[trials["status"] != "stopped"])
    analysis.costs(runs, trials)
    joined = analysis.load_trials([grid, halved])  # what the grid finished is finished
    assert joined.drop(columns="selected").equals(analysis.load_trials(grid).drop(columns="selected"))
    assert status.show(halved) == 0
    told = capsys.readouterr().out
    assert "2/2 (1 stopped) + 1/1" in told
    assert "4/4 (3 stopped) + 1/1" in told
    assert "Of 6 trials 4 are stopped at a rung, 0 of them in searches under way; trained: 13 epochs, 54% of" in told


def test_a_search_under_way_is_not_told_as_done(halved, tmp_path, capsys):
    subprocess.run(["cp", "-r", halved, tmp_path / "s"], check=True)
    subprocess.run(["rm", "-r", tmp_path / "s" / "runs" / "toy" / "lora"], check=True)
    assert status.show(tmp_path / "s") == 1
    told = capsys.readouterr().out
    assert "1/4 (3 stopped) + 0/1" in told
    assert "3 of them in searches under way" in told


def test_the_report_says_how_much_was_stopped(halved, tmp_path):
    page = report.build(halved, tmp_path / "report").read_text("utf-8")
    assert "4 of 6 search trials (halving, factor 2, first 1), which took 13 epochs of 24 (54%)" in page


# ----------------------------------------------------------------------------------- trainings that did not go smoothly


def test_a_loss_that_jumps_is_recorded_and_shown(tmp_path):
    """A rate of 1e5 ends with finite numbers that tell nothing of the way; logits that float16 cannot hold stay."""
    search = {"lr": [1e5], "weight_decay": [0.0]}
    outcome, _ = run(tmp_path / "s", methods=["linear"], seeds=[0], search=search, keep={"logits": "float16"})
    assert outcome == runner.Outcome(trained=2, stored_before=0, failed=0)
    found = analysis.load_unsteady(tmp_path / "s")
    curves = {record.key: record.header["curve"] for record in records(tmp_path / "s").values()}
    assert len(found)
    for row in found.itertuples():
        losses = [epoch["train_loss"] for epoch in curves[row.key]]
        assert (row.lowest_before, row.loss) == (losses[0], losses[1])
        assert row.loss > 2 * row.lowest_before
    [final] = [record for record in records(tmp_path / "s").values() if record.header["kind"] == "run"]
    assert final.logits("test").dtype == np.float32
    assert np.abs(final.logits("test")).max() > np.finfo(np.float16).max
    assert np.isfinite(final.header["results"]["test"]["loss"])
    page = report.build(tmp_path / "s").read_text("utf-8")
    assert "Trainings whose loss jumped to more than 2 times the lowest before" in page


def test_a_study_of_which_everything_failed_has_a_report(tmp_path):
    outcome, _ = run(tmp_path / "s", methods=["full"], seeds=[0], search={"lr": [1e30], "weight_decay": [0.0]})
    assert outcome == runner.Outcome(trained=1, stored_before=0, failed=1)
    page = report.build(tmp_path / "s").read_text("utf-8")
    assert "Failed: 1 of the search trials, 0 of the runs" in page
    assert "the training loss became nan in epoch 1 of 2" in page
    assert "Runs still missing: full on toy, seed 0" in page


def test_a_class_that_nothing_is_learned_of_is_recorded_and_shown(tmp_path):
    names = ("red", "green", "blue", "never")
    pictures.write_lists(tmp_path / "pets", {"train800.txt": 6, "val200.txt": 3, "test.txt": 3}, names=names)
    before = places.here()
    places.use(places.Places(data=tmp_path, cache_gb=0))
    try:
        resized = {"base": "embedded", "resize": "direct", "image_size": 32, "epochs": 1, "warmup_epochs": 0}
        search = {"lr": [1e-3], "weight_decay": [0.0]}
        run(tmp_path / "s", tasks=["folder:pets"], methods=["linear"], seeds=[0], search=search, protocol=resized)
    finally:
        places.use(before)
    for record in records(tmp_path / "s").values():
        assert record.header["task"]["untrained_classes"] == ["never"]
    page = report.build(tmp_path / "s").read_text("utf-8")
    assert "Nothing was learned of never of pets: no training image has that label" in page
