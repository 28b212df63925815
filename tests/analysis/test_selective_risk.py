from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from scipy import stats

from analysis import Predictions, aurc, risk_coverage
from analysis.examples import resamples
from analysis.selective_risk import _Ordered
from petl_study.errors import InputError


def of_two_classes(margins: list[float], right: list[bool]) -> Predictions:
    """A run that is the surer the larger its margin."""
    logits = np.stack([np.array(margins), np.zeros(len(margins))], axis=1)[None]
    return Predictions([0 if r else 1 for r in right], logits, pd.DataFrame({"method": ["a"]}))


def area(preds: Predictions) -> float:
    return aurc(preds, rng=np.random.default_rng(0), draws=2)["aurc"].item()


def test_the_curve_and_its_area_by_hand():
    preds = of_two_classes([4, 3, 2, 1], [True, False, True, False])
    table = risk_coverage(preds)
    assert table["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["risk"].tolist() == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert table["optimal"].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 4])
    row = aurc(preds, rng=np.random.default_rng(0)).iloc[0]
    assert row["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert row["optimal"] == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert row["excess"] == pytest.approx(row["aurc"] - row["optimal"])


def test_equal_confidences_are_answered_in_every_order_at_once():
    right = [True, False, False]
    orders = [area(of_two_classes([3, 2, 1], list(order))) for order in itertools.permutations(right)]
    assert area(of_two_classes([1, 1, 1], right)) == pytest.approx(np.mean(orders))


def test_the_area_is_between_that_of_the_best_and_the_worst_order(rng):
    preds = predictions(rng, N=80)
    table = aurc(preds, rng=rng, draws=50)
    assert (table["excess"] >= 0).all()
    for run, wrong in enumerate(~preds.correct):
        worst = (np.cumsum(np.sort(wrong)[::-1]) / np.arange(1, 81)).mean()
        best = (np.cumsum(np.sort(wrong)) / np.arange(1, 81)).mean()
        assert table.loc[run, "optimal"] == pytest.approx(best)
        assert table.loc[run, "aurc"] < worst
    assert (table["low"] < table["aurc"]).all()
    assert (table["aurc"] < table["high"]).all()


@pytest.mark.parametrize("right", [True, False])
def test_all_or_none_correct_leaves_no_choice(right):
    row = aurc(of_two_classes([3, 2, 1], [right] * 3), rng=np.random.default_rng(0)).iloc[0]
    assert row[["risk", "aurc", "low", "high", "optimal"]].tolist() == [not right] * 5
    assert row["excess"] == 0


def test_the_interval_is_that_of_resampling(rng):
    preds = predictions(rng, "a", N=60)
    row = aurc(preds, rng=rng, draws=1500).iloc[0]
    drawn = []
    for _ in range(1500):
        picks = rng.integers(60, size=60)
        order = preds.doubt[0][picks].argsort(kind="stable")
        drawn.append((np.cumsum(~preds.correct[0][picks][order]) / np.arange(1, 61)).mean())
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_an_example_that_is_drawn_twice_counts_twice(rng):
    preds = predictions(rng, "a", N=40)
    picks = rng.integers(40, size=40)
    drawn = Predictions(preds.labels[picks], preds.logits[:, picks], preds.runs)
    counts = np.bincount(picks, minlength=40).astype(np.float32)
    assert _Ordered(preds, 0).risks(counts) == pytest.approx(_Ordered(drawn, 0).risks(np.ones(40)))


def test_neither_the_order_of_examples_or_runs_nor_a_constant_matters(rng):
    preds = predictions(rng)
    columns = ["risk", "aurc", "optimal", "excess"]
    values = aurc(preds, rng=rng, draws=2)[columns].to_numpy()
    assert aurc(shuffled(preds, rng), rng=rng, draws=2)[columns].to_numpy() == pytest.approx(values)
    assert aurc(reordered(preds), rng=rng, draws=2)[columns].to_numpy()[::-1] == pytest.approx(values)


def test_coverage_ends_with_every_example_whatever_the_number_of_points(rng):
    preds = predictions(rng, "ab", N=70)
    for points in (1, 7, 500):
        table = risk_coverage(preds, points=points)
        assert len(table) == 2 * min(points, 70)
        last = table.groupby("run").last()
        assert last["risk"].tolist() == pytest.approx((1 - preds.accuracy).tolist())
    for points in (0, 2.5):
        with pytest.raises(InputError, match="points must be a whole number of at least 1"):
            risk_coverage(preds, points=points)


def test_the_band_is_that_of_resampled_examples(rng):
    preds = predictions(rng, "ab", N=60)
    plain = risk_coverage(preds, points=6)
    assert "low" not in plain
    table = risk_coverage(preds, points=6, rng=np.random.default_rng(1), draws=400)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    drawn = []
    for counts in itertools.chain(*resamples(60, 400, np.random.default_rng(1))):
        picks = np.repeat(np.arange(60), counts.astype(int))
        again = Predictions(preds.labels[picks], preds.logits[:, picks], preds.runs)
        drawn.append(risk_coverage(again, points=6)["risk"].to_numpy())
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert table["low"].to_numpy() == pytest.approx(low)
    assert table["high"].to_numpy() == pytest.approx(high)
    ends = stats.binom.ppf([0.025, 0.975], 60, table["risk"].iloc[-1]) / 60  # answering all: the error rate
    assert table[["low", "high"]].iloc[-1].tolist() == pytest.approx(ends, abs=0.02)


def test_a_band_needs_draws_and_a_level(rng):
    preds = predictions(rng, "a")
    with pytest.raises(InputError, match="draws must be a whole number"):
        risk_coverage(preds, rng=rng, draws=0)
    with pytest.raises(InputError, match="level must be between"):
        risk_coverage(preds, rng=rng, level=95)
