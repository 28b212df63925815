"""What records say, read back by the programs' own libraries from what is written for them."""

from __future__ import annotations

import builtins
import math
import shutil
import socket
from pathlib import Path

import optuna
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import studies
from petl_study import cli, export, store
from petl_study.errors import DamagedRecord, InputError
from petl_study.store import Record, Study

PROGRAMS = ("tensorboard", "mlflow", "optuna")
CURVE = [
    {"epoch": 1, "lr": 1e-3, "train_loss": 2.5, "val_accuracy": 0.25},
    {"epoch": 2, "lr": 5e-4, "train_loss": None, "val_accuracy": 0.0},  # as a record keeps what is NaN
    {"epoch": 3, "lr": 1e-4, "train_loss": 1.5, "val_accuracy": 0.5},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """One task, two methods, of which ``full`` has a trial and a run that failed; all curves are `CURVE`."""
    path = tmp_path_factory.mktemp("programs") / "study"
    failed = ("digits", "full", 1)
    studies.write_study(path, tasks=["digits"], methods=["full", "lora"], examples=40, failed=failed)
    for file in path.rglob("record.json"):
        header = {**store.read(file.parent).header, "curve": CURVE}
        file.write_bytes(store.canonical(store.seal(header)))
    return path


@pytest.fixture(scope="module")
def written(study, tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("written")
    for program in PROGRAMS:
        assert export.to(program, study, out / program) == 0
    return {program: out / program for program in PROGRAMS}


def records(study: Path, kind: str) -> list[Record]:
    return list(Study(study).records(kind))


def test_tensorboard_reads_curves_results_and_settings_back(study, written):
    for record in (*records(study, "trial"), *records(study, "run")):
        directory = written["tensorboard"] / Path(*record.path.parts[-4:])
        events = EventAccumulator(str(directory)).Reload()
        losses = [(one.step, one.value) for one in events.Scalars("train/loss")]
        assert [step for step, _ in losses] == [1, 2, 3]
        assert (losses[0][1], losses[2][1]) == (2.5, 1.5)
        assert math.isnan(losses[1][1])
        assert [one.value for one in events.Scalars("lr")] == pytest.approx([1e-3, 5e-4, 1e-4])
        for name, result in record.header["results"].items():
            tag = f"final/{name}/accuracy"
            assert [one.value for one in events.Scalars(tag)] == pytest.approx([result["accuracy"]])
        raw = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        told = plugin_data_pb2.HParamsPluginData.FromString(raw).session_start_info.hparams
        assert told["method"].string_value == record.spec["method"]
        assert told["lr"].number_value == record.spec["lr"]
        assert told["status"].string_value == record.header["status"]


def test_mlflow_reads_curves_results_and_settings_back(study, written):
    mlflow = SqlAlchemyStore(f"sqlite:///{written['mlflow'] / 'mlflow.db'}", "mlflow-artifacts:/")
    [experiment] = [one for one in mlflow.search_experiments() if one.name != "Default"]
    assert experiment.name == "synthetic: digits"
    runs = {run.data.params["key"]: run for run in mlflow.search_runs([experiment.experiment_id], "", 1)}
    stored = [*records(study, "trial"), *records(study, "run")]
    assert runs.keys() == {record.key for record in stored}
    for record in stored:
        run = runs[record.key]
        assert run.info.status == ("FAILED" if record.failed else "FINISHED")
        assert run.data.params["lr"] == str(record.spec["lr"])
        assert run.data.params["method"] == record.spec["method"]
        assert ("error" in run.data.tags) is record.failed
        history = mlflow.get_metric_history(run.info.run_id, "train/loss")
        assert [(one.step, one.value) for one in history if one.step != 2] == [(1, 2.5), (3, 1.5)]
        [missing] = [one.value for one in history if one.step == 2]
        assert math.isnan(missing)
        for name, result in record.header["results"].items():
            assert run.data.metrics[f"{name}/accuracy"] == result["accuracy"]
    mlflow.engine.dispose()


def test_optuna_reads_every_search_back(study, written):
    storage = JournalStorage(JournalFileBackend(str(written["optuna"] / "optuna.journal")))
    assert sorted(optuna.get_all_study_names(storage)) == ["digits full", "digits lora"]
    for method in ("full", "lora"):
        search = optuna.load_study(study_name=f"digits {method}", storage=storage)
        stored = {record.key: record for record in records(study, "trial") if record.spec["method"] == method}
        assert len(search.trials) == len(stored) == 3
        for trial in search.trials:
            record = stored[Path(trial.user_attrs["record"]).name]
            assert trial.params["lr"] == record.spec["lr"]
            assert trial.params.get("rank") == record.spec["hyperparameters"].get("rank")
            assert trial.intermediate_values == {1: 0.25, 2: 0.0, 3: 0.5}
            if record.failed:
                assert trial.state is TrialState.FAIL
                assert trial.user_attrs["error"].startswith("Diverged: the training loss became nan")
            else:
                assert trial.value == record.header["results"]["val"]["accuracy"]
        best = max(one.header["results"]["val"]["accuracy"] for one in stored.values() if not one.failed)
        assert search.best_value == best
        assert any(trial.user_attrs["selected"] for trial in search.trials)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_written_tells_of_this_machine(written, program):
    """TensorBoard names its files after the host, and MLflow keeps the directory that it was started in."""
    for path in written[program].rglob("*"):
        assert socket.gethostname() not in path.name.split(".")
        if path.is_file():
            content = path.read_bytes()
            assert not any(str(known).encode() in content for known in (Path.home() / "", Path.cwd(), written[program]))


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_run_is_exported_alone_and_again(study, program, tmp_path):
    run = next(record for record in records(study, "run") if not record.failed)
    for _ in range(2):  # what a former export wrote is replaced
        assert cli.main(["export", str(run.path), "--to", program, "--out", str(tmp_path)]) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1


def test_a_program_whose_package_is_missing_is_said_how_to_get(study, tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "mlflow":
            raise ImportError("No module named 'mlflow'")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(__import__("sys").modules, "petl_study.export.to_mlflow", raising=False)
    with pytest.raises(InputError, match=r"No module named 'mlflow'\): pip install 'petl_study\[mlflow\]'"):
        export.to("mlflow", study, tmp_path)


def test_wrong_input_is_named(study, tmp_path, capsys):
    with pytest.raises(InputError, match=r"unknown program 'wandb'; known: mlflow, optuna, tensorboard"):
        export.to("wandb", study, tmp_path)
    Study.create(tmp_path / "empty", {"name": "e"})
    with pytest.raises(InputError, match="has no trial and no run yet"):
        export.to("optuna", tmp_path / "empty", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written to .* Choose another --out"):
        export.to("optuna", study, tmp_path / "file")


def test_a_record_of_another_writer_is_named(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    file = next((tmp_path / "s" / "runs").rglob("record.json"))
    header = store.read(file.parent).header
    file.write_bytes(store.canonical(store.seal({**header, "spec": {"task": "digits", "method": "full"}})))
    with pytest.raises(DamagedRecord, match="is intact but not as this version writes it"):
        export.to("optuna", tmp_path / "s", tmp_path / "out")


def test_names_of_strangers_stay_in_the_directory(study, tmp_path):
    """Sets and metrics are named by whoever wrote the record; what a program makes files of must not lead elsewhere."""
    shutil.copytree(study, tmp_path / "s")
    file = next(f for f in (tmp_path / "s" / "runs").rglob("record.json") if not store.read(f.parent).failed)
    header = store.read(file.parent).header
    header["results"]["../../x"] = {"accuracy": 0.5}
    header["spec"]["hyperparameters"] = {"../../y": "=1+1", "a" * 300: [1, {"b": None}]}
    file.write_bytes(store.canonical(store.seal(header)))
    for program in PROGRAMS:
        export.to(program, file.parent, tmp_path / "out" / program)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s"]
