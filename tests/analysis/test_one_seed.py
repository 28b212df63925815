"""Intervals over examples of one seed, where accuracies are all that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from analysis import effective_robustness, load_published, target_against_shift, wise_gain, wise_table
from analysis.intervals import wilson_ends, wilson_interval
from analysis.one_seed import CONSERVATIVE


def curve(accuracy: dict[str, tuple[float, float]], examples: object = 400) -> pd.DataFrame:
    """One method's path, of which both ends are known: (alpha 0.5, alpha 1) by set."""
    rows = [
        {"method": "lora", "alpha": alpha, "set": name, "accuracy": value, "examples": examples}
        for name, values in accuracy.items()
        for alpha, value in zip((0.5, 1.0), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_many_wilson_intervals_are_those_of_statsmodels(rng):
    n = rng.integers(1, 400, size=50)
    right = rng.binomial(n, rng.uniform(size=50))
    low, high = wilson_ends(right / n, n, 0.9)
    theirs = proportion_confint(right, n, alpha=0.1, method="wilson")
    assert low == pytest.approx(theirs[0])
    assert high == pytest.approx(theirs[1])
    assert wilson_interval(right[0] / n[0], int(n[0]), 0.9) == pytest.approx((low[0], high[0]))
    assert np.isnan(wilson_ends([0.5, np.nan], [np.nan, 10])).all()


def test_a_mean_over_sets_is_between_the_mean_ends_and_a_gain_between_opposite_ones():
    frame = curve({"test": (0.7, 0.8), "noise:1": (0.6, 0.5), "sketch": (0.4, 0.3)})
    ends = {p: wilson_interval(p, 400) for p in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
    row = wise_table(frame).set_index("alpha").loc[0.5]
    assert row["interval"] == CONSERVATIVE
    assert (row["low"], row["high"]) == pytest.approx(ends[0.7])
    assert (row["shift_low"], row["shift_high"]) == pytest.approx(np.mean([ends[0.6], ends[0.4]], axis=0))
    gain = wise_gain(frame).set_index("choice").loc["shift in hindsight"]
    assert gain["alpha"] == 0.5
    assert (gain["low"], gain["high"]) == pytest.approx((ends[0.7][0] - ends[0.8][1], ends[0.7][1] - ends[0.8][0]))
    shift = np.mean([ends[0.6], ends[0.4]], axis=0), np.mean([ends[0.5], ends[0.3]], axis=0)
    assert (gain["shift_low"], gain["shift_high"]) == pytest.approx(
        (shift[0][0] - shift[1][1], shift[0][1] - shift[1][0])
    )


def test_over_itself_the_tuned_model_gains_nothing_for_certain():
    row = wise_gain(curve({"test": (0.7, 0.8), "sketch": (0.6, 0.5)})).set_index("choice").loc["test in hindsight"]
    assert row[["alpha", "gain", "low", "high", "shift_low", "shift_high"]].tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("examples", [None, np.nan, pd.NA])
def test_without_a_number_of_examples_there_is_none(examples):
    frame = curve({"test": (0.7, 0.8), "sketch": (0.6, 0.5)}, examples)
    for table in (wise_table(frame), wise_gain(frame), wise_table(frame.drop(columns="examples"))):
        assert set(table["interval"]) == {"none"}
        assert table[["low", "high", "shift_low", "shift_high"]].isna().all(axis=None)


def test_one_set_of_unknown_size_leaves_the_mean_without():
    frame = curve({"test": (0.7, 0.8), "noise:1": (0.6, 0.5), "sketch": (0.6, 0.5)})
    frame.loc[frame["set"] == "sketch", "examples"] = np.nan
    table = wise_table(frame)
    assert table["low"].notna().all()
    assert table["shift_low"].isna().all()
    assert set(table["interval"]) == {CONSERVATIVE}


@pytest.mark.parametrize("together", [-1, 0, 1])
def test_gains_and_means_are_covered_however_the_errors_fall_together(together):
    """Each method is a study of its own: two models of accuracy 0.6 and 0.5 on the same 300 images, and two sets."""
    rng, N, rows = np.random.default_rng(0), 300, []
    for study in range(50):
        hard = rng.uniform(size=(N, 2))  # an example's difficulty on both sets
        hard[:, 1] = {-1: 1 - hard[:, 0], 0: hard[:, 1], 1: hard[:, 0]}[together]
        other = {-1: 1 - hard, 0: rng.uniform(size=(N, 2)), 1: hard}[together]
        accuracy = np.stack([(hard < 0.6).mean(axis=0), (other < 0.5).mean(axis=0)])  # (models, sets)
        rows += [
            {"method": f"m{study}", "alpha": alpha, "set": name, "accuracy": accuracy[model, k], "examples": N}
            for model, alpha in enumerate((0.5, 1.0))
            for k, name in enumerate(("a", "b"))
        ]
    frame = pd.DataFrame(rows)
    tested = pd.concat([frame, frame[frame["set"] == "a"].assign(set="test")])
    gains = wise_gain(tested)
    gains = gains[gains["alpha"] == 0.5].drop_duplicates("method")
    for low, high in (("low", "high"), ("shift_low", "shift_high")):
        covered = ((gains[low] <= 0.1) & (gains[high] >= 0.1)).mean()
        assert covered > 0.9, low  # as if the two were independent, it would be 0.83 where errors exclude each other
    table = wise_table(tested)
    means = table[table["alpha"] == 0.5]
    assert ((means["shift_low"] <= 0.6) & (means["shift_high"] >= 0.6)).mean() > 0.9


def test_no_published_point_is_without_an_interval():
    published, curves = load_published("robustness"), load_published("wise")
    table = target_against_shift(published)
    for value, low, high in (
        ("accuracy", "low", "high"),
        ("shift_accuracy", "shift_low", "shift_high"),
        ("retention", "retention_low", "retention_high"),
    ):
        assert (table[low] < table[value]).all() and (table[value] < table[high]).all()
    beyond = effective_robustness(published)
    assert (beyond["low"] < beyond["effective_robustness"]).all()
    assert (beyond["effective_robustness"] < beyond["high"]).all()
    curves = curves[curves["merged"] != "none"]
    points = wise_table(curves)
    assert points[["low", "high", "shift_low", "shift_high"]].notna().all(axis=None)
    assert set(points["interval"]) | set(table["interval"]) | set(beyond["interval"]) == {CONSERVATIVE}
    gains = wise_gain(curves).set_index(["merged", "method", "choice"])
    full = gains.loc[("all", "full", "test in hindsight")]
    assert 0 < full["low"] < full["gain"] < full["high"] < 0.05  # 2.8 points on 50,000 images
