from __future__ import annotations

import numpy as np
import pytest
import scikit_posthocs
from scipy import stats

from analysis import critical_difference, friedman_test, nemenyi
from petl_study.errors import InputError
from tables import runs_of

# q of Nemenyi's test at 5 %, by number of methods: Demšar (2006), table 5a.
Q = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("decimals", [1, 9])  # with ties and without
def test_chi_square_is_scipys(rng, decimals):
    accuracy = rng.random((12, 5)).round(decimals)
    row = friedman_test(runs_of(accuracy)).set_index("scope").loc["all tasks"]
    reference = stats.friedmanchisquare(*accuracy.T)
    assert (row["chi2"], row["p"]) == pytest.approx((reference.statistic, reference.pvalue))
    assert row["kendall_w"] == pytest.approx(reference.statistic / (12 * 4))


def test_iman_and_davenports_f_is_that_of_a_two_way_analysis_of_ranks(rng):
    accuracy = rng.random((10, 4))
    ranks = stats.rankdata(-accuracy, axis=1)
    between = 10 * ((ranks.mean(axis=0) - 2.5) ** 2).sum() / 3
    residual = ranks - ranks.mean(axis=0) - ranks.mean(axis=1, keepdims=True) + 2.5
    f = between / ((residual**2).sum() / 27)
    row = friedman_test(runs_of(accuracy)).set_index("scope").loc["all tasks"]
    assert (row["f"], row["f_p"]) == pytest.approx((f, stats.f.sf(f, 3, 27)))


def test_tasks_that_rank_at_random_agree_as_chance_says(rng):
    drawn = [friedman_test(runs_of(rng.random((5, 4)))).iloc[-1] for _ in range(300)]
    assert np.mean([row["kendall_w"] for row in drawn]) == pytest.approx(drawn[0]["by_chance"], abs=0.02)


def test_equal_methods_and_single_tasks_have_no_test():
    assert friedman_test(runs_of(np.full((4, 3), 0.5)))[["chi2", "p", "f", "f_p"]].isna().all(axis=None)
    assert friedman_test(runs_of([[0.1, 0.2]]))["p"].isna().all()


def test_tasks_that_all_agree_are_certain():
    row = friedman_test(runs_of(np.tile([0.1, 0.2, 0.3], (6, 1)))).set_index("scope").loc["all tasks"]
    assert row["kendall_w"] == pytest.approx(1)
    assert row["f_p"] == 0


@pytest.mark.parametrize("M", Q)
def test_the_critical_difference_is_demsars(rng, M):
    found = critical_difference(runs_of(rng.random((14, M))))["critical_difference"].iloc[0]
    assert found == pytest.approx(Q[M] * np.sqrt(M * (M + 1) / (6 * 14)), rel=3e-4)


def test_p_values_are_those_of_scikit_posthocs(rng):
    accuracy = (rng.random((15, 6)) + np.arange(6) / 8) / 2
    reference = scikit_posthocs.posthoc_nemenyi_friedman(accuracy).to_numpy()
    table = nemenyi(runs_of(accuracy))
    assert len(table) == 15
    place = {name: i for i, name in enumerate("abcdef")}
    for row in table.itertuples():
        assert row.p == pytest.approx(reference[place[row.method_a], place[row.method_b]], abs=1e-6)
        assert row.distinguishable == (row.difference > row.critical_difference)
    assert table["distinguishable"].any()
    assert not table["distinguishable"].all()


def test_the_level_moves_the_critical_difference(rng):
    frame = runs_of(rng.random((8, 5)))
    wide, narrow = (critical_difference(frame, level=level)["critical_difference"].iloc[0] for level in (0.99, 0.9))
    assert wide > narrow


def test_one_method_is_not_compared():
    with pytest.raises(InputError, match="needs at least two; got a"):
        friedman_test(runs_of([[0.5], [0.6]]))
