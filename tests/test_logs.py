from __future__ import annotations

from pathlib import Path

import pytest

import studies
from petl_study import cli, store
from petl_study.store import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return studies.write_study(
        tmp_path_factory.mktemp("logs") / "study",
        tasks=["digits"],
        methods=["lora"],
        failed=("digits", "lora", 1),
        examples=20,
    )


def logs(path: Path, capsys) -> str:
    assert cli.main(["logs", str(path)]) == 0
    return capsys.readouterr().out


def test_a_run_is_told_whole(study, capsys):
    [run] = [record for record in Study(study).records("run") if not record.failed]
    told = logs(run.path, capsys)
    lines = [line.split() for line in told.splitlines()]
    assert told.startswith(f"{run.path}: run, finished")
    assert ["hyperparameters.rank", "8"] in lines
    assert ["seeds.init", "0"] in lines
    assert ["environment"] in lines
    assert ["trial", run.header["selected"]["trial"]] in lines
    assert ["3", "0.001", "0.33333", "0.83333"] in lines  # epoch, lr, train loss and accuracy
    test = run.header["results"]["test"]
    assert ["test", f"{test['accuracy']:.5g}", f"{test['loss']:.5g}", "20"] in lines
    assert any(line[:1] == ["fit_seconds"] for line in lines)
    assert ["tuned", "12000"] in lines


def test_a_failure_is_told_with_its_reason_and_the_calls_that_led_to_it(study, capsys):
    [failed] = [record for record in Study(study).records("run") if record.failed]
    calls = ["petl_study/execution.py:7 in [bold]execute", "torch/nn/modules/module.py:9 in forward"]
    header = {**failed.header, "error": {**failed.header["error"], "where": calls}}
    (failed.path / "record.json").write_bytes(store.canonical(store.seal(header)))
    told = logs(failed.path, capsys)
    assert "run, failed" in told
    assert "Diverged: the training loss became nan in epoch 3 of 10" in told
    assert f"  {calls[0]}\n  {calls[1]}\n" in told


def test_images_left_out_are_named_and_of_many_the_first(study, capsys):
    run = next(record for record in Study(study).records("run"))
    skipped = {f"a/{i:02}.png": "it is no image" for i in range(25)}
    header = {**run.header, "task": {**run.header["task"], "skipped": skipped}}
    (run.path / "record.json").write_bytes(store.canonical(store.seal(header)))
    told = logs(run.path, capsys)
    assert "25 images left out, of which the first 20" in told
    assert "a/19.png" in told
    assert "a/20.png" not in told


def test_a_study_is_listed(study, capsys):
    told = logs(study, capsys)
    for kind in ("trial", "run"):
        for record in Study(study).records(kind):
            [line] = [line for line in told.splitlines() if record.key in line]
            assert line.split()[:4] == [kind, record.header["status"], "digits", "lora"]
    assert "5 records" in told


def test_what_is_neither_is_said(tmp_path, capsys):
    assert cli.main(["logs", str(tmp_path)]) == 2
    assert "is no record and no study" in capsys.readouterr().err


def test_text_of_strangers_cannot_drive_the_terminal(study, tmp_path, capsys):
    """A task whose name clears the screen, an error that sets the clipboard, and markup."""
    nasty = "\x1b[2J\x1b]52;c;cm0=\x07[red]x[/red]\u202e"
    run = next(record for record in Study(study).records("run"))
    header = {**run.header, "status": "failed", "error": {"kind": nasty, "message": nasty}}
    header["spec"] = {**header["spec"], "task": nasty, "hyperparameters": {nasty: nasty}}
    where = tmp_path / "s" / "runs" / "x" / "y" / "z"
    store.write(where, header)
    for told in (logs(where, capsys), f"{cli.main(['logs', str(tmp_path / nasty)])}{capsys.readouterr().err}"):
        assert not set(told) & {"\x1b", "\x07", "\u202e"}
        assert r"\x1b[2J" in told
        assert "[red]x[/red]" in told
