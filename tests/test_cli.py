from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import toy
from petl_study import cli, engines


@pytest.fixture
def run(tmp_path, capsys):
    def call(*arguments: object, **changes: object) -> tuple[int, str, str]:
        file = tmp_path / "toys.yaml"
        file.write_text(yaml.safe_dump(toy.study(**changes)))
        code = cli.main([str(file) if a == "STUDY" else str(a) for a in arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_run_then_status(run, tmp_path):
    code, out, err = run("run", "STUDY", "--out", tmp_path / "s", "--engine", "serial", methods=["linear"])
    assert (code, err) == (0, "")
    assert "[4/4" in out
    assert "4 trained." in out
    code, out, err = run("run", "STUDY", "--out", tmp_path / "s", "--engine", "serial", methods=["linear"])
    assert "0 trained, 4 stored before." in out
    code, out, err = run("status", tmp_path / "s")
    assert (code, err) == (0, "")
    assert "2/2 + 2/2" in out
    assert "4 of 4 finished, 0 failed." in out


def test_status_of_an_unfinished_or_failed_study_is_not_zero(run, tmp_path):
    search = {"lr": [1e30, 1e-3], "weight_decay": [0.0]}
    code, out, _ = run("run", "STUDY", "--out", tmp_path / "s", "--engine", "serial", methods=["full"], search=search)
    assert code == 1
    assert "1 failed" in out
    code, out, _ = run("status", tmp_path / "s")
    assert code == 1
    assert "1/2 (1 failed) + 2/2" in out
    assert "became nan in epoch" in out


def test_lists_show_everything_there_is(run):
    from petl_study import methods

    code, out, _ = run("methods")
    assert code == 0
    assert all(name in out for name in methods.list_methods())
    assert "rank {1, 8, 16, 32}" in out
    _, out, _ = run("tasks")
    assert all(name in out for name in ("digits", "letters", "textures", "cells", "count", "orientation"))
    assert "micro_vit" in run("backbones")[1]


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["run", "STUDY"], {"tasks": ["digitss"]}, "unknown task 'digitss'; known:"),
        (["run", "STUDY"], {"methods": ["lorra"]}, "Did you mean 'lora'?"),
        (["run", "STUDY"], {"color": "red"}, "top level: unknown key 'color'"),
        (["run", "STUDY", "--engine", "threads"], {}, "unknown engine 'threads'; known: processes, ray, serial"),
        (["run", "STUDY", "--workers", "0"], {}, "--workers must be a whole number of at least 1, got 0"),
        (["run", "STUDY", "--device", "cuda:99"], {}, "device 'cuda:99' is not to be had here"),
        (["run", "nowhere.yaml"], {}, "unknown study 'nowhere.yaml'; known: "),
        (["status", "nowhere"], {}, "nowhere is no study: it has no study.json"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(run, tmp_path, arguments, changes, message):
    out = ["--out", tmp_path / "s"] if arguments[0] == "run" else []
    code, _, err = run(*arguments, *out, **changes)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "s").exists()


def test_another_studys_directory_is_refused_and_left_alone(run, tmp_path):
    serial = ["--out", tmp_path / "s", "--engine", "serial"]
    assert run("run", "STUDY", *serial, methods=["linear"], seeds=[0])[0] == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*")}
    code, _, err = run("run", "STUDY", *serial, methods=["linear"], seeds=[1])
    assert code == 2
    assert "belongs to another study, 'toys'; it differs in seeds" in err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*")} == before


def test_help_imports_nothing_heavy():
    code = "import sys; from petl_study.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "quickstart" in done.stdout


def test_module_and_script_are_the_same_command():
    by_module = subprocess.run(
        [sys.executable, "-m", "petl_study", "--version"], capture_output=True, text=True, check=True
    )
    script = Path(sys.executable).parent / "petl-study"
    assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == by_module.stdout


def test_a_closed_pipe_is_no_crash():
    shell = f"{sys.executable} -m petl_study methods | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_progress_tells_what_runs_what_is_best_and_how_long(tmp_path):
    from rich.console import Console

    from petl_study import engines, progress, runner, spec

    console = Console(force_terminal=True, record=True, width=100, file=io.StringIO())
    study = spec.resolve(toy.study(methods=["linear"]))
    display = progress.create(study, console, 1)
    seen: list[str] = []
    started = display.started

    def spy(trial) -> None:
        started(trial)
        with console.capture() as text:
            console.print(display._draw())
        seen.append(text.get())

    display.started = spy
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine, display:
        runner.run(study, tmp_path / "s", engine, display)
    assert "0/4 trials and runs" in seen[0]
    assert "toy linear lr=" in seen[0]
    assert "left" in seen[3]
    assert "on validation" in seen[3]
    assert time.monotonic() - display.began > 0


@pytest.mark.parametrize(
    "given,workers", [([], 6), (["--device", "cuda:1"], 1), (["--device", "cuda", "--workers", "3"], 3)]
)
def test_a_gpu_has_one_trial_at_a_time_unless_more_are_asked_for(given, workers, monkeypatch, tmp_path):
    class Created(Exception): ...

    def create(name: str, **how: object) -> None:
        raise Created(how["workers"])

    monkeypatch.setattr(engines, "create", create)
    monkeypatch.setattr(cli, "require_device", lambda name: None)
    monkeypatch.setattr(cli.os, "cpu_count", lambda: 6)
    with pytest.raises(Created, match=rf"^{workers}$"):
        cli.main(["run", "quickstart", "--out", str(tmp_path / "s"), *given])
