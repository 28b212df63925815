"""Stacking: a multinomial logistic regression on the members' logits (Wolpert, 1992).

    p = softmax(A x + b)      x (M C,)      A (C', M C)      b (C',)      C' of the C classes occur in validation

x are the members' logits of an example, each member's minus their mean over the classes (a constant added to them
changes nothing) and divided by their standard deviation over validation (so that the penalty treats members alike). A
is penalised by its squared norm, with scikit-learn's strength `C` from `STRENGTHS` that has the lowest loss in a 5-fold
cross-validation within validation; of equal ones, the more strongly penalised. The n-th example of a class is in fold
n modulo 5, so nothing is left to chance.

A class that validation does not show keeps the members' mean probability of it; what remains is shared out as p says.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.combine import Combine
from analysis.numeric import Floats, softmax, widen
from analysis.predictions import Predictions
from petl_study.errors import InputError

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
_MOST_BYTES = 2**30  # of the (N, M C) features or the (C', M C) coefficients


def fit_stacking(val: Predictions, rows: NDArray[np.int64]) -> tuple[Combine, dict[str, Any]]:
    """The fitted rule for the members `rows` of `val`, and the strength that was chosen."""
    N, C = val.logits.shape[1:]
    shown, of_class = np.unique(val.labels, return_inverse=True)
    if len(shown) < 2:
        raise InputError(f"stacking needs at least two classes in validation; all {N} examples are of class {shown[0]}")
    if 8 * len(rows) * C * max(N, C) > _MOST_BYTES:
        raise InputError(
            f"stacking {len(rows)} members on {N} examples of {C} classes would fit {len(rows) * C * C:,} numbers to"
            f" {N * len(rows) * C:,}. Use weighted or greedy, which fit one number a member."
        )
    scale = np.array([_centred(val.logits[row]).std() or 1.0 for row in rows])  # (M,)
    features = _features(val.logits[rows], scale)
    # Penalised coefficients lie in the span of the N examples, so at most N numbers an example decide them: exact.
    span: NDArray[np.float64] = np.eye(len(rows) * C)
    if features.shape[1] > N:
        span = np.asarray(np.linalg.svd(features, full_matrices=False)[2])  # (N, M C)
        features = features @ span.T
    mean = np.asarray(sum(softmax(val.logits[row]) for row in rows), dtype=np.float64) / len(rows)  # (N, C)
    strength = _chosen_strength(features, mean, shown, val.labels, _folds(of_class))
    weight, bias = _regression(features, val.labels, strength)
    return _Stacked(weight @ span, bias, scale, shown), {"strength": strength, "folds": FOLDS}


class _Stacked:
    """(M, n, C) logits -> (n, C) probabilities."""

    def __init__(
        self,
        weight: NDArray[np.float64],
        bias: NDArray[np.float64],
        scale: NDArray[np.float64],
        shown: NDArray[np.int64],
    ):
        self.weight, self.bias, self.scale, self.shown = weight, bias, scale, shown

    def __call__(self, logits: Floats) -> Floats:
        regressed = _features(logits, self.scale) @ self.weight.T + self.bias  # (n, C')
        return _among_all(softmax(regressed), softmax(logits).mean(axis=0), self.shown)


def _among_all(regressed: Floats, mean: Floats, shown: NDArray[np.int64]) -> Floats:
    """(n, C') and the members' mean (n, C) -> (n, C): the classes that were never shown keep their mean."""
    probabilities = mean.astype(np.float64)
    probabilities[:, shown] = regressed * probabilities[:, shown].sum(axis=1, keepdims=True)
    return probabilities


def _centred(logits: Floats) -> Floats:
    wide = widen(logits)
    wide -= wide.mean(axis=-1, keepdims=True)
    return wide


def _features(logits: Floats, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, n, C) -> (n, M C)."""
    centred = _centred(logits) / scale[:, None, None]
    return np.moveaxis(centred, 0, 1).reshape(logits.shape[1], -1)


def _folds(of_class: NDArray[np.intp]) -> NDArray[np.intp]:
    """The fold of every example: a class's examples in turn, so that every fold has its share of each class. (N,)"""
    order = of_class.argsort(kind="stable")
    starts = np.searchsorted(of_class[order], of_class[order])
    folds = np.empty(len(of_class), np.intp)
    folds[order] = (np.arange(len(order)) - starts) % FOLDS
    return folds


def _chosen_strength(
    features: NDArray[np.float64],
    mean: NDArray[np.float64],
    shown: NDArray[np.int64],
    labels: NDArray[np.int64],
    folds: NDArray[np.intp],
) -> float:
    """The strength with the lowest loss on held-out folds; the strongest penalty where no fold can be held out."""
    losses = np.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        held = folds == fold
        known = np.unique(labels[~held])
        if not held.any() or len(known) < 2:
            continue
        for i, strength in enumerate(STRENGTHS):
            weight, bias = _regression(features[~held], labels[~held], strength)
            said = _among_all(softmax(features[held] @ weight.T + bias), mean[held], known)
            of_truth = said[np.arange(held.sum()), labels[held]]
            losses[i] -= np.log(np.maximum(of_truth, np.finfo(float).tiny)).sum()
    return STRENGTHS[int(losses.argmin())]


def _regression(
    features: NDArray[np.float64], labels: NDArray[np.int64], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (C', F) and biases (C',), of the classes that occur, in their order."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # Two hundred images of a hundred classes look to it like a regression problem.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        fitted = LogisticRegression(C=strength, max_iter=10_000, tol=1e-5).fit(features, labels)
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    # Of two classes scikit-learn keeps one row, the second class against the first.
    return np.vstack([0 * fitted.coef_, fitted.coef_]), np.append(0.0, fitted.intercept_)
