from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from analysis import collapsed, figures, is_collapsed, load_trials, optimism, top_ties
from petl_study.errors import InputError
from petl_study.store import Study, write
from studies import write_study
from tables import trials_of


def test_ties_at_the_top_are_counted_and_the_loss_decides():
    trials = trials_of({"a": [0.9, 0.9, 0.9, 0.895, 0.5, np.nan]}).assign(val_loss=[0.3, 0.2, 0.2, 0.1, 0.9, np.nan])
    row = top_ties(trials).iloc[0]
    assert (row["trials"], row["best"], row["tied"], row["tied_on_loss"]) == (5, 0.9, 3, 2)
    assert row["error"] == pytest.approx(np.sqrt(0.9 * 0.1 / 200))
    assert (row["within_one"], row["within_error"]) == (4, 4)


def test_what_hinges_on_a_tie_is_the_range_of_so_many_errors(rng):
    trials = trials_of({"a": [0.9] * 5, "b": [0.9, 0.1]})
    table = top_ties(trials).set_index("method")
    drawn = np.ptp(rng.normal(0, table.loc["a", "error"], size=(100_000, 5)), axis=1).mean()
    assert table.loc["a", "hinge"] == pytest.approx(drawn, rel=0.01)
    assert table.loc["b", "hinge"] == pytest.approx(0, abs=1e-9)


def test_without_the_number_of_examples_nothing_is_said_of_errors():
    trials = trials_of({"a": [0.9, 0.9]}).drop(columns="val_examples")
    row = top_ties(trials).iloc[0]
    assert row["tied"] == 2
    assert pd.isna(row[["examples", "error", "within_one", "hinge", "tied_on_loss"]]).all()
    assert top_ties(trials, examples=50)["examples"].iloc[0] == 50


def test_collapsed_is_near_chance_where_the_same_search_did_well():
    trials = trials_of({"a": [0.9, 0.25, 0.27, np.nan], "b": [0.12, 0.11, 0.11, 0.1]})  # ten classes
    assert is_collapsed(trials).tolist() == [False, True, False, True, False, False, False, True]
    # b never learns the task: it is bad at it, and only what is no better than chance is collapsed
    assert is_collapsed(trials, chance=0.25)[:4].tolist() == [False, True, True, True]
    assert is_collapsed(trials, chance={"t0": 0.1}, floor=0.9)[:3].tolist() == [False, True, True]


def test_collapsed_trials_are_counted_by_learning_rate():
    points = [{"lr": 1e-3}, {"lr": 1e-3}, {"lr": 1e-2}, {"lr": 1e-2}]
    table = collapsed(trials_of({"a": [0.9, 0.8, 0.1, np.nan]}, points)).set_index("lr")
    assert table["collapsed"].to_dict() == {1e-3: 0, 1e-2: 2}
    assert table["failed"].to_dict() == {1e-3: 0, 1e-2: 1}
    assert table["share"].to_dict() == {1e-3: 0, 1e-2: 1}
    assert (table["low"] < table["high"]).all()
    assert collapsed(trials_of({"a": [0.9, 0.1]}), by="task")["task"].tolist() == ["t0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chance": {"t1": 0.1}}, "no accuracy for t0"),
        ({"floor": 1.0}, "floor must be between 0 and 1"),
        ({"by": "rate"}, "no column rate; it has task"),
        ({"by": "method"}, "a column of plain values other than 'method'"),
        ({"by": "hyperparameters"}, "a column of plain values"),
        ({"chance": 10}, "chance is an accuracy, from 0 to below 1, .* got 10"),
        ({"chance": {"t0": 1.0}}, "chance is an accuracy"),
    ],
)
def test_what_cannot_be_asked_of_collapsed_trials_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        collapsed(trials_of({"a": [0.9, 0.1]}), **options)
    with pytest.raises(InputError, match="no column 'classes'; give chance"):
        is_collapsed(trials_of({"a": [0.9, 0.1]}).drop(columns="classes"))


def test_optimism_is_the_mean_over_tasks_of_best_minus_last(rng):
    results = pd.DataFrame(
        {
            "task": ["t0", "t1", "t0", "t1"],
            "method": ["a", "a", "b", "b"],
            "best": [0.9, 0.8, 0.7, 0.7],
            "last": [0.8, 0.5, 0.7, 0.7],
        }
    )
    table = optimism(results, "best", "last", rng=rng)
    assert table["method"].tolist() == ["a", "b"]
    assert table["optimism"].tolist() == pytest.approx([0.2, 0])
    assert (table.loc[0, "largest"], table.loc[0, "largest_on"]) == (pytest.approx(0.3), "t1")
    assert (table.loc[0, "low"], table.loc[0, "high"]) == pytest.approx((0.1, 0.3))
    assert table.loc[0, "of"] == "best - last"
    single = optimism(results.iloc[[0]], "best", "last", rng=rng).iloc[0]
    assert np.isnan(single["low"])
    assert single["interval"] == "none"


def test_trials_tell_of_their_best_epoch_and_of_their_validation_set(tmp_path, rng):
    path = write_study(tmp_path / "study", tasks=("digits",), methods=("lora",), failed=None)
    [record, *_] = Study.open(path).records("trial")
    header = dict(record.header)
    header["curve"] = [{"epoch": e + 1, "val_accuracy": accuracy} for e, accuracy in enumerate((0.1, 0.97, 0.5))]
    logits, examples = {"val": record.logits("val")}, {"val": record.examples("val")}
    shutil.rmtree(record.path)
    write(record.path, header, logits=logits, examples=examples)
    trials = load_trials(path)
    assert trials["best_val_accuracy"].dropna().tolist() == [0.97]
    assert (set(trials["classes"]), set(trials["val_examples"])) == ({10}, {50})
    found = optimism(trials, "best_val_accuracy", "val_accuracy", rng=rng)
    assert found["optimism"].item() == pytest.approx(0.97 - header["results"]["val"]["accuracy"])


def test_results_without_a_curve_are_counted_and_a_method_without_any_is_last(rng):
    results = pd.DataFrame(
        {
            "task": ["t0", "t1", "t2", "t0"],
            "method": ["a", "a", "a", "b"],
            "best": [0.9, np.nan, 0.8, 0.9],
            "last": [0.8, 0.5, 0.7, np.nan],
        }
    )
    table = optimism(results, "best", "last", rng=rng, draws=20).set_index("method")
    assert table["unknown"].to_dict() == {"a": 1, "b": 1}
    assert table["tasks"].to_dict() == {"a": 2, "b": 0}
    assert table.loc["a", "optimism"] == pytest.approx(0.1)
    assert table.index[-1] == "b"
    assert np.isnan(table.loc["b", "optimism"])
    assert "2\nresults without a curve" in figures.optimism(table.reset_index())._supxlabel.get_text()


def test_trials_without_the_value_are_collapsed_trials_of_their_own(rng):
    trials = trials_of({"a": [0.9, 0.1]}).assign(lr=[1e-3, np.nan])
    assert collapsed(trials)["trials"].tolist() == [1, 1]


def test_a_validation_set_has_an_example(rng):
    with pytest.raises(InputError, match="examples must be a whole number of at least 1, such as 200; got 0"):
        top_ties(trials_of({"a": [0.9]}), examples=0)


def test_optimism_without_curves_says_so(rng, tmp_path):
    trials = load_trials(write_study(tmp_path / "study", tasks=("digits",)))
    with pytest.raises(InputError, match="no result has both 'best_val_accuracy' and 'val_accuracy'"):
        optimism(trials, "best_val_accuracy", "val_accuracy", rng=rng)
    with pytest.raises(InputError, match="no column best_epoch; it has"):
        optimism(trials, "best_epoch", "val_accuracy", rng=rng)
