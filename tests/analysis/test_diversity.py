from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from scipy import stats

from analysis import COMBINE, Predictions, disagreement, diversity_gain, ensemble, ensemble_sizes
from analysis.diversity import _elementary, _of_methods, _of_seeds
from petl_study.errors import InputError


@pytest.mark.parametrize("combine", COMBINE)
def test_a_pair_gains_what_its_ensemble_gets_over_its_two_runs(rng, combine):
    preds = predictions(rng, "ab", seeds=2)
    table = diversity_gain(preds, combine=combine)
    assert table["disagreement"].tolist() == disagreement(preds)["disagreement"].tolist()
    for row in table.itertuples():
        two = [row.run_a, row.run_b]
        accuracy = (ensemble(preds, combine, two).argmax(axis=1) == preds.labels).mean()
        assert row.ensemble == accuracy
        assert row.gain_over_better == pytest.approx(accuracy - preds.accuracy[two].max())
        assert row.gain_over_mean == pytest.approx(accuracy - preds.accuracy[two].mean())
        assert row.oracle == pytest.approx(preds.correct[two].any(axis=0).mean())
    assert table["same_method"].tolist() == [True, False, False, False, False, True]


def test_runs_that_agree_gain_nothing(rng):
    table = diversity_gain(predictions(rng, "a").select([0, 0]))
    assert table[["disagreement", "gain_over_better", "gain_over_mean"]].iloc[0].tolist() == [0, 0, 0]


def test_gains_do_not_depend_on_the_order_of_runs_or_examples(rng):
    preds = predictions(rng, "abc")
    gains = sorted(diversity_gain(preds)["gain_over_mean"])
    assert sorted(diversity_gain(reordered(preds))["gain_over_mean"]) == pytest.approx(gains)
    assert sorted(diversity_gain(shuffled(preds, rng))["gain_over_mean"]) == pytest.approx(gains)


def test_gains_of_pairs_have_the_interval_of_a_paired_bootstrap(rng):
    preds = predictions(rng, "abcd", N=200)
    assert 0 < (np.diff(preds.accuracy[np.array(list(itertools.combinations(range(4), 2)))]) > 0).sum() < 6
    plain = diversity_gain(preds)
    assert not any(name.endswith("_low") for name in plain)
    table = diversity_gain(preds, rng=rng, draws=2000)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    for row in table.itertuples():
        two = preds.correct[[row.run_a, row.run_b]].astype(float)
        right = (ensemble(preds, members=[row.run_a, row.run_b]).argmax(axis=1) == preds.labels).astype(float)
        for name, other in (("over_mean", two.mean(axis=0)), ("over_better", two[two.mean(axis=1).argmax()])):
            half = 1.96 * stats.sem(right - other)  # paired: of the difference, example by example
            low, high = getattr(row, f"gain_{name}_low"), getattr(row, f"gain_{name}_high")
            gain = getattr(row, f"gain_{name}")
            assert (low, high) == pytest.approx((gain - half, gain + half), abs=0.012)
            assert high - low == pytest.approx(2 * half, rel=0.25)
        assert row.disagreement_low < row.disagreement < row.disagreement_high
    assert set(table["interval"]) == {"paired bootstrap over examples"}


def test_the_interval_of_a_gain_moves_with_its_level_and_its_own_chance(rng):
    preds = predictions(rng, "ab", N=100)

    def high(seed=0, level=0.95):
        return diversity_gain(preds, rng=np.random.default_rng(seed), level=level, draws=100)["gain_over_mean_high"][0]

    assert high() == high() != high(1)
    assert high(level=0.5) < high(level=0.99)
    with pytest.raises(InputError, match="level must be between"):
        diversity_gain(preds, level=95)
    for draws in (0, 2.5):
        with pytest.raises(InputError, match="draws must be a whole number"):
            diversity_gain(preds, rng=rng, draws=draws)


def test_every_size_compares_all_ensembles_of_methods_with_all_of_seeds(rng):
    preds = predictions(rng, "abc", seeds=2)
    row = ensemble_sizes(preds, rng=rng).iloc[0]
    methods = [
        p for p in itertools.combinations(range(6), 2) if preds.runs["method"][p[0]] != preds.runs["method"][p[1]]
    ]
    seeds = [(0, 1), (2, 3), (4, 5)]
    for name, some in (("methods", methods), ("seeds", seeds)):
        accuracies = [(ensemble(preds, members=list(two)).argmax(axis=1) == preds.labels).mean() for two in some]
        members = [preds.accuracy[list(two)].mean() for two in some]
        assert row[f"{name[:-1]}_ensembles"] == len(some)
        assert row[f"{name}_accuracy"] == pytest.approx(np.mean(accuracies))
        assert row[f"{name}_gain"] == pytest.approx(np.mean(accuracies) - np.mean(members))
    assert row["difference"] == pytest.approx(row["methods_gain"] - row["seeds_gain"])
    assert row["low"] < row["difference"] < row["high"]


def test_methods_that_err_apart_gain_more_than_seeds_that_do_not(rng):
    apart = ensemble_sizes(predictions(rng, "abcd", seeds=3, N=600, apart=1.5, noise=0.2), rng=rng)
    assert apart["size"].tolist() == [2, 3]
    assert (apart["low"] > 0).all()
    alike = ensemble_sizes(predictions(rng, "abcd", seeds=3, N=600, apart=0.0), rng=rng)
    assert (alike["low"] < 0.01).all()
    assert (alike["high"] > -0.01).all()


def test_no_ensemble_of_methods_takes_two_runs_of_one(rng):
    runs = [[0, 1, 2], [3, 4], [5]]
    every = _of_methods(runs, 2, 100, rng)
    assert len(every) == len(set(every)) == _elementary([3, 2, 1], 2) == 6 + 3 + 2
    drawn = _of_methods(runs, 2, 7, rng)
    assert len(drawn) == len(set(drawn)) == 7
    assert set(drawn) < set(every)


def test_seeds_of_every_method_have_their_share_of_what_is_drawn(rng):
    runs = [list(range(6)), list(range(6, 12)), [12]]
    assert len(_of_seeds(runs, 2, 100, rng)) == 30
    drawn = _of_seeds(runs, 2, 10, rng)
    assert [sum(subset[0] < 6 for subset in drawn), len(drawn)] == [5, 10]


def test_only_the_generator_decides_and_the_level_moves_the_interval(rng):
    preds = predictions(rng, "abc", seeds=2)

    def low(seed, level=0.95):
        return ensemble_sizes(preds, rng=np.random.default_rng(seed), level=level)["low"].item()

    assert low(0) == low(0) != low(1)
    assert low(0, 0.99) < low(0, 0.5)


def test_without_methods_or_seeds_there_is_nothing_to_compare(rng):
    with pytest.raises(InputError, match=r"got 3 method\(s\) with at most 1 run"):
        ensemble_sizes(predictions(rng), rng=rng)
    with pytest.raises(InputError, match=r"got 1 method\(s\) with at most 3 run"):
        ensemble_sizes(predictions(rng, "a", seeds=3), rng=rng)
    with pytest.raises(InputError, match="most must be a whole number of at least 1"):
        ensemble_sizes(predictions(rng, "ab", seeds=2), rng=rng, most=0)
    with pytest.raises(InputError, match="unknown combine 'stacking'"):
        diversity_gain(predictions(rng), combine="stacking")
    preds = predictions(rng, "ab")
    with pytest.raises(InputError, match="different protocol"):
        diversity_gain(Predictions(preds.labels, preds.logits, preds.runs.assign(protocol=["x", "y"])))
    preds = predictions(rng, "ab", seeds=2)
    with pytest.raises(InputError, match="different protocol"):
        ensemble_sizes(Predictions(preds.labels, preds.logits, preds.runs.assign(protocol=list("xxyy"))), rng=rng)
