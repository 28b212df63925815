from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
import records
import studies
from petl_study import cli, merge, store
from petl_study.errors import DamagedRecord, InputError
from petl_study.store import KINDS, Study

SPEC = {"name": "s", "backbone": "b", "tasks": ["t"], "methods": [{"name": "m", "space": {}}], "seeds": [0]}


@pytest.fixture
def machines(tmp_path: Path) -> list[Path]:
    """One study on two machines: other tasks, and both ran `count` with `lora`, each with a seed of its own."""
    one = studies.write_study(tmp_path / "one", tasks=("count", "digits"), methods=("lora",), examples=20, seeds=(0,))
    other = studies.write_study(
        tmp_path / "other", tasks=("count",), methods=("lora", "ssf"), examples=20, seeds=(1, 2), failed=None
    )
    return [one, other]


def files(path: Path) -> dict[Path, bytes]:
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file() and ".index" not in p.parts}


def keys(*paths: Path) -> set[tuple[str, str]]:
    return {(kind, record.key) for path in paths for kind in KINDS for record in Study(path).records(kind)}


def rewritten(record: store.Record, said: float | None = None, **changes: Any) -> None:
    """`record` again in its place, with `changes` of its header, and other logits where `said` is given."""
    header = {n: v for n, v in record.header.items() if n not in ("files", "format", "checksum")} | changes
    logits = {name: record.logits(name) + (said or 0) for name in record.sets}
    examples = {name: record.examples(name) for name in record.sets}
    shutil.rmtree(record.path)
    store.write(record.path, header, logits=logits, examples=examples)


def test_what_several_machines_ran_is_one_study(machines, tmp_path, capsys):
    before = [files(path) for path in machines]
    out = tmp_path / "new" / "merged"
    assert cli.main(["merge", *map(str, machines), "--out", str(out)]) == 0
    assert f"{out}: 15 records of 2 studies" in capsys.readouterr().out
    assert [files(path) for path in machines] == before
    assert keys(out) == keys(*machines)
    assert {path: content for each in reversed(before) for path, content in each.items()} | {
        Path("study.json"): files(out)[Path("study.json")]
    } == files(out)
    spec = Study.open(out).spec
    assert (spec["tasks"], spec["methods"], spec["seeds"]) == (["count", "digits"], ["lora", "ssf"], [0, 1, 2])
    pd.testing.assert_frame_equal(analysis.load_runs(out), analysis.load_runs(machines))
    pd.testing.assert_frame_equal(analysis.load_trials(out), analysis.load_trials(machines))
    assert cli.main(["fsck", str(out)]) == 0
    assert [p.name for p in out.parent.iterdir()] == ["merged"]


def test_seconds_machines_and_versions_may_differ(machines, tmp_path):
    [trial, *_] = [r for r in Study(machines[1]).records("trial") if r.key in {k for _, k in keys(machines[0])}]
    rewritten(trial, environment={"hardware": "another"}, cost={"fit_seconds": 99.0}, study={"name": "elsewhere"})
    merged, count = merge.merge(machines, tmp_path / "merged")
    assert count == 15
    assert merged.find("trial", trial.spec).header["cost"]["fit_seconds"] != 99.0  # the first one's


@pytest.mark.parametrize(
    ("said", "changes", "what"),
    [
        (1e-6, {}, "the logits of 'val'"),
        (None, {"results": {"val": {"accuracy": 2.0}}}, "results"),
        (None, {"status": "failed", "error": {"kind": "Lost", "message": "gone"}}, "status"),
    ],
)
def test_results_that_conflict_are_named_and_nothing_is_written(machines, tmp_path, said, changes, what):
    [ours] = [r for r in Study(machines[0]).records("trial") if r.spec["task"] == "count" and r.spec["lr"] == 1e-3]
    theirs = Study(machines[1]).find("trial", ours.spec)
    rewritten(theirs, said, **changes)
    with pytest.raises(InputError, match=f"{ours.path} and {theirs.path}: {what}\nNothing was written"):
        merge.merge(machines, tmp_path / "merged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]


def test_two_searches_that_chose_differently_for_one_seed_conflict(machines, tmp_path):
    [run] = [r for r in Study(machines[1]).records("run") if (r.spec["method"], r.spec["seeds"]["init"]) == ("lora", 1)]
    shutil.copytree(machines[1], tmp_path / "third")
    moved = run.spec | {"lr": 0.7}
    header = {n: v for n, v in run.header.items() if n not in ("files", "format", "checksum")} | {"spec": moved}
    third = Study(tmp_path / "third")
    shutil.rmtree(third.directory("run", run.spec))
    other = store.write(third.directory("run", moved), header)
    with pytest.raises(InputError, match=rf"{run.path} and {other.path}: what the search chose"):
        merge.merge([*machines, third.path], tmp_path / "merged")


@pytest.mark.parametrize("further", [8, 4])
def test_of_a_trial_that_was_stopped_and_elsewhere_trained_on_the_furthest_counts(tmp_path, further):
    one, other = (Study.create(tmp_path / name, SPEC) for name in ("one", "other"))
    records.write(one, 1, spec={"until": 2})
    longer = records.write(other, 1, spec={} if further == 8 else {"until": 4})
    merged, count = merge.merge([one.path, other.path], tmp_path / "merged")
    assert count == 1
    assert [record.header for record in merged.records("trial")] == [longer.header]


def test_a_stopped_trial_that_is_not_the_beginning_of_the_longer_one_conflicts(tmp_path):
    one, other = (Study.create(tmp_path / name, SPEC) for name in ("one", "other"))
    records.write(one, 1, spec={"until": 2}, curve=[{"epoch": 1, "train_loss": 0.9}, {"epoch": 2, "train_loss": 0.8}])
    records.write(other, 1)
    with pytest.raises(InputError, match="the first 2 epochs"):
        merge.merge([one.path, other.path], tmp_path / "merged")


def test_another_writer_of_the_same_examples_is_no_conflict(tmp_path, monkeypatch):
    one, other = (Study.create(tmp_path / name, SPEC) for name in ("one", "other"))
    records.write(one, 1)
    write_table = store.writing.pq.write_table
    monkeypatch.setattr(store.writing.pq, "write_table", lambda *a: write_table(*a, compression="none"))
    records.write(other, 1)
    (first, second) = (next(study.records("trial")) for study in (one, other))
    assert first.header["files"] != second.header["files"]
    assert merge.merge([one.path, other.path], tmp_path / "merged")[1] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "c"}, "they differ in backbone"),
        ({"search": {"trials": 4}}, "they differ in search"),
        ({"methods": [{"name": "m", "space": {"rank": [1]}}]}, "method 'm' is"),
        ({"tasks": [{"name": "t", "folder": "x"}]}, "task 't' is t in the one"),
        ({"head": "zero_shot"}, "the classifier of 't' is new in the one and zero_shot in the other"),
    ],
)
def test_studies_that_ask_different_things_are_not_merged(tmp_path, change, message):
    paths = [Study.create(tmp_path / name, SPEC | more).path for name, more in (("a", {}), ("b", change))]
    with pytest.raises(InputError, match=message):
        merge.merge(paths, tmp_path / "merged")


def test_what_is_said_of_single_tasks_is_joined_with_them():
    one = SPEC | {"head": {"t": "zero_shot"}, "zero_shot": True}
    other = SPEC | {"name": "o", "tasks": ["u", "v"], "head": "new", "seeds": [2, 0], "zero_shot": ["v"]}
    spec = merge.joined([(Path("a"), one), (Path("b"), other)])
    assert spec == one | {"tasks": ["t", "u", "v"], "seeds": [0, 2], "zero_shot": ["t", "v"]}
    assert merge.joined([(Path("a"), SPEC), (Path("b"), SPEC)]) == SPEC


def test_a_damaged_record_is_not_merged(machines, tmp_path):
    [path, *_] = machines[1].glob("runs/*/*/*/logits.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedRecord, match=rf"{path} is damaged"):
        merge.merge(machines, tmp_path / "merged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]


def test_only_a_new_directory_is_merged_into(machines, tmp_path):
    for out in machines:
        with pytest.raises(InputError, match=r"exists\. Merge into a new directory"):
            merge.merge(machines, out)
    with pytest.raises(InputError, match="two or more different studies"):
        merge.merge([machines[0], machines[0]], tmp_path / "merged")


def test_a_disk_that_fills_leaves_nothing_of_the_merged_study(machines, tmp_path, monkeypatch):
    copied = []

    def fills(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) > 5:
            raise OSError(28, "No space left on device")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(merge.shutil, "copyfile", fills)
    with pytest.raises(InputError, match=r"merged cannot be written: No space left on device\. Nothing is left of it"):
        merge.merge(machines, tmp_path / "merged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]
