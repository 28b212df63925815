"""Intervals of what pairs of runs have in common, pair by pair and method by method."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered
from scipy import stats

from analysis import (
    MEASURES,
    Predictions,
    confidence_overlap,
    confidence_overlap_by_method,
    disagreement,
    disagreement_by_method,
    methods_against_seeds,
)
from analysis.confidence import JACCARDS, Overlap
from analysis.pair_intervals import observed
from petl_study.errors import InputError


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def without_kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's kappa by hand."""
    expected = sum((a == c).mean() * (b == c).mean() for c in np.unique(a))
    return ((a == b).mean() - expected) / (1 - expected)


def test_the_interval_of_disagreement_is_that_of_a_binomial(rng):
    preds = predictions(rng, "ab", N=400)
    row = disagreement(preds, rng=rng, draws=4000).iloc[0]
    ends = stats.binom.ppf([0.025, 0.975], 400, row["disagreement"]) / 400  # resampling a share draws a binomial
    assert (row["disagreement_low"], row["disagreement_high"]) == pytest.approx(ends, abs=0.004)
    narrow = disagreement(preds, rng=rng, draws=4000, level=0.5).iloc[0]
    ends = stats.binom.ppf([0.25, 0.75], 400, row["disagreement"]) / 400
    assert (narrow["disagreement_low"], narrow["disagreement_high"]) == pytest.approx(ends, abs=0.004)


def test_the_interval_of_kappa_is_that_of_scipys_paired_bootstrap(rng):
    preds = predictions(rng, "ab", N=150)
    row = disagreement(preds, rng=rng, draws=2000).iloc[0]
    theirs = stats.bootstrap(
        tuple(preds.predicted), without_kappa, paired=True, vectorized=False, n_resamples=1000, method="percentile",
        rng=chance(),
    ).confidence_interval  # fmt: skip
    assert (row["kappa_low"], row["kappa_high"]) == pytest.approx((theirs.low, theirs.high), abs=0.015)


@pytest.mark.parametrize("top", [0.1, 0.4, 3])
def test_confidence_sets_of_a_resample_are_as_if_its_examples_were_there(rng, top):
    for ties, N in itertools.product((False, True), (6, 25, 60)):
        preds = predictions(rng, "abc", seeds=2, N=N, C=3)
        preds = Predictions(preds.labels, preds.logits.round(0) if ties else preds.logits, preds.runs)
        picks = np.sort(
            rng.integers(N, size=N)
        )  # copies side by side, as of equally sure examples the earlier is surer
        counts = np.bincount(picks, minlength=N)[None].astype(np.float32)
        measured = Overlap(preds, top).measures(counts)
        expected = confidence_overlap(Predictions(preds.labels[picks], preds.logits[:, picks], preds.runs), top)
        for name in JACCARDS:
            assert measured[name][0] == pytest.approx(expected[name].to_numpy(), nan_ok=True), (name, ties, N)


def test_on_the_examples_as_they_are_the_overlaps_are_those_of_the_table(rng):
    preds = predictions(rng, "abcd", N=300)
    measured, table = observed(Overlap(preds, 0.1)), confidence_overlap(preds, 0.1)
    for name in JACCARDS:
        assert measured[name] == pytest.approx(table[name].to_numpy())


@pytest.mark.parametrize(
    "table", [disagreement, confidence_overlap, disagreement_by_method, confidence_overlap_by_method]
)
def test_without_chance_there_are_no_intervals_and_with_it_the_values_stay(rng, table):
    preds = predictions(rng, "abc", seeds=2)
    plain, whole = table(preds), table(preds, rng=rng, draws=20)
    assert not any(name.endswith(("_low", "_high")) or name == "interval" for name in plain)
    pd.testing.assert_frame_equal(whole[plain.columns], plain)
    for name in (name.removesuffix("_low") for name in whole if name.endswith("_low")):
        low, high = whole[f"{name}_low"], whole[f"{name}_high"]
        assert (low <= high)[low.notna()].all(), name
    assert set(whole["interval"]) == {"bootstrap over examples"}
    again = table(preds, rng=chance(3), draws=20)
    pd.testing.assert_frame_equal(table(preds, rng=chance(3), draws=20), again)
    assert not table(preds, rng=chance(4), draws=20).equals(again)


@pytest.mark.parametrize("table", [disagreement, confidence_overlap])
def test_neither_the_order_of_runs_nor_a_constant_changes_an_interval(rng, table):
    preds = predictions(rng, "abc", N=60)
    intervals = table(preds, rng=chance(), draws=30)
    names = [name for name in intervals if name.endswith(("_low", "_high"))]
    moved = Predictions(preds.labels, preds.logits + rng.normal(size=(3, 60, 1)), preds.runs)
    assert table(moved, rng=chance(), draws=30)[names].to_numpy() == pytest.approx(intervals[names].to_numpy())
    backwards = table(reordered(preds), rng=chance(), draws=30)
    backwards = backwards.sort_values(["run_b", "run_a"], ascending=False)  # c b a: its last pair is the first
    assert backwards[names].to_numpy() == pytest.approx(intervals[names].to_numpy())


def test_the_interval_covers_the_disagreement_of_all_examples_about_as_often_as_it_says():
    rng, covered = chance(), 0
    runs = pd.DataFrame({"method": ["a", "b"]})
    for _ in range(80):
        said = rng.integers(4, size=120), rng.random(120) < 0.3
        other = np.where(said[1], (said[0] + 1) % 4, said[0])  # differs on 30 % of all examples there could be
        preds = Predictions(np.zeros(120, int), np.eye(4)[np.stack([said[0], other])], runs)
        row = disagreement(preds, rng=rng, draws=150).iloc[0]
        covered += row["disagreement_low"] <= 0.3 <= row["disagreement_high"]
    assert 0.85 <= covered / 80 < 1


def test_what_some_resample_leaves_undefined_has_no_interval(rng):
    preds = predictions(rng, "ab", N=30)
    logits = preds.logits.copy()
    logits[:] = 9 * np.eye(5)[preds.labels]
    logits[:, 0] = np.roll(logits[:, 0], 1, axis=1)  # both wrong about one example, which some resamples lack
    row = disagreement(Predictions(preds.labels, logits, preds.runs), rng=rng, draws=50).iloc[0]
    assert row["error_jaccard"] == 1
    assert np.isnan(row["error_jaccard_low"]) and np.isnan(row["error_jaccard_high"])
    assert row["double_fault_low"] == 0 < row["double_fault_high"]


# ------------------------------------------------------------------------------------------------------- two methods


def test_two_methods_of_one_run_each_have_the_interval_of_that_pair(rng):
    preds = predictions(rng, "ab")
    pair = disagreement(preds, rng=chance(), draws=50).iloc[0]
    for _, row in disagreement_by_method(preds, rng=chance(), draws=50).iterrows():
        for name in MEASURES:
            assert row[[name, f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(
                pair[[name, f"{name}_low", f"{name}_high"]].tolist()
            )
        assert np.isnan(row["kappa_beyond"])  # no second seed to be beyond


def test_the_means_are_those_of_the_table_of_pairs(rng):
    tasks = {"one": predictions(rng, "abc", seeds=2), "two": predictions(rng, "bcd", seeds=3)}
    for make, by_method in ((disagreement, disagreement_by_method), (confidence_overlap, confidence_overlap_by_method)):
        pairs = pd.concat([make(preds).assign(task=task) for task, preds in tasks.items()])
        keys = ["task", "method_a", "method_b"]
        of_table = by_method(pairs).set_index(keys).sort_index()
        of_predictions = by_method(tasks).query("task != 'all tasks'").set_index(keys).sort_index()
        pd.testing.assert_frame_equal(of_predictions[of_table.columns], of_table)


def test_the_mean_over_tasks_is_of_the_methods_that_have_them_all(rng):
    tasks = {"one": predictions(rng, "abc", seeds=2), "two": predictions(rng, "bcd", seeds=3, N=50)}
    table = disagreement_by_method(tasks, rng=rng, draws=300).set_index(["task", "method_a", "method_b"])
    of_all = table.loc["all tasks"]
    assert {a for a, _ in of_all.index} == {"b", "c"}
    each = table.loc[[("one", "b", "c"), ("two", "b", "c")]]
    row = of_all.loc[("b", "c")]
    for column in ("kappa", "kappa_beyond"):
        assert row[column] == pytest.approx(each[column].mean())
    assert row["pairs"] == 4 + 9
    half = (row["kappa_high"] - row["kappa_low"]) / 2
    assert half == pytest.approx(np.linalg.norm(each["kappa_high"] - each["kappa_low"]) / 4, rel=0.2)  # drawn apart


def test_beyond_seeds_is_between_minus_within_and_has_the_interval_of_the_control(rng):
    preds = predictions(rng, "ab", seeds=3, N=80)
    row = disagreement_by_method(preds, rng=chance(), draws=60).set_index(["method_a", "method_b"]).loc[("b", "a")]
    control = methods_against_seeds(preds, rng=chance(), draws=60, permutations=1).set_index("measure")
    for name in MEASURES:
        expected = control.loc[name, ["difference", "low", "high"]].tolist()
        assert row[[f"{name}_beyond", f"{name}_beyond_low", f"{name}_beyond_high"]].tolist() == pytest.approx(expected)
    pairs = disagreement(preds)
    same = pairs["method_a"] == pairs["method_b"]
    apart = pairs[~same & (pairs["seed_a"] != pairs["seed_b"])]["kappa"].mean()
    assert row["kappa_beyond"] == pytest.approx(apart - pairs[same]["kappa"].mean())
    assert row["kappa"] == pytest.approx(pairs[~same]["kappa"].mean())  # pairs under one seed count here


def test_a_method_beside_itself_has_an_interval_and_nothing_beyond(rng):
    table = disagreement_by_method(predictions(rng, "ab", seeds=2), rng=rng, draws=20)
    itself = table[table["method_a"] == table["method_b"]]
    assert itself["kappa_low"].notna().all()
    assert itself["kappa_beyond"].isna().all()


def test_runs_without_a_seed_are_compared_but_not_with_seeds(rng):
    preds = predictions(rng, "aabb")
    preds = Predictions(preds.labels, preds.logits, preds.runs.drop(columns="seed"))
    table = disagreement_by_method(preds, rng=rng, draws=10).set_index(["method_a", "method_b"])
    assert table["kappa_low"].notna().all()
    assert table["kappa_beyond"].isna().all()


def test_a_table_has_no_examples_to_draw(rng):
    preds = predictions(rng, "ab")
    for pairs, by_method in (
        (disagreement(preds), disagreement_by_method),
        (confidence_overlap(preds), confidence_overlap_by_method),
    ):
        with pytest.raises(InputError, match="a table of pairs has no examples to draw anew"):
            by_method(pairs, rng=rng)
        with pytest.raises(InputError, match="no task was given"):
            by_method({}, rng=rng)
    with pytest.raises(InputError, match=r"leave top=0\.2 out"):
        confidence_overlap_by_method(confidence_overlap(preds), 0.2)


@pytest.mark.parametrize(
    "table", [disagreement, confidence_overlap, disagreement_by_method, confidence_overlap_by_method]
)
def test_levels_and_draws_are_checked(rng, table):
    preds = predictions(rng, "ab")
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        table(preds, level=95)
    for draws in (0, 2.5):
        with pytest.raises(InputError, match="draws must be a whole number of at least 1"):
            table(preds, rng=rng, draws=draws)
