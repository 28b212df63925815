from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logit, softmax
from sklearn.metrics import log_loss

from analysis import Predictions, calibration, fit_temperatures, reliability
from analysis.calibration import _Bins, _bins, _mean_absolute, _Said
from petl_study.errors import InputError


def of_confidence(confidence: np.ndarray, right: np.ndarray) -> Predictions:
    """One run of two classes that predicts class 0 with this confidence, (N,), and is right where `right` says so."""
    logits = np.stack([logit(confidence), np.zeros(len(confidence))], axis=1)[None]
    return Predictions((~right).astype(int), logits, pd.DataFrame({"method": ["a"], "seed": [0]}))


def calibrated(rng, N: int, miss: float = 0.0) -> Predictions:
    confidence = rng.uniform(0.55, 0.95, size=N)
    return of_confidence(confidence, rng.random(N) < confidence - miss)


def sorted_into(preds: Predictions, bins: int) -> tuple[_Said, np.ndarray]:
    return _Said(preds.confidence[0], preds.correct[0]), _bins(preds.confidence[0], bins, "mass")


def plain_error(confidence, right, edges) -> float:
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def test_the_plain_error_is_that_of_its_definition(rng):
    preds = predictions(rng, "ab", N=300)
    table = calibration(preds, rng=rng, draws=5)
    for run in range(2):
        confidence, right = preds.confidence[run], preds.correct[run]
        expected = plain_error(confidence, right, np.linspace(0, 1, 16))
        assert table.loc[run, "ece_width"] == pytest.approx(expected)
        by_rank = confidence.argsort()
        parts = np.array_split(by_rank, 15)  # 300 examples without ties: twenty each
        expected = sum(len(p) / 300 * abs(confidence[p].mean() - right[p].mean()) for p in parts)
        assert table.loc[run, "ece_mass"] == pytest.approx(expected)


def test_loss_and_brier_score_are_those_of_their_definitions(rng):
    preds = predictions(rng, "ab")
    table = calibration(preds, rng=rng, draws=5)
    for run in range(2):
        p = softmax(preds.logits[run], axis=1)
        assert table.loc[run, "loss"] == pytest.approx(log_loss(preds.labels, p, labels=range(5)))
        assert table.loc[run, "brier"] == pytest.approx(((p - np.eye(5)[preds.labels]) ** 2).sum(axis=1).mean())


def test_the_squared_error_of_a_calibrated_model_is_0_on_average_and_the_plain_error_is_not(rng):
    bins = [_Bins(*sorted_into(calibrated(rng, 200), 10)).errors(np.ones((1, 200), np.float32)) for _ in range(300)]
    squared = np.array([errors.squared[0] for errors in bins])
    assert abs(squared.mean()) < 3 * squared.std() / np.sqrt(300)
    assert np.mean([errors.plain_squared[0] for errors in bins]) > 5 * abs(squared.mean())
    plain, debiased = (np.mean([getattr(errors, name)[0] for errors in bins]) for name in ("plain", "debiased"))
    assert debiased == pytest.approx((2 - np.sqrt(2)) * plain, rel=0.1)  # of two normals, one on top of the other


def test_an_error_of_known_size_is_found(rng):
    tables = [calibration(calibrated(rng, 400, miss=0.15), rng=rng, draws=1) for _ in range(30)]
    for name in ("ece", "rms_error"):
        assert np.mean([table[name].item() for table in tables]) == pytest.approx(0.15, abs=0.015)


@pytest.mark.parametrize("miss", [0.0, 0.15])
def test_the_interval_covers_an_error_of_known_size_as_often_as_it_says(rng, miss):
    tables = [calibration(calibrated(rng, 300, miss), rng=rng, level=0.9, draws=100) for _ in range(50)]
    assert np.mean([table["low"].item() <= miss <= table["high"].item() for table in tables]) > 0.78


def test_the_mean_absolute_value_of_a_normal_is_that_of_its_draws(rng):
    mean, spread = np.array([-0.3, 0.0, 0.5, 0.2]), np.array([0.2, 1.0, 0.1, 0.0])
    drawn = np.abs(mean + spread * rng.normal(size=(200_000, 4))).mean(axis=0)
    assert _mean_absolute(mean, spread) == pytest.approx(drawn, abs=0.01)


def test_a_model_that_is_always_sure_and_right_has_no_error():
    preds = Predictions([0, 0], np.tile([40.0, 0.0], (1, 2, 1)), pd.DataFrame({"method": ["a"]}))
    row = calibration(preds, rng=np.random.default_rng(0)).iloc[0]
    assert row[["ece_width", "ece_mass", "ece", "rms_error", "low"]].tolist() == pytest.approx([0] * 5, abs=1e-9)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_every_example_is_in_one_bin_and_bins_are_as_they_are_called(rng, binning):
    preds = predictions(rng, "a", N=150)
    table = reliability(preds, bins=10, binning=binning)
    assert table["examples"].sum() == 150
    assert (table["accuracy"] * table["examples"]).sum() == pytest.approx(preds.correct.sum())
    assert (table["confidence"] * table["examples"]).sum() == pytest.approx(preds.confidence.sum())
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["high"]).all()
    assert table["confidence"].is_monotonic_increasing
    if binning == "mass":
        assert (table["examples"] == 15).all()
    else:
        assert (np.ceil(table["confidence"] * 10).diff().dropna() >= 1).all()


def test_equal_confidences_are_never_parted():
    right = np.array([True, False] * 10)
    table = reliability(of_confidence(np.repeat([0.6, 0.8], 10), right), bins=7, binning="mass")
    assert table["examples"].tolist() == [10, 10]
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.8])


def test_neither_the_order_of_examples_or_runs_nor_a_constant_matters(rng):
    preds = predictions(rng)
    columns = ["ece_width", "ece_mass", "ece", "rms_error", "loss", "brier"]
    values = calibration(preds, rng=rng, draws=2)[columns].to_numpy()
    assert calibration(shuffled(preds, rng), rng=rng, draws=2)[columns].to_numpy() == pytest.approx(values)
    assert calibration(reordered(preds), rng=rng, draws=2)[columns].to_numpy()[::-1] == pytest.approx(values)


# ------------------------------------------------------------------------------------------------------- temperature


def test_the_temperature_is_the_optimum_that_scipy_finds(rng):
    val = predictions(rng, "ab", N=200, skill=3.0)
    table = fit_temperatures(val)
    for run in range(2):

        def loss(log_temperature, run=run):
            scaled = log_softmax(val.logits[run] / np.exp(log_temperature), axis=1)
            return -scaled[np.arange(200), val.labels].mean()

        best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
        assert table.loc[run, "temperature"] == pytest.approx(np.exp(best.x), rel=1e-4)
        assert table.loc[run, "loss_after"] == pytest.approx(best.fun)
        assert table.loc[run, "loss_before"] == pytest.approx(loss(0.0))
        assert not table.loc[run, "at_bound"]


def test_the_temperature_is_a_scale(rng):
    val = predictions(rng, "a")
    sharper = Predictions(val.labels, 5 * val.logits + 3, val.runs)
    one, five = (fit_temperatures(some)["temperature"].item() for some in (val, sharper))
    assert five == pytest.approx(5 * one)


def test_a_temperature_changes_confidence_and_no_answer(rng):
    preds = predictions(rng, "ab", skill=3.0)
    temperatures = fit_temperatures(preds)["temperature"]
    before, after = (calibration(preds, rng=rng, draws=2, temperatures=t) for t in (None, temperatures))
    assert (before["accuracy"] == after["accuracy"]).all()
    assert (after["loss"] < before["loss"]).all()
    assert after["loss"].tolist() == pytest.approx(fit_temperatures(preds)["loss_after"].tolist())
    scaled = preds.logits / temperatures.to_numpy()[:, None, None]
    same = Predictions(preds.labels, scaled, preds.runs)
    columns = ["confidence", "loss", "brier", "ece_width", "ece"]
    assert calibration(same, rng=rng, draws=2)[columns].to_numpy() == pytest.approx(after[columns].to_numpy())
    bins = [reliability(preds, temperatures=temperatures), reliability(same)]
    pd.testing.assert_frame_equal(*bins)


@pytest.mark.parametrize(("right", "temperature"), [(True, 0.01), (False, 100.0)])
def test_where_no_temperature_is_best_the_end_of_the_range_is_flagged(right, temperature):
    logits = np.tile([2.0, 1.0] if right else [1.0, 2.0], (1, 4, 1))
    row = fit_temperatures(Predictions([0] * 4, logits, pd.DataFrame({"method": ["a"]}))).iloc[0]
    assert (row["temperature"], row["at_bound"]) == (temperature, True)


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 0.0], [1.0, np.nan], [1.0, -1.0]])
def test_temperatures_are_one_for_every_run(rng, wrong):
    with pytest.raises(InputError, match="temperatures must be 2 numbers above 0"):
        reliability(predictions(rng, "ab"), temperatures=wrong)


def test_wrong_input_is_refused(rng):
    preds = predictions(rng)
    for bins in (0, 2.5):
        with pytest.raises(InputError, match="bins must be a whole number of at least 1, such as 15; got"):
            reliability(preds, bins=bins)
        with pytest.raises(InputError, match="bins must be a whole number of at least 1"):
            calibration(preds, rng=rng, bins=bins)
    with pytest.raises(InputError, match="unknown binning 'size'; known: mass, width"):
        reliability(preds, binning="size")
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        calibration(preds, rng=rng, level=0)
