from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
import studies
from analysis.cost import machines
from petl_study.errors import InputError
from studies import METHODS, write_study
from tables import runs_of


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("cost") / "study", examples=40)


def timed(seconds, **columns: object) -> pd.DataFrame:
    """Runs that took `seconds`, (T, M) or (T, M, S); the first method is ``linear``."""
    seconds = np.asarray(seconds, dtype=float)
    runs = runs_of(np.full_like(seconds, 0.5), **columns)
    frame = runs.assign(fit_seconds=seconds.ravel(), predict_seconds=1.0, bytes=40.0, peak_memory_bytes=1e6)
    return frame.replace({"method": {"a": "linear"}})


def whole(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["scope"] == "all tasks"].set_index("method")


def row_of(rows: list[dict]) -> str:
    """What `bench merged` writes."""
    environment = {"hardware": "x86_64", "device": "cpu", "threads": 1}
    common = {"backbone": "net", "batch": 2, "rounds": 3, "clock": "wall clock", "environment": environment}
    return json.dumps({**common, "rows": rows, "left_out": [{"method": "b", "way": "merged", "reason": "not linear"}]})


def measured(method: str, way: str, ratio: float) -> dict:
    numbers = {"seconds": 0.1 * ratio, "ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1}
    return {"method": method, "way": way, "hyperparameters": {}, **numbers}


def test_every_method_has_its_costs_in_every_scope(study):
    table = analysis.costs(analysis.load_runs(study), analysis.load_trials(study))
    assert set(table["scope"]) == {"natural", "specialized", "structured", "all tasks"}
    rows = whole(table)
    assert rows["tuned_parameters"].to_dict() == METHODS
    assert rows.index.tolist() == sorted(METHODS, key=METHODS.get)
    classes = np.mean(list(studies.CLASSES.values()))
    assert rows.loc["lora", "bytes"] == 4 * (METHODS["lora"] + 193 * classes)
    assert rows.loc["ssf", "peak_memory_bytes"] == 400_000_000 + METHODS["ssf"]
    assert rows.loc["ssf", "search_seconds"] == pytest.approx(3 * 3.006)  # three trials a task
    assert (rows["search_trials"] == 3).all()


def test_a_failed_trial_has_no_time_and_is_counted(study):
    trials = analysis.load_trials(study)
    trials.loc[trials["status"] == "failed", "fit_seconds"] = np.nan
    rows = whole(analysis.costs(analysis.load_runs(study), trials))
    assert rows["search_untimed"].to_dict() == {name: int(name == "full") for name in METHODS}
    assert rows.loc["full", "search_seconds"] == pytest.approx(3.9 * 11 / 4)
    trials.loc[(trials["method"] == "full") & (trials["task"] == "count"), "fit_seconds"] = np.nan
    assert np.isnan(whole(analysis.costs(analysis.load_runs(study), trials)).loc["full", "search_seconds"])


def test_the_ratio_is_taken_within_tasks_and_its_interval_is_students_over_them(rng):
    seconds = rng.uniform(1, 3, size=(6, 2, 2)) * 10.0 ** np.arange(6)[:, None, None]  # tasks of unequal size
    row = whole(analysis.costs(timed(seconds))).loc["b"]
    logs = np.log(seconds[:, 1]).mean(axis=1) - np.log(seconds[:, 0]).mean(axis=1)
    reference = np.exp(stats.ttest_1samp(logs, 0).confidence_interval(0.95))
    assert row["ratio"] == pytest.approx(stats.gmean(np.exp(logs)))
    assert (row["low"], row["high"]) == pytest.approx(tuple(reference))
    assert (row["interval"], row["ratio_tasks"], row["baseline"]) == ("t over tasks", 6, "linear")


def test_of_one_task_the_interval_is_welchs_over_seeds(rng):
    seconds = rng.uniform(1, 3, size=(1, 2, 4))
    row = whole(analysis.costs(timed(seconds))).loc["b"]
    logs = np.log(seconds[0])
    reference = stats.ttest_ind(logs[1], logs[0], equal_var=False).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.exp(reference)))
    assert row["interval"] == "Welch over seeds"
    assert whole(analysis.costs(timed(seconds[..., :1]))).loc["b", "interval"] == "none"


def test_a_busy_hour_moves_seconds_and_not_the_ratio(rng):
    seconds = rng.uniform(1, 3, size=(4, 3))
    busy = seconds * [[1], [1], [5], [5]]
    calm, slow = whole(analysis.costs(timed(seconds))), whole(analysis.costs(timed(busy)))
    assert slow["ratio"].to_numpy() == pytest.approx(calm["ratio"].to_numpy())
    assert (slow["fit_seconds"] > calm["fit_seconds"]).all()


def test_seconds_are_the_median_with_quartiles_over_runs():
    row = whole(analysis.costs(timed([[1, 8], [1, 2], [1, 4], [1, 16], [1, 6]]))).loc["b"]
    assert row[["fit_low", "fit_seconds", "fit_high"]].tolist() == [4, 6, 8]


def test_the_baseline_is_linear_else_full_else_none():
    runs = timed([[1, 2, 4]])
    assert whole(analysis.costs(runs)).loc["b", "ratio"] == pytest.approx(2)
    assert whole(analysis.costs(runs, baseline="c")).loc["b", "ratio"] == pytest.approx(0.5)
    full = runs.replace({"method": {"linear": "d", "c": "full"}})
    assert whole(analysis.costs(full)).loc["b", "ratio"] == pytest.approx(0.5)
    none = analysis.costs(runs[runs["method"] != "linear"])
    assert none["ratio"].isna().all()
    assert none["baseline"].isna().all()
    with pytest.raises(InputError, match="unknown baseline 'lora'; known: b, c, linear"):
        analysis.costs(runs, baseline="lora")


def test_what_is_missing_stays_missing():
    runs = timed([[1, 2], [1, 2]])
    runs.loc[1, ["tuned_parameters", "bytes", "fit_seconds", "peak_memory_bytes"]] = np.nan
    rows = whole(analysis.costs(runs))
    names = ["tuned_parameters", "bytes", "fit_seconds", "peak_memory_bytes"]
    assert rows.loc["b", names].isna().all()
    assert rows.loc["linear", names].notna().all()
    assert rows.loc["b", "ratio_tasks"] == 1
    assert rows["search_seconds"].isna().all()
    assert rows["before"].isna().all()
    seeds = timed([[[1, 1], [2, 2]]])
    seeds.loc[3, "bytes"] = np.nan  # of one seed of two
    assert whole(analysis.costs(seeds))["bytes"].isna().to_dict() == {"linear": False, "b": True}
    bare = analysis.costs(runs_of([[0.5, 0.6]]))
    assert bare[["bytes", "fit_seconds", "ratio"]].isna().all(axis=None)


def test_times_of_two_machines_are_not_averaged():
    one, other = (
        timed([[n, 3 * n]] * 2, hardware=name, device="cpu", threads=n) for n, name in ((1, "arm"), (2, "x86"))
    )
    table = whole(analysis.costs(pd.concat([one, other.assign(seed=1)])))
    assert table["machine"].tolist() == ["arm, cpu, 1 thread"] * 2 + ["x86, cpu, 2 threads"] * 2
    assert table.loc["b", "fit_seconds"].tolist() == [3, 6]
    assert table.loc["b", "ratio"].tolist() == pytest.approx([3, 3])


def test_a_machine_is_told_in_words():
    table = pd.DataFrame({"hardware": ["H200", "x86_64", None], "device": ["cuda:1", "cpu", None]})
    assert machines(table).tolist() == ["H200, cuda", "x86_64, cpu", "not recorded"]
    assert machines(table.assign(threads=[1, 8, None])).tolist()[:2] == [
        "H200, cuda, 1 thread",
        "x86_64, cpu, 8 threads",
    ]
    assert machines(table.assign(lean=[False, True, False], compiled=[True, True, False])).tolist() == [
        "H200, cuda, compiled",
        "x86_64, cpu, compiled, lean",
        "not recorded",
    ]


def test_loaded_runs_and_trials_say_on_what_they_were_made(tmp_path, monkeypatch):
    made = studies._header
    machine = {"hardware": "x86_64", "device": "cpu", "threads": 2, "lean": True}
    monkeypatch.setattr(studies, "_header", lambda *given: {**made(*given), "environment": machine})
    path = write_study(tmp_path / "study", tasks=["count"], methods=["ssf"], seeds=[0], examples=20, failed=None)
    for frame in (analysis.load_runs(path), analysis.load_trials(path)):
        assert set(machines(frame)) == {"x86_64, cpu, 2 threads, lean"}


def test_runs_that_are_not_comparable_are_refused(study):
    runs, trials = analysis.load_runs(study), analysis.load_trials(study)
    with pytest.raises(InputError, match="2 runs of method"):
        analysis.costs(pd.concat([runs, runs]))
    with pytest.raises(InputError, match="different protocol fingerprint"):
        analysis.costs(runs, trials.assign(protocol_fingerprint="other"))
    with pytest.raises(InputError, match="there are no runs"):
        analysis.costs(runs.iloc[:0])


def test_inference_is_joined_by_method(tmp_path):
    path = tmp_path / "merged.json"
    rows = [measured("plain", "again", 1.0), measured("b", "beside", 1.5), measured("linear", "beside", 1.0)]
    path.write_text(row_of([*rows, measured("linear", "merged", 1.02)]))
    loaded = analysis.load_inference(path)
    assert loaded["method"].tolist() == ["plain", "b", "linear"]
    assert loaded.set_index("method").loc["b", "reason"] == "not linear"
    table = whole(analysis.costs(timed([[1, 2, 3]], backbone="net"), inference=loaded))
    assert table.loc["b", ["before", "before_low", "before_high"]].tolist() == pytest.approx([1.5, 1.4, 1.6])
    assert table.loc["b", "before_seconds"] == pytest.approx(0.15)
    assert table["after"].dropna().to_dict() == {"linear": 1.02}
    assert table["inference_machine"].to_dict() == {**dict.fromkeys(("linear", "b"), "x86_64, cpu, 1 thread"), "c": ""}


def test_inference_of_another_backbone_or_twice_is_refused(tmp_path):
    path = tmp_path / "merged.json"
    path.write_text(row_of([measured("b", "beside", 1.5)]))
    loaded = analysis.load_inference(path)
    with pytest.raises(
        InputError, match=r"measured with net, but the runs are of other\. Measure that: petl-study bench"
    ):
        analysis.costs(timed([[1, 2]], backbone="other"), inference=loaded)
    with pytest.raises(InputError, match="two rows of method 'b'"):
        analysis.costs(timed([[1, 2]]), inference=pd.concat([loaded, loaded]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"method": "a"}]}'])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(InputError, match=r"is not what this version's `petl-study bench merged --out FILE` writes"):
        analysis.load_inference(tmp_path / "file.json")
    with pytest.raises(InputError, match="cannot be read"):
        analysis.load_inference(tmp_path / "nowhere.json")
