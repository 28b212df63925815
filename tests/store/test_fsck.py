from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
import studies
from petl_study import cli, store
from petl_study.errors import DamagedRecord
from petl_study.store import Study, alone


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return studies.write_study(
        tmp_path / "study", tasks=("count",), methods=("lora", "ssf"), examples=20, seeds=(0,), failed=None
    )


def fsck(study: Path, capsys, *options: str) -> tuple[int, dict[str, object]]:
    code = cli.main(["fsck", str(study), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def a_run(study: Path) -> Path:
    return next(Study(study).records("run")).path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def newer(run: Path) -> None:
    header = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps(store.seal({**header, "format": 99})))


def misplace(run: Path) -> None:
    run.rename(run.with_name("0" * 16))


def link(run: Path) -> None:
    (run / "logits.safetensors").rename(run.parents[4] / "elsewhere")
    (run / "logits.safetensors").symlink_to(run.parents[4] / "elsewhere")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in logits": (lambda run: flip(run / "logits.safetensors"), "logits.safetensors: its bytes are not"),
    "a flipped bit in tensors": (lambda run: flip(run / "tuned.safetensors"), "tuned.safetensors: its bytes are not"),
    "a flipped bit in examples": (lambda run: flip(run / "examples.parquet"), "examples.parquet: its bytes are not"),
    "a flipped bit in the header": (lambda run: flip(run / "record.json"), "record.json: it"),
    "truncated logits": (lambda run: truncate(run / "logits.safetensors"), "logits.safetensors: it has "),
    "a truncated header": (lambda run: truncate(run / "record.json"), "record.json: it cannot be read"),
    "a missing file": (lambda run: (run / "examples.parquet").unlink(), "examples.parquet: it is missing"),
    "a missing header": (lambda run: (run / "record.json").unlink(), "record.json: it cannot be read"),
    "a newer version": (newer, "record format 99, but this version reads 1"),
    "another name": (misplace, "it is misplaced: what it says of itself belongs into runs/count/lora/"),
    "a link": (link, "logits.safetensors: a symbolic link"),
}


def test_a_study_as_it_was_written_is_clean(study, capsys):
    code, found = fsck(study, capsys)
    assert code == 0
    assert found["records"] == 8
    assert found["bytes"] == sum(p.stat().st_size for p in study.rglob("*") if p.suffix in (".safetensors", ".parquet"))
    assert found["findings"] == []


@pytest.mark.parametrize("harm", HARMS)
def test_harm_is_named_and_set_aside_and_the_rest_stays_readable(study, capsys, harm):
    do, reason = HARMS[harm]
    do(a_run(study))
    before = {p: p.read_bytes() for p in study.rglob("*") if p.is_file()}
    code, found = fsck(study, capsys)
    assert code == 1
    [finding] = found["findings"]
    assert finding["path"].startswith("runs/count/lora/")
    assert finding["reason"].startswith(reason)
    assert finding["moved_to"] is None
    assert {p: p.read_bytes() for p in study.rglob("*") if p.is_file()} == before  # only looked at

    code, found = fsck(study, capsys, "--repair")
    assert code == 1
    [finding] = found["findings"]
    assert finding["moved_to"] == f"quarantine/{finding['path']}"
    kept = [p.read_bytes() for p in (study / finding["moved_to"]).iterdir()]
    assert sorted(kept) == sorted(content for p, content in before.items() if p.is_relative_to(study / finding["path"]))
    assert reason in (study / "quarantine" / "reasons.jsonl").read_text()
    assert fsck(study, capsys) == (0, {**found, "records": 7, "findings": []})
    assert analysis.load_runs(study)["method"].tolist() == ["ssf"]


def test_until_it_is_set_aside_no_table_leaves_it_out_in_silence(study):
    flip(a_run(study) / "record.json")
    with pytest.raises(DamagedRecord, match=rf"To mend it, .* `petl-study fsck {study} --repair` and run the study"):
        analysis.load_runs(study)


def test_what_lies_about_is_named_and_set_aside(study, capsys):
    run = a_run(study)
    (run / "notes.txt").write_text("mine")
    (study / "runs" / "README").write_text("mine")
    (run.parent / ".writing-abc").mkdir()
    (study / "trials" / "count" / "elsewhere").symlink_to(run.parent)
    (study / "checkpoints" / "count" / "lora").mkdir(parents=True)
    (study / "checkpoints" / "count" / "lora" / "0123.safetensors").write_bytes(b"no checkpoint")
    shutil.copytree(run, study / "trials" / "count" / "ssf" / run.name)
    code, found = fsck(study, capsys, "--repair")
    assert code == 1
    reasons = {finding["path"]: finding["reason"] for finding in found["findings"]}
    assert len(reasons) == 6
    assert "does not name it" in reasons[f"runs/count/lora/{run.name}/notes.txt"]
    assert "only records belong here" in reasons["runs/README"]
    assert "a writer was interrupted" in reasons["runs/count/lora/.writing-abc"]
    assert "a symbolic link" in reasons["trials/count/elsewhere"]
    assert "bytes are not those that were written" in reasons["checkpoints/count/lora/0123.safetensors"]
    assert reasons[f"trials/count/ssf/{run.name}"] == "it is a run, and lies among trials"
    assert fsck(study, capsys)[0] == 0
    assert len(analysis.load_runs(study)) == 2


def test_what_is_set_aside_twice_is_kept_twice(study, capsys):
    run = a_run(study)
    for content in ("first", "second"):
        (run / "notes.txt").write_text(content)
        assert fsck(study, capsys, "--repair")[0] == 1
    kept = (study / "quarantine" / run.relative_to(study)).iterdir()
    assert sorted(p.read_text() for p in kept) == ["first", "second"]


def test_a_study_file_cannot_be_set_aside(study, capsys):
    flip(study / "study.json")
    code, found = fsck(study, capsys, "--repair")
    assert code == 1
    assert found["findings"][0]["moved_to"] is None
    assert (study / "study.json").exists()
    assert cli.main(["fsck", str(study)]) == 1
    assert "study.json cannot be made anew: copy it back" in capsys.readouterr().out


def test_people_are_told_what_to_do(study, capsys):
    flip(a_run(study) / "logits.safetensors")
    assert cli.main(["fsck", str(study)]) == 1
    assert f"1 found. `petl-study fsck {study} --repair` moves them to quarantine/" in capsys.readouterr().out
    assert cli.main(["fsck", str(study), "--repair"]) == 1
    told = capsys.readouterr().out
    assert f"moved to {study}/quarantine/runs/count/lora/" in told
    assert "makes anew what is missing now" in told


def test_a_study_that_is_being_run_is_not_repaired(study, capsys):
    with alone(study):
        assert cli.main(["fsck", str(study), "--repair"]) == 2
    assert f"is being run by another process (number {os.getpid()}" in capsys.readouterr().err
