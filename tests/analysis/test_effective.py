from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit

from analysis import effective_robustness, load_published
from analysis.intervals import wilson_interval
from petl_study.errors import InputError


def accuracies(points: dict[str, list[tuple[float, float]]]) -> pd.DataFrame:
    """By method, a (test, shift) pair of accuracies a seed."""
    rows = [
        {"task": "digits", "method": method, "seed": seed, "set": name, "accuracy": accuracy, "examples": 100}
        for method, pairs in points.items()
        for seed, pair in enumerate(pairs)
        for name, accuracy in zip(("test", "sketch"), pair, strict=True)
    ]
    return pd.DataFrame(rows)


def on_line(accuracy: float, slope=0.8, intercept=-0.5) -> tuple[float, float]:
    return accuracy, float(expit(slope * logit(accuracy) + intercept))


@pytest.fixture
def on_line_points() -> dict[str, list[tuple[float, float]]]:
    return {f"m{i}": [on_line(accuracy)] for i, accuracy in enumerate((0.5, 0.7, 0.9))}


def test_models_on_one_logit_line_have_none():
    table = effective_robustness(accuracies({f"m{i}": [on_line(a)] for i, a in enumerate((0.5, 0.7, 0.9, 0.95))}))
    assert table["effective_robustness"].to_numpy() == pytest.approx(np.zeros(4), abs=1e-12)
    assert table["slope"].to_numpy() == pytest.approx(0.8)
    assert table["intercept"].to_numpy() == pytest.approx(-0.5)


def test_what_is_above_the_line_of_others_is_so_by_its_distance():
    points = {f"m{i}": [on_line(a)] for i, a in enumerate((0.5, 0.7, 0.9))}
    at, expected = on_line(0.8)
    table = effective_robustness(accuracies({**points, "robust": [(at, expected + 0.05)]}), line=["m0", "m1", "m2"])
    row = table.set_index("method").loc["robust"]
    assert row["effective_robustness"] == pytest.approx(0.05)
    assert row["expected"] == pytest.approx(expected)
    assert not row["in_line"]
    assert row["residual"] == pytest.approx(logit(expected + 0.05) - logit(expected))
    assert row["line_points"] == 3


def test_the_line_is_that_of_linear_regression(rng):
    points = {f"m{i}": [tuple(rng.uniform(0.2, 0.9, 2)) for _ in range(2)] for i in range(6)}
    chosen = ["m0", "m2", "m5"]
    table = effective_robustness(accuracies(points), line=chosen)
    x, y = np.array([pair for name in chosen for pair in points[name]]).T
    reference = stats.linregress(logit(x), logit(y))
    assert table["slope"].to_numpy() == pytest.approx(reference.slope)
    assert table["intercept"].to_numpy() == pytest.approx(reference.intercept)
    own = np.array(points["m1"])
    above = own[:, 1] - expit(reference.slope * logit(own[:, 0]) + reference.intercept)
    row = table.set_index("method").loc["m1"]
    assert row["effective_robustness"] == pytest.approx(above.mean())
    low, high = np.clip(stats.t.interval(0.95, 1, above.mean(), stats.sem(above)), -1, 1)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_all_or_nothing_right_counts_as_half_an_example():
    points = {"a": [(0.5, 0.4)], "b": [(0.9, 0.8)], "perfect": [(1.0, 0.0)]}
    row = effective_robustness(accuracies(points), line=["a", "b"]).set_index("method").loc["perfect"]
    assert np.isfinite(row[["expected", "residual"]].astype(float)).all()
    assert row["residual"] == pytest.approx(logit(0.005) - (row["slope"] * logit(0.995) + row["intercept"]))
    with pytest.raises(InputError, match="no column 'examples'"):
        effective_robustness(accuracies(points).drop(columns="examples"))


def test_a_line_needs_two_different_reference_models():
    points = {"a": [(0.5, 0.4), (0.5, 0.5)], "b": [(0.9, 0.8)]}
    with pytest.raises(InputError, match="at least two reference models"):
        effective_robustness(accuracies(points), line=["a"])
    with pytest.raises(InputError, match="unknown method 'c'; known: a, b"):
        effective_robustness(accuracies(points), line=["a", "c"])
    without = accuracies(points)
    with pytest.raises(InputError, match="no shift sets of digits"):
        effective_robustness(without[without["set"] == "test"])


def doubts(points: dict[str, list[tuple[float, float]]], **options: object) -> set[str]:
    return set(effective_robustness(accuracies(points), **options)["line_doubt"])


def test_a_line_that_tells_nothing_is_called_so(on_line_points):
    assert doubts(on_line_points) == {""}
    assert doubts(on_line_points, line=["m0", "m2"]) == {"fewer than 3 methods"}
    many_seeds = {"a": [(0.5, 0.4), (0.6, 0.5), (0.7, 0.6)], "b": [(0.9, 0.8)]}
    assert doubts(many_seeds) == {"fewer than 3 methods"}  # points of one method are one method
    alike = {f"m{i}": [(0.5 + 0.01 * i, 0.3 + 0.1 * i)] for i in range(3)}
    assert doubts(alike) == {"accuracies too alike"}
    assert doubts({f"m{i}": [(0.5 + 0.1 * i, 0.6 - 0.1 * i)] for i in range(3)}) == {"falling line"}


def test_the_published_line_falls():
    table = effective_robustness(load_published("robustness"))
    assert set(table["line_doubt"]) == {"falling line"}
    assert (table["slope"] < 0).all()
    tuned = [name for name in table["method"] if name not in ("full", "zero_shot")]
    assert set(table["line_methods"]) == {13}
    assert set(effective_robustness(load_published("robustness"), line=tuned)["line_methods"]) == {11}


def test_of_one_seed_the_interval_takes_both_accuracies_ends(on_line_points):
    frame = accuracies(on_line_points)
    row = effective_robustness(frame).set_index("method").loc["m1"]
    test, shift = (wilson_interval(row[name], 100) for name in ("accuracy", "shift_accuracy"))
    low, high = (expit(row["slope"] * logit(end) + row["intercept"]) for end in test)
    assert (row["low"], row["high"]) == pytest.approx((shift[0] - high, shift[1] - low))
    assert row["interval"] == "conservative over examples"
    falling = {f"m{i}": [(0.5 + 0.1 * i, 0.6 - 0.1 * i)] for i in range(3)}
    table = effective_robustness(accuracies(falling))
    assert (table["low"] < table["effective_robustness"]).all()
    assert (table["effective_robustness"] < table["high"]).all()
    unknown = effective_robustness(frame.assign(examples=np.nan))
    assert set(unknown["interval"]) == {"none"}
    with pytest.raises(InputError, match="no column 'examples'"):
        effective_robustness(accuracies({**on_line_points, "perfect": [(1.0, 0.9)]}).assign(examples=np.nan))
