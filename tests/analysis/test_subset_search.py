from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from scipy import stats
from scipy.special import log_softmax

from analysis import COMBINE, Predictions, ensemble, scores_as_logits, subsets
from analysis.subset_search import correct_of
from petl_study.errors import InputError


@pytest.mark.parametrize("combine", COMBINE)
def test_every_subset_is_judged_as_the_ensemble_it_is(rng, combine):
    test, val = predictions(rng, "abcd"), predictions(rng, "abcd", N=50)
    table = subsets(test, val, up_to=3, combine=combine).set_index("members")
    expected = [rows for size in (1, 2, 3) for rows in itertools.combinations(range(4), size)]
    assert sorted(table.index, key=lambda rows: (len(rows), rows)) == expected
    for rows in expected:
        scores = {"val": ensemble(val, combine, list(rows)), "test": ensemble(test, combine, list(rows))}
        assert table.loc[[rows], "val_accuracy"].item() == (scores["val"].argmax(axis=1) == val.labels).mean()
        assert table.loc[[rows], "test_accuracy"].item() == (scores["test"].argmax(axis=1) == test.labels).mean()
        logits = log_softmax(scores_as_logits(scores["val"], combine), axis=1)
        assert table.loc[[rows], "val_loss"].item() == pytest.approx(-logits[np.arange(50), val.labels].mean())


def test_validation_ranks_and_test_does_not(rng):
    test, val = predictions(rng, "abcde"), predictions(rng, "abcde", N=30)
    table = subsets(test, val)
    assert table["rank"].tolist() == list(range(1, 26))
    keys = list(zip(-table["val_accuracy"], table["val_loss"].round(12), strict=True))
    assert keys == sorted(keys)
    other = subsets(predictions(rng, "abcde"), val)
    assert other["members"].tolist() == table["members"].tolist()


def test_the_best_pair_is_the_first_of_the_pairs(rng):
    test, val = predictions(rng, "abcd"), predictions(rng, "abcd")
    pairs = subsets(test, val, up_to=2, at_least=2)
    assert len(pairs) == 6
    every = subsets(test, val, up_to=4)
    assert pairs["members"].tolist() == every.loc[every["size"] == 2, "members"].tolist()


def test_of_equal_subsets_the_smaller_and_the_first_is_picked(rng):
    test = predictions(rng, "a").select([0, 0, 0])
    assert subsets(test, test)["members"].tolist()[:4] == [(0,), (1,), (2,), (0, 1)]


def test_only_the_members_that_are_named_are_tried(rng):
    test = predictions(rng, "abc", seeds=2)
    table = subsets(test, test, members=["a", "c"], up_to=2)
    assert {row for members in table["members"] for row in members} == {0, 1, 4, 5}
    assert table.loc[table["members"] == (1, 4), ["methods", "seeds"]].iloc[0].tolist() == [("a", "c"), (1, 0)]


def test_neither_the_order_of_examples_or_runs_nor_a_constant_matters(rng):
    test, val = predictions(rng, "abcd"), predictions(rng, "abcd")
    table = subsets(test, val)
    same = subsets(shuffled(test, rng), shuffled(val, rng))
    assert same["members"].tolist() == table["members"].tolist()
    assert same["test_accuracy"].tolist() == table["test_accuracy"].tolist()
    backwards = subsets(reordered(test), reordered(val))
    assert [tuple(sorted(3 - row for row in rows)) for rows in backwards["members"]] == table["members"].tolist()


def test_which_examples_an_ensemble_gets_right(rng):
    preds = predictions(rng, "abc")
    for combine in COMBINE:
        expected = ensemble(preds, combine, [0, 2]).argmax(axis=1) == preds.labels
        assert (correct_of(preds, [(1,), (0, 2)], combine)[1] == expected).all()


def test_wrong_input_is_refused(rng, monkeypatch):
    test = predictions(rng)
    for sizes in ({"up_to": 4}, {"up_to": 0, "at_least": 0}, {"up_to": 1, "at_least": 2}):
        with pytest.raises(InputError, match="sizes must run from 1 to 3"):
            subsets(test, test, **sizes)
    with pytest.raises(InputError, match="test has 5 classes and val has 6; load one"):
        subsets(test, Predictions(test.labels, np.pad(test.logits, [(0, 0), (0, 0), (0, 1)]), test.runs))
    runs = test.runs.assign(protocol="resized")
    cropped = Predictions(test.labels, test.logits, runs.assign(protocol="cropped"))
    with pytest.raises(InputError, match="different protocol"):
        subsets(Predictions(test.labels, test.logits, runs), cropped)
    with pytest.raises(InputError, match="must be of the same runs in the same order"):
        subsets(test, reordered(test))
    with pytest.raises(InputError, match="unknown combine 'greedy'; known: geometric"):
        subsets(test, test, combine="greedy")
    with pytest.raises(InputError, match="different data"):
        apart = Predictions(test.labels, test.logits, test.runs.assign(task="x", data=["1", "1", "2"]))
        subsets(apart, apart)
    monkeypatch.setattr("analysis.subset_search.MOST", 6)
    with pytest.raises(InputError, match="3 runs have 7 subsets of 1 to 3, and at most 6 are tried"):
        subsets(test, test)


def test_a_gain_is_over_the_member_that_validation_would_pick(rng):
    test, val = predictions(rng, "abc", N=150), predictions(rng, "abc", N=40)
    table = subsets(test, val).set_index("members")
    singles = table[table["size"] == 1]
    assert singles["gain"].tolist() == [0, 0, 0]
    for members, row in table.iterrows():
        lead = singles.loc[[(member,) for member in members], "rank"].idxmin()
        assert row["gain"] == pytest.approx(row["test_accuracy"] - table.loc[[lead], "test_accuracy"].item())


def test_of_members_that_are_equal_on_validation_the_one_of_lower_loss_would_be_picked(rng):
    test, val = predictions(rng, "ab", N=150), predictions(rng, "a", N=40)
    for scales in ((1.0, 9.0), (9.0, 1.0)):  # equally accurate, and one of them far too sure
        on_val = Predictions(val.labels, np.stack([scale * val.logits[0] for scale in scales]), test.runs)
        both = subsets(test, on_val, up_to=2).set_index("members").loc[[(0, 1)]].iloc[0]
        lead = int(np.argmin(scales))
        assert both["gain"] == pytest.approx(both["test_accuracy"] - test.accuracy[lead])
    assert test.accuracy[0] != test.accuracy[1]


def test_accuracy_and_gain_have_intervals_over_test_examples(rng):
    test, val = predictions(rng, "abc", N=300), predictions(rng, "abc", N=40)
    plain = subsets(test, val)
    assert "low" not in plain
    table = subsets(test, val, rng=rng, draws=4000)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    for row in table.itertuples():
        ends = stats.binom.ppf([0.025, 0.975], 300, row.test_accuracy) / 300  # resampling a share draws a binomial
        assert (row.low, row.high) == pytest.approx(ends, abs=0.005)
        right = ensemble(test, members=list(row.members)).argmax(axis=1) == test.labels
        lead = min(row.members, key=lambda member: (-val.accuracy[member], -val.log_likelihood[member].mean()))
        theirs = stats.bootstrap(
            (right.astype(float) - test.correct[lead],), np.mean, n_resamples=2000, method="percentile", rng=rng
        ).confidence_interval
        assert (row.gain_low, row.gain_high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    single = table[table["size"] == 1]
    assert single[["gain_low", "gain_high"]].to_numpy().tolist() == [[0, 0]] * 3  # a run gains nothing over itself
    with pytest.raises(InputError, match="draws must be a whole number"):
        subsets(test, val, rng=rng, draws=0)
    with pytest.raises(InputError, match="level must be between"):
        subsets(test, val, level=2)
