from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

import toy
from petl_study import cli, engines, runner, spec, watch
from petl_study.errors import InputError


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


def run(path: Path) -> None:
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        runner.run(spec.resolve(toy.study(methods=["linear"], seeds=[0])), path, engine, Silent())


def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_it_is_drawn_anew_until_the_study_is_complete(tmp_path):
    study, out, waited = tmp_path / "s", screen(), []
    runner.Study.create(study, spec.resolve(toy.study(methods=["linear"], seeds=[0])).model_dump())

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            run(study)

    assert watch.watch(study, 7, out, wait) == 0
    assert waited == [7, 7]
    said = Text.from_ansi(out.file.getvalue()).plain
    assert "0 of 3 finished" in said
    assert "3 of 3 finished" in said[said.rindex("0 of 3 finished") :]


def test_ctrl_c_ends_it_with_the_code_of_the_last_look(tmp_path):
    runner.Study.create(tmp_path / "s", spec.resolve(toy.study()).model_dump())

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    assert watch.watch(tmp_path / "s", 1, screen(), interrupted) == 1


def test_a_complete_study_is_shown_once(tmp_path, capsys):
    run(tmp_path / "s")
    assert cli.main(["status", str(tmp_path / "s"), "--watch"]) == 0
    assert capsys.readouterr().out.count("3 of 3 finished") == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_time_is_refused(tmp_path, seconds):
    with pytest.raises(InputError, match="more than 0"):
        watch.watch(tmp_path, seconds)
