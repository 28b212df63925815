from __future__ import annotations

import json
import os

import pytest

from petl_study import frozen
from petl_study.bench import large_store, search, store
from petl_study.bench.stopwatch import REST, Stopwatch
from petl_study.cli import main
from petl_study.store import Record, examine

SEARCH = ["bench", "search", "--task", "toy", "--epochs", "2", "--trials", "2", "--rounds", "1", "--method", "bitfit"]


@pytest.fixture
def here(monkeypatch):
    """Processes take seconds to start, and do not know the toy task."""
    monkeypatch.setattr(search, "alone", lambda threads, work, *given: work(*given))
    frozen._kept.clear()
    yield
    frozen._kept.clear()


def test_a_search_is_measured_in_its_parts_both_ways_and_beside_steps_alone(here, tmp_path, capsys):
    out = tmp_path / "search.json"
    assert main([*SEARCH, "--drop-path-in", "tuned", "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert (made["protocol"]["epochs"], made["protocol"]["drop_path_in"]) == (2, "tuned")
    rows = {row["what"]: row for row in made["rows"]}
    assert list(rows) == ["the first", "the following 1", search.ONCE, search.EVERY, search.EPOCH]
    for name in ("the first", "the following 1"):
        parts = [rows[name][part] for part in (*search.PARTS, REST)]
        assert rows[name]["seconds"] == pytest.approx(sum(parts))
        assert all(rows[name][part] > 0 for part in ("data", "build", "steps", "validation", "storing"))
    once, every = rows[search.ONCE], rows[search.EVERY]
    assert once["points"] == every["points"] == 4
    assert once["test_accuracy"] == pytest.approx(every["test_accuracy"], abs=1e-9)
    assert once["val_accuracies"] == pytest.approx(every["val_accuracies"], abs=1e-9)
    assert 0 < once["fit_seconds"] < once["seconds"]
    assert made["grid_speedup"] == pytest.approx(every["seconds"] / once["seconds"])
    assert rows[search.EPOCH]["images"] == 64 + 32
    assert rows[search.EPOCH]["over_steps"] == pytest.approx(
        rows[search.EPOCH]["seconds"] / rows[search.EPOCH]["steps_seconds"]
    )
    printed = capsys.readouterr().out
    assert "linear probing, 4 points" in printed
    assert "an epoch of 96 images" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "digitss"], "unknown task 'digitss'"),
        (["--method", "lorra"], "Did you mean 'lora'?"),
        (["--protocol", "nothing"], "unknown protocol 'nothing'"),
        (["--trials", "1"], "--trials must be a whole number of at least 2, got 1"),
        (["--epochs", "0"], "--epochs must be a whole number of at least 1, got 0"),
        (["--device", "cuda:99"], "device 'cuda:99' is not to be had here"),
    ],
)
def test_wrong_input_is_one_message(options, message, capsys):
    assert main([*SEARCH, *options]) == 2
    assert message in capsys.readouterr().err


def test_what_is_done_alone_is_done_in_a_worker_of_its_own():
    assert search.alone(1, os.getpid) != os.getpid()


class Inner:
    def inside(self) -> str:
        clock[0] += 2.0
        return "done"


class Outer:
    def outside(self) -> str:
        clock[0] += 1.0
        said = Inner().inside()
        clock[0] += 4.0
        return said


clock = [0.0]


def test_a_part_inside_a_part_counts_once_and_what_is_no_part_is_the_rest():
    watch = Stopwatch(lambda: clock[0])
    with watch.watching({"inner": [(Inner, "inside")], "outer": [(Outer, "outside")]}):
        clock[0] += 8.0
        assert Outer().outside() == "done"
        Inner().inside()
    clock[0] += 100.0
    Outer().outside()
    assert watch.seconds == {"inner": 4.0, "outer": 5.0, REST: 8.0}


def test_records_are_written_read_and_listed_and_nothing_is_left_behind(tmp_path, capsys):
    out, place = tmp_path / "store.json", tmp_path / "place"
    place.mkdir()
    small = ["bench", "store", "--records", "3", "--directory", str(place)]
    assert main([*small, "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert made["records"] == 3
    assert [row["what"] for row in made["rows"]][-1] == "load_runs"
    assert all(row["seconds_each"] == pytest.approx(row["seconds"] / 3) for row in made["rows"])
    assert list(place.iterdir()) == []
    assert main([*small, "--compare", str(out)]) == 0
    assert "load_runs" in capsys.readouterr().out


def test_a_large_store_is_made_and_listed_and_removed(tmp_path, capsys):
    out, place = tmp_path / "store.json", tmp_path / "place"
    place.mkdir()
    large = ["--runs", "21", "--trials", "160", "--directory", str(place), "--out", str(out)]
    assert main(["bench", "store", "--records", "2", *large]) == 0
    rows = {row["what"]: row for row in json.loads(out.read_text())["rows"]}
    assert rows["petl-study status"]["records"] == 181
    assert rows["load_runs, of many"]["records"] == 21
    assert rows["one run's header and logits"]["seconds"] > 0
    assert list(place.iterdir()) == []


def test_what_is_made_in_bulk_is_as_if_it_had_been_written(tmp_path):
    study = large_store.build(tmp_path / "study", 7, 12)
    found = list(examine(study))
    assert all(isinstance(each, Record) for each in found)
    assert len({each.key for each in found}) == 19


def test_what_is_listed_is_what_was_written(monkeypatch):
    seen = []
    load = store.analysis.load_runs
    monkeypatch.setattr(store.analysis, "load_runs", lambda path: seen.append(load(path)))
    store.measure(7)
    assert len(seen[0]) == 7
    assert seen[0]["seed"].nunique() == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--records", "0"], "--records must be a whole number of at least 1, got 0"),
        (["--runs", "10"], "--runs and --trials must both be"),
        (["--directory", "nowhere"], "--directory nowhere is no directory"),
    ],
)
def test_a_store_that_cannot_be_measured_is_refused(options, message, capsys):
    assert main(["bench", "store", *options]) == 2
    assert message in capsys.readouterr().err
