from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from analysis.numeric import finite_rows, log_doubt, log_softmax, softmax, widen

EVERY_HALF = np.arange(2**16, dtype=np.uint16).view(np.float16)


def test_every_finite_half_precision_number_is_widened_exactly():
    halves = EVERY_HALF[np.isfinite(EVERY_HALF)]
    wide = widen(halves)
    assert wide.dtype == np.float32
    assert np.array_equal(wide, halves.astype(np.float32))
    assert np.array_equal(np.signbit(wide), np.signbit(halves))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_widened_is_a_copy(dtype):
    given = np.ones((2, 3), dtype)
    widen(given)[:] = 7
    assert (given == 1).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_with_a_value_that_is_no_number_are_found(dtype):
    rows = np.array([[1, 2], [np.nan, 0], [0, np.inf], [-np.inf, 1], [-65504, 65504]], dtype)
    assert finite_rows(rows).tolist() == [True, False, False, False, True]


def test_a_half_is_finite_where_numpy_says_so():
    assert np.array_equal(finite_rows(EVERY_HALF[:, None]), np.isfinite(EVERY_HALF))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 1e-6), (np.float32, 1e-12), (np.float64, 1e-12)])
def test_probabilities_are_those_of_scipy(rng, dtype, tolerance):
    logits = (5 * rng.normal(size=(3, 7, 4))).astype(dtype)
    reference = logits.astype(np.float64)
    assert np.allclose(softmax(logits), special.softmax(reference, axis=-1), atol=tolerance)
    assert np.allclose(log_softmax(logits), special.log_softmax(reference, axis=-1), atol=10 * tolerance)


def test_doubt_is_the_log_odds_against_the_prediction(rng):
    logits = rng.normal(size=(50, 6))
    p = special.softmax(logits, axis=1).max(axis=1)
    assert np.allclose(log_doubt(logits), np.log(1 / p - 1))


def test_doubt_tells_apart_what_is_certain_in_any_precision():
    margins = np.array([100.0, 500.0, 1000.0, 60_000.0])
    for dtype in (np.float16, np.float64):
        doubts = log_doubt(np.stack([margins, 0 * margins], axis=1).astype(dtype))
        assert (np.diff(doubts) < 0).all()
        assert np.allclose(doubts, -margins.astype(dtype))


def test_one_class_leaves_no_doubt():
    assert (log_doubt(np.zeros((3, 1))) == -np.inf).all()
