from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis import best_sets
from analysis.best import signed_rank_p
from analysis.ranks import ranks_of
from petl_study.errors import InputError
from tables import runs_of


def brute_force(differences: np.ndarray) -> float:
    """The share of all signs under which the rank sum is at least as extreme."""
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = np.array([ranks[list(signs)].sum() for signs in itertools.product([False, True], repeat=len(kept))])
    observed = ranks[kept > 0].sum()
    return min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))


def test_signed_ranks_are_scipys_where_nothing_ties(rng):
    for n in (4, 7, 19):
        differences = rng.normal(0.3, 1, size=n)
        reference = stats.wilcoxon(differences, method="exact").pvalue
        assert signed_rank_p(differences) == pytest.approx(reference)


def test_signed_ranks_are_exact_with_ties_and_zeros(rng):
    for _ in range(10):
        differences = rng.integers(-3, 5, size=8).astype(float)
        assert signed_rank_p(differences) == pytest.approx(brute_force(differences))
    assert signed_rank_p(np.zeros(5)) == 1


def test_the_mean_rank_test_is_the_normal_one_against_the_best(rng):
    accuracy = (rng.random((8, 5)) + np.arange(5) / 4) / 2
    table = best_sets(runs_of(accuracy))
    table = table[table["scope"] == "all tasks"].reset_index(drop=True)
    ranks = np.sort(ranks_of(accuracy).mean(axis=0))
    z = (ranks[1:] - ranks[0]) / np.sqrt(5 * 6 / (6 * 8))
    p = 2 * stats.norm.sf(z)
    assert table["p"].to_numpy()[1:] == pytest.approx(p)
    assert table["p_holm"].to_numpy()[1:] == pytest.approx(multipletests(p, method="holm")[1])
    assert table["in_best_set"].tolist() == [True, *(multipletests(p, method="holm")[1] >= 0.05)]
    assert not table["in_best_set"].all()


def test_equal_methods_are_all_best():
    table = best_sets(runs_of(np.full((6, 3), 0.5)))
    assert table["in_best_set"].all()
    assert (table["behind"] == 0).all()


def test_too_few_tasks_for_signed_ranks_are_owned_up_to(rng):
    accuracy = rng.random((4, 1)) / 10 + np.arange(6) / 7  # every task agrees on the order
    signed = best_sets(runs_of(accuracy), test="signed-rank")
    whole = signed[signed["scope"] == "all tasks"]
    assert whole["smallest_p"].iloc[0] == 5 * 2 / 2**4
    assert whole["in_best_set"].all()
    assert whole["p_holm"].iloc[1:].min() == pytest.approx(5 * 2 / 2**4)
    by_ranks = best_sets(runs_of(accuracy))
    assert not by_ranks[by_ranks["scope"] == "all tasks"]["in_best_set"].all()


def test_how_far_behind_has_students_interval_over_tasks(rng):
    accuracy = rng.random((9, 2))
    row = best_sets(runs_of(accuracy)).set_index("scope").loc["all tasks"].iloc[1]
    difference = accuracy[:, "ab".index(row["method"]) - 1] - accuracy[:, "ab".index(row["method"])]
    reference = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (row["behind"], row["low"], row["high"]) == pytest.approx((difference.mean(), *reference))


def test_the_level_moves_the_set(rng):
    accuracy = (rng.random((12, 6)) + np.arange(6) / 8) / 2
    sizes = [best_sets(runs_of(accuracy), level=level)["in_best_set"].sum() for level in (0.5, 0.95, 0.9999)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_an_unknown_test_shows_the_known():
    with pytest.raises(InputError, match="unknown test 'wilcoxon'; known: mean-rank, signed-rank"):
        best_sets(runs_of([[0.5, 0.6]]), test="wilcoxon")
