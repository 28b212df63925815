from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from analysis import (
    hyperparameter_values,
    importance,
    importance_by_task,
    load_runs,
    search_gain,
    validation_against_test,
    validation_ranking,
)
from analysis.intervals import newcombe_interval, wilson_interval
from petl_study.errors import InputError
from studies import write_study
from tables import runs_of, trials_of

GRID = [{"lr": lr, "rank": rank, "bias": bias} for lr in (1e-3, 1e-2) for rank in (1, 8, 32) for bias in (True, False)]


def test_validation_stands_beside_test_with_its_own_interval():
    frame = runs_of([[[0.5, 0.7]]], val_accuracy=0.8, val_examples=50)
    row = validation_against_test(frame).iloc[0]
    assert row["accuracy"] == pytest.approx(0.6)
    assert row["difference"] == pytest.approx(0.2)
    assert (row["val_low"], row["val_high"]) == pytest.approx(wilson_interval(0.8, 50))
    unknown = validation_against_test(frame.drop(columns="val_examples")).iloc[0]
    assert np.isnan(unknown["val_low"])


def test_seeds_that_differ_on_validation_are_averaged_in_any_order():
    frame = runs_of([[[0.5, 0.7]]]).assign(val_accuracy=[0.7, 0.9])
    for some in (frame, frame[::-1]):
        assert validation_against_test(some)["val_accuracy"].item() == pytest.approx(0.8)


def test_validation_stands_beside_test_for_stored_studies(tmp_path):
    table = validation_against_test(load_runs(write_study(tmp_path / "study", tasks=("digits",))))
    assert table[["val_accuracy", "val_low", "val_high", "accuracy"]].notna().all(axis=None)


def test_the_order_by_validation_is_compared_as_scipy_does(rng):
    frame = runs_of(rng.random((3, 8)).round(1))
    frame["val_accuracy"] = rng.random(len(frame)).round(1)
    for row in validation_ranking(frame, rng=rng, draws=50).itertuples():
        some = frame[frame["task"] == row.task]
        assert row.spearman == pytest.approx(stats.spearmanr(some["val_accuracy"], some["test_accuracy"]).statistic)
        assert row.kendall == pytest.approx(stats.kendalltau(some["val_accuracy"], some["test_accuracy"]).statistic)
        top = some[some["val_accuracy"] == some["val_accuracy"].max()]
        assert row.chosen == " or ".join(top["method"])
        assert row.regret == pytest.approx(some["test_accuracy"].max() - top["test_accuracy"].mean())
        assert row.low <= row.spearman <= row.high


def test_methods_that_are_all_equal_on_validation_have_no_order(rng):
    row = validation_ranking(runs_of([[0.5, 0.6, 0.7]], val_accuracy=0.5), rng=rng).iloc[0]
    assert np.isnan([row["spearman"], row["low"], row["kendall"]]).all()
    assert row["chosen"] == "a or b or c"
    assert row["regret"] == pytest.approx(0.1)


def test_the_search_is_compared_with_the_default_and_with_chance():
    points = [{"lr": 1e-3, "rank": 8}, {"lr": 1e-2, "rank": 8}, {"lr": 1e-3, "rank": 1}]
    trials = trials_of({"a": [0.6, 0.9, np.nan]}, points)
    row = search_gain(trials, {"a": {"rank": 8, "lr": 1e-3}}).iloc[0]
    assert (row["trials"], row["failed"], row["default_trials"]) == (2, 1, 1)
    assert (row["best"], row["random"], row["default"]) == pytest.approx((0.9, 0.75, 0.6))
    assert row["gain_over_default"] == pytest.approx(0.3)
    assert (row["low"], row["high"]) == pytest.approx(newcombe_interval(0.9, 0.6, 200, 200))
    of_several = search_gain(trials, {"a": {"rank": 8}}).iloc[0]
    assert (of_several["default"], of_several["default_trials"]) == (0.75, 2)


def test_a_default_that_is_not_in_the_grid_is_said_to_be_missing():
    trials = trials_of({"a": [0.6, 0.9], "b": [0.5, 0.4]}, [{"rank": 1}, {"rank": 8}])
    table = search_gain(trials, {"a": {"rank": 32}})
    assert table["default_trials"].tolist() == [0, 0]
    assert table[["default", "gain_over_default", "low"]].isna().all(axis=None)
    with pytest.raises(InputError, match="default of 'a' names 'r', which its trials do not have; theirs: lr, rank, w"):
        search_gain(trials, {"a": {"r": 8}})
    with pytest.raises(InputError, match="defaults: unknown method 'lora'; known: a, b"):
        search_gain(trials, {"lora": {"rank": 8}})


def test_shares_of_a_full_grid_are_those_of_the_analysis_of_variance(rng):
    trials = trials_of({"a": rng.random(12)}, GRID)
    table = importance_by_task(trials).set_index("hyperparameter")
    flat = pd.DataFrame(GRID).assign(val=trials["val_accuracy"])
    anova = sm.stats.anova_lm(smf.ols("val ~ C(lr) + C(rank) + C(bias)", flat).fit())["sum_sq"]
    shares = anova / anova.sum()
    expected = [shares["C(lr)"], shares["C(rank)"], shares["C(bias)"], shares["Residual"]]
    assert table.loc[["lr", "rank", "bias", "interactions"], "share"].to_numpy() == pytest.approx(expected)
    assert table["balanced"].all()
    assert table["share"].sum() == pytest.approx(1)
    assert "weight_decay" not in table.index  # it has one value


def test_what_changes_nothing_gets_what_chance_gives(rng):
    tasks = [trials_of({"a": rng.random(12)}, GRID, task=f"t{i}") for i in range(200)]
    table = importance(pd.concat(tasks, ignore_index=True), rng=rng).set_index("hyperparameter")
    assert table["share"].to_numpy() == pytest.approx(table["by_chance"].to_numpy(), abs=0.04)
    assert ((table["low"] < table["share"]) & (table["share"] < table["high"])).all()


def test_what_alone_matters_gets_everything():
    trials = trials_of({"a": [point["rank"] / 100 for point in GRID]}, GRID)
    table = importance_by_task(trials).set_index("hyperparameter")["share"]
    assert table.to_dict() == pytest.approx({"lr": 0, "rank": 1, "bias": 0, "interactions": 0}, abs=1e-12)


def test_a_random_subset_of_the_grid_is_not_called_balanced(rng):
    trials = trials_of({"a": rng.random(9)}, GRID)
    table = importance_by_task(trials)
    assert not table["balanced"].any()
    assert "interactions" not in set(table["hyperparameter"])
    alike = importance_by_task(trials.assign(val_accuracy=0.5))
    assert alike["share"].isna().all()


def test_every_value_has_its_best_and_what_fixing_it_costs(rng):
    val = rng.random(12)
    val[0] = np.nan
    table = hyperparameter_values(trials_of({"a": val}, GRID)).set_index(["hyperparameter", "value"])
    of_rank = [val[[i for i, point in enumerate(GRID) if point["rank"] == rank]] for rank in (1, 8, 32)]
    for rank, some in zip((1, 8, 32), of_rank, strict=True):
        some = some[~np.isnan(some)]
        row = table.loc[("rank", rank)]
        assert (row["best"], row["mean"]) == pytest.approx((some.max(), some.mean()))
        assert row["behind"] == pytest.approx(np.nanmax(val) - some.max())
        reference = stats.t.interval(0.95, len(some) - 1, some.mean(), stats.sem(some))
        assert (row["low"], row["high"]) == pytest.approx(np.clip(reference, 0, 1))
    assert table.loc[("rank", 1), "failed"] == 1
    assert set(table.loc["bias"].index) == {True, False}


def test_searches_of_two_protocols_are_not_put_together(rng):
    trials = trials_of({"a": rng.random(12)}, GRID).assign(protocol=["long"] * 6 + ["short"] * 6)
    for table in (hyperparameter_values, importance_by_task, search_gain):
        with pytest.raises(InputError, match="different protocol"):
            table(trials)
