from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import budget_correlation, expected_best, rank_and_budget, ranks_at_budget
from analysis.budget import best_of_weights
from petl_study.errors import InputError
from tables import runs_of, trials_of


def test_the_expectation_is_the_mean_over_every_set_of_n_trials(rng):
    val = rng.random(7).round(1)  # ties among them
    table = expected_best(trials_of({"a": val}))
    assert table["budget"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    for n, expected in zip(table["budget"], table["expected"], strict=True):
        assert expected == pytest.approx(np.mean([max(drawn) for drawn in itertools.combinations(val, n)]))
    assert table["expected"].iloc[0] == pytest.approx(val.mean())
    assert table["expected"].iloc[-1] == val.max()


def test_the_ends_leave_out_as_many_sets_as_the_level_allows(rng):
    val = rng.random(9)
    table = expected_best(trials_of({"a": val}), level=0.8).set_index("budget")
    for n in (1, 3, 8):
        best = [max(drawn) for drawn in itertools.combinations(val, n)]
        assert table.loc[n, "low"] == pytest.approx(np.quantile(best, 0.1, method="inverted_cdf"))
        assert table.loc[n, "high"] == pytest.approx(np.quantile(best, 0.9, method="inverted_cdf"))


@pytest.mark.parametrize("N", [1, 5, 80, 500])
def test_the_weights_of_every_budget_sum_to_one(N):
    weights = best_of_weights(N)
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-9)
    assert (weights >= 0).all()


def test_what_the_chosen_trial_scores_elsewhere_is_the_mean_over_every_set(rng):
    val, test = rng.random(6).round(1), rng.random(6)
    table = expected_best(trials_of({"a": val}).assign(test_accuracy=test), then="test_accuracy")
    for n, expected in zip(table["budget"], table["expected_then"], strict=True):
        found = []
        for drawn in map(list, itertools.combinations(range(6), n)):
            top = val[drawn] == val[drawn].max()
            found.append(test[drawn][top].mean())
        assert expected == pytest.approx(np.mean(found))


def test_test_accuracies_that_nobody_measured_are_not_made_up():
    with pytest.raises(InputError, match=r"no column 'test_accuracy'.*looks at the test set once"):
        expected_best(trials_of({"a": [0.5]}), then="test_accuracy")


def test_a_failed_trial_took_its_share_of_the_budget():
    table = expected_best(trials_of({"a": [0.8, np.nan]}))
    assert table["expected"].tolist() == pytest.approx([0.4, 0.8])


def test_at_equal_budget_the_larger_search_loses_its_advantage(rng):
    """b is no better than a, but was tried twenty times as often."""
    tasks = [trials_of({"a": rng.random(2), "b": rng.random(40)}, task=f"t{i}") for i in range(25)]
    table = ranks_at_budget(pd.concat(tasks, ignore_index=True), rng=rng, draws=50).set_index(["method", "budget"])
    assert table.loc[("b", 40), "mean_rank"] < 1.1
    assert table.loc[("b", 2), "mean_rank"] == pytest.approx(1.5, abs=0.3)
    assert table.loc[("a", 40), "exhausted"]
    assert not table.loc[("b", 40), "exhausted"]
    assert table.index.get_level_values("budget").unique().tolist() == [1, 2, 4, 8, 16, 32, 40]


def test_budgets_and_cells_that_are_not_there_are_refused(rng):
    both = pd.concat([trials_of({"a": [0.5], "b": [0.4]}), trials_of({"a": [0.5]}, task="t1")])
    with pytest.raises(InputError, match="'b' has none on t1"):
        ranks_at_budget(both, rng=rng)
    for budget in (0, 1.5):
        with pytest.raises(InputError, match=f"a whole number of trials, 1 or more; got {budget}"):
            ranks_at_budget(trials_of({"a": [0.5], "b": [0.4]}), [1, budget], rng=rng)


def test_a_budget_that_is_asked_for_twice_is_answered_once(rng):
    table = ranks_at_budget(trials_of({"a": [0.5], "b": [0.4]}), [2, 1, 2], rng=rng, draws=5)
    assert table["budget"].tolist() == [1, 1, 2, 2]


def test_the_size_of_a_search_is_the_mean_over_tasks_whatever_their_seeds(rng):
    accuracy = rng.random((2, 2, 3))
    accuracy[0, :, 1:] = np.nan  # one seed on t0, three on t1
    frame = runs_of(accuracy)
    frame["search_trials"] = frame["task"].map({"t0": 10, "t1": 20})
    assert rank_and_budget(frame, rng=rng, draws=5)["search_trials"].tolist() == [15, 15]


def test_the_correlation_of_budget_and_rank_is_scipys(rng):
    frame = runs_of(rng.random((9, 8)))
    frame["search_trials"] = frame["method"].map(dict(zip("abcdefgh", [4, 4, 8, 16, 20, 20, 64, 80], strict=True)))
    row = budget_correlation(frame, rng=rng).set_index("scope").loc["all tasks"]
    table = rank_and_budget(frame, rng=rng, draws=10)
    reference = stats.spearmanr(table["search_trials"], table["mean_rank"])
    assert (row["spearman"], row["p"]) == pytest.approx((reference.statistic, reference.pvalue))
    assert row["low"] < row["spearman"] < row["high"]


def test_equal_budgets_correlate_with_nothing(rng):
    frame = runs_of(rng.random((4, 5)), search_trials=12)
    assert budget_correlation(frame, rng=rng)[["spearman", "low", "p"]].isna().all(axis=None)
    with pytest.raises(InputError, match="no column search_trials"):
        rank_and_budget(frame.drop(columns="search_trials"), rng=rng)
