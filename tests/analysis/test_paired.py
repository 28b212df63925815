from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, shuffled
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from analysis import Predictions, accuracy_differences, accuracy_intervals
from analysis.examples import mean_interval, resamples
from analysis.paired import mcnemar
from petl_study.errors import InputError


def test_a_resample_draws_as_many_examples_as_there_are(rng):
    counts = np.concatenate(list(resamples(50, 7, rng)))
    assert counts.shape == (7, 50)
    assert (counts.sum(axis=1) == 50).all()


def test_how_many_resamples_are_held_at_once_does_not_matter(monkeypatch):
    whole = np.concatenate(list(resamples(50, 7, np.random.default_rng(0))))
    monkeypatch.setattr("analysis.examples._BATCH_BYTES", 600)
    batches = list(resamples(50, 7, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert np.array_equal(np.concatenate(batches), whole)


def test_the_interval_of_a_mean_is_that_of_resampling(rng):
    values = rng.choice([-1.0, 0.0, 0.5], size=200)
    drawn = values[rng.integers(200, size=(20_000, 200))].mean(axis=1)
    assert mean_interval(values, rng, 0.9, 20_000) == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=0.01)


def test_every_run_has_the_interval_of_a_proportion(rng):
    preds = predictions(rng, "abc", N=400)
    for row in accuracy_intervals(preds, rng=rng, draws=4000).itertuples():
        assert row.accuracy == preds.accuracy[row.run]
        half = 1.96 * np.sqrt(row.accuracy * (1 - row.accuracy) / 400)
        assert (row.low, row.high) == pytest.approx((row.accuracy - half, row.accuracy + half), abs=0.01)


def test_runs_share_their_resamples_so_that_equal_runs_do_not_differ(rng):
    preds = predictions(rng, "ab")
    twice = preds.select([0, 0, 1])
    table = accuracy_differences(twice, rng=rng, draws=50)
    assert table.loc[0, ["difference", "low", "high", "p_value", "mid_p"]].tolist() == [0, 0, 0, 1, 1]
    best = accuracy_intervals(twice, rng=rng, draws=50)["best"]
    assert best[0] == best[1]
    assert best.sum() == pytest.approx(1)


def test_a_difference_has_the_interval_of_paired_examples(rng):
    preds = predictions(rng, "ab", N=400)
    row = accuracy_differences(preds, rng=rng, draws=4000).iloc[0]
    each = preds.correct[0].astype(float) - preds.correct[1]
    half = 1.96 * each.std() / np.sqrt(400)
    assert row["difference"] == pytest.approx(each.mean())
    assert (row["low"], row["high"]) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.01)
    assert (row["only_a"], row["only_b"]) == ((each > 0).sum(), (each < 0).sum())


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 3), (2, 9), (30, 12), (0, 40)])
def test_mcnemar_is_that_of_statsmodels_and_mid_p_counts_half_of_what_was_seen(only_a, only_b):
    exact, mid_p = mcnemar(only_a, only_b)
    assert exact == pytest.approx(reference_mcnemar([[5, only_a], [only_b, 5]], exact=True).pvalue)
    n, fewer = only_a + only_b, min(only_a, only_b)
    probabilities = stats.binom.pmf(np.arange(n + 1), n, 0.5)
    tail = probabilities[:fewer].sum() + probabilities[fewer] / 2
    assert mid_p == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(only_b, only_a) == (exact, mid_p)


def test_neither_the_order_of_examples_nor_a_constant_matters(rng):
    preds = predictions(rng)
    columns = ["difference", "only_a", "only_b", "p_value", "mid_p", "p_holm"]
    one, other = (accuracy_differences(some, rng=rng, draws=5)[columns] for some in (preds, shuffled(preds, rng)))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("right", [True, False])
def test_all_or_none_correct_has_no_width(right):
    preds = Predictions(
        [0, 0], np.tile([1.0, 0.0] if right else [0.0, 1.0], (1, 2, 1)), pd.DataFrame({"method": ["a"]})
    )
    row = accuracy_intervals(preds, rng=np.random.default_rng(0)).iloc[0]
    assert (row["low"], row["accuracy"], row["high"], row["best"]) == (right, right, right, 1)


def test_only_the_generator_decides(rng):
    preds = predictions(rng)
    one, same, other = (
        accuracy_intervals(preds, rng=np.random.default_rng(seed), draws=200)["low"].tolist() for seed in (0, 0, 1)
    )
    assert one == same != other


def test_wrong_input_is_refused(rng):
    preds = predictions(rng)
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        accuracy_intervals(preds, rng=rng, level=95)
    with pytest.raises(InputError, match="draws must be a whole number of at least 1"):
        accuracy_intervals(preds, rng=rng, draws=0)
    with pytest.raises(InputError, match="at least two runs"):
        accuracy_differences(preds.select([0]), rng=rng)
    with pytest.raises(InputError, match="different weights"):
        apart = Predictions(preds.labels, preds.logits, preds.runs.assign(weights=["x", "x", "y"]))
        accuracy_differences(apart, rng=rng)
