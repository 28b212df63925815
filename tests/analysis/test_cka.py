"""Centred kernel alignment, against the definitions that its closed forms come from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis import linear_cka
from petl_study.errors import InputError


def hsic_by_definition(K, L) -> float:
    """The unbiased estimate as a mean over all ordered quadruples of different examples (Song et al., 2012)."""
    quadruples = itertools.permutations(range(len(K)), 4)
    return float(np.mean([K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in quadruples]))


@pytest.mark.parametrize("N", [4, 7])
def test_the_unbiased_estimate_is_the_mean_over_quadruples_of_examples(rng, N):
    x, y = rng.normal(size=(N, 3)), rng.normal(size=(N, 5))
    K, L = x @ x.T, y @ y.T
    expected = hsic_by_definition(K, L) / np.sqrt(hsic_by_definition(K, K) * hsic_by_definition(L, L))
    assert linear_cka([x, y])[0, 1] == pytest.approx(expected, abs=1e-12)


def test_the_biased_estimate_is_that_of_the_cross_covariances(rng):
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 4))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert linear_cka([x + 3, y - 1], unbiased=False)[0, 1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotations_scales_shifts_and_the_order_of_examples_do_not_matter_and_other_maps_do(rng, unbiased):
    x, y = rng.normal(size=(2, 30, 8))
    before = linear_cka([x, y], unbiased=unbiased)[0, 1]
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    order = rng.permutation(30)
    for other in (x @ turn, -2.5 * x, x + rng.normal(size=8), x[:, rng.permutation(8)], np.pad(x, ((0, 0), (0, 3)))):
        assert linear_cka([other, y], unbiased=unbiased)[0, 1] == pytest.approx(before, abs=1e-12)
        assert linear_cka([x, other], unbiased=unbiased)[0, 1] == pytest.approx(1.0, abs=1e-12)
    assert linear_cka([x[order], y[order]], unbiased=unbiased)[0, 1] == pytest.approx(before, abs=1e-12)
    stretched = x * np.array([10.0, *[1.0] * 7])
    assert abs(linear_cka([stretched, y], unbiased=unbiased)[0, 1] - before) > 1e-3


def test_of_unrelated_features_only_the_biased_estimate_is_above_zero(rng):
    pairs = rng.normal(size=(60, 2, 24, 100))  # fewer examples than channels
    unbiased, biased = (
        np.array([linear_cka(pair, unbiased=unbiased)[0, 1] for pair in pairs]) for unbiased in (True, False)
    )
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(60)
    assert unbiased.min() < 0
    assert biased.min() > 0.5


def test_the_matrix_is_symmetric_with_ones_and_takes_any_widths(rng):
    features = [rng.normal(size=(12, d)).astype(np.float32) for d in (1, 5, 40)]
    matrix = linear_cka(features)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix.diagonal(), 1.0)
    np.testing.assert_allclose(linear_cka(features[:2]), matrix[:2, :2], atol=1e-15)


@pytest.mark.parametrize("unbiased", [True, False])
def test_features_that_say_nothing_are_like_nothing(rng, unbiased):
    constant = np.tile(rng.normal(size=(1, 6)), (10, 1))
    matrix = linear_cka([constant, rng.normal(size=(10, 6)), rng.normal(size=(10, 6))], unbiased=unbiased)
    assert np.isnan(matrix[0]).all()
    assert np.isnan(matrix[:, 0]).all()
    assert np.isfinite(matrix[1:, 1:]).all()


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ([], "no features"),
        ([np.ones((5, 2)), np.ones((6, 2))], r"same examples; got \(6, 2\) beside \(5, 2\)"),
        ([np.ones(5)], r"must be \(examples, channels\)"),
        ([np.ones((3, 2))], "at least 4 examples; got 3"),
        ([np.full((5, 2), np.nan)], "finite"),
    ],
)
def test_what_has_no_cka_is_refused(features, complaint):
    with pytest.raises(InputError, match=complaint):
        linear_cka(features)
