from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from analysis import gain_over_baseline, relative_spread
from analysis.intervals import newcombe_interval, t_interval, welch_interval, wilson_interval
from petl_study.errors import InputError
from tables import runs_of


@pytest.mark.parametrize(("one", "other"), [(0.9, 0.4), (0.5, 0.5), (1.0, 0.0), (0.02, 0.98)])
def test_newcombes_interval_is_that_of_statsmodels(one, other):
    reference = confint_proportions_2indep(
        round(200 * one), 200, round(50 * other), 50, method="newcomb", compare="diff", alpha=0.05
    )
    assert newcombe_interval(one, other, 200, 50) == pytest.approx(reference)


def test_welchs_interval_is_scipys_and_constants_have_none(rng):
    one, other = rng.random(4), rng.random(3)
    reference = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.9)
    assert welch_interval(one, other, 0.9) == pytest.approx((reference.low, reference.high))
    assert welch_interval([0.5, 0.5], [0.4, 0.4]) == pytest.approx((0.1, 0.1))
    low, high = t_interval([0.4, 0.5])  # a set without spread takes nothing from the certainty of the other
    assert welch_interval([0.775, 0.775], [0.4, 0.5]) == pytest.approx((0.775 - high, 0.775 - low))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_wilsons_interval_stays_between_0_and_1_to_the_last_digit(accuracy):
    for examples in range(1, 60):
        low, high = wilson_interval(accuracy, examples)
        assert 0 <= low < high <= 1


def test_gains_are_differences_on_the_same_task():
    table = gain_over_baseline(runs_of([[0.5, 0.7], [0.6, 0.4]]), baseline="a")
    assert table["method"].tolist() == ["b", "b"]
    assert table["gain"].tolist() == pytest.approx([0.2, -0.2])
    assert set(table["interval"]) == {"Newcombe over examples"}
    assert (table.loc[0, "low"], table.loc[0, "high"]) == pytest.approx(newcombe_interval(0.7, 0.5, 100, 100))


def test_gains_of_several_seeds_have_welchs_interval_and_of_none_known_none(rng):
    accuracy = rng.random((1, 2, 3))
    row = gain_over_baseline(runs_of(accuracy), baseline="a").iloc[0]
    assert row["interval"] == "Welch over seeds"
    assert (row["low"], row["high"]) == pytest.approx(welch_interval(accuracy[0, 1], accuracy[0, 0]))
    bare = gain_over_baseline(runs_of([[0.5, 0.7]]).drop(columns=["test_examples", "group"]), baseline="a").iloc[0]
    assert bare["interval"] == "none"
    assert np.isnan(bare["low"])


def test_a_baseline_that_is_not_there_shows_what_is():
    with pytest.raises(InputError, match="unknown baseline 'linear'; known: a, b"):
        gain_over_baseline(runs_of([[0.5, 0.7]]))


def test_the_relative_spread_is_the_coefficient_of_variation(rng):
    accuracy = rng.random((3, 6)) / 2 + 0.25
    table = relative_spread(runs_of(accuracy), rng=rng)
    assert table["relative_deviation"].to_numpy() == pytest.approx(stats.variation(accuracy, axis=1, ddof=1))
    assert (table["low"] < table["relative_deviation"]).all()


def test_methods_that_differ_by_noise_alone_spread_as_noise_does(rng):
    drawn = rng.binomial(100, 0.6, size=(1, 2_000)) / 100
    row = relative_spread(runs_of(drawn), rng=rng, draws=20).iloc[0]
    assert row["noise_from"] == "examples"
    assert row["relative_deviation"] == pytest.approx(row["noise"], rel=0.06)
    seeds = rng.normal(0.6, 0.03, size=(1, 800, 3))
    row = relative_spread(runs_of(seeds), rng=rng, draws=20).iloc[0]
    assert row["noise_from"] == "seeds"
    assert row["relative_deviation"] == pytest.approx(row["noise"], rel=0.1)


def test_a_spread_needs_two_methods_and_zero_correct_has_none(rng):
    with pytest.raises(InputError, match="at least two; got a"):
        relative_spread(runs_of([[0.5]]), rng=rng)
    assert relative_spread(runs_of([[0.0, 0.0]]), rng=rng)["relative_deviation"].isna().all()


def test_draws_of_methods_that_are_all_at_zero_are_left_out_of_the_interval(rng):
    row = relative_spread(runs_of([[0.0, 0.5, 0.6]]), rng=rng, draws=200).iloc[0]  # one draw of 27 has no mean
    assert row["low"] < row["relative_deviation"] < row["high"]


def test_a_number_of_examples_that_is_missing_is_not_known(rng):
    frame = runs_of([[0.5, 0.7]]).assign(test_examples=pd.array([pd.NA, pd.NA], dtype="Int64"))
    assert set(gain_over_baseline(frame, baseline="a")["interval"]) == {"none"}
    assert set(relative_spread(frame, rng=rng)["noise_from"]) == {"none"}
