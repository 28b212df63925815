"""How alike the features of two models are: linear centred kernel alignment (CKA; Kornblith et al., arXiv 1905.00414).

    CKA(X, Y) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))      X (N, d), Y (N, e) features   K = X X^T, L = Y Y^T (N, N)

It is 1 where the two differ by a rotation or reflection and a scale, and no linear map beyond that is forgiven; which
channel holds what does not matter, and neither do the two widths. Directions count by their variance, so a few large
channels can decide it.

HSIC is estimated without bias (Song et al., JMLR 2012, eq. 5; in CKA as in arXiv 2010.15327): with the diagonal of K
set to zero, K' is what is left after

    K'_ij = K_ij - r_i - r_j + c  (i != j), K'_ii = 0      r_i = sum_j K_ij / (N - 2)   c = sum_ij K_ij / (N - 1)(N - 2)

and HSIC(K, L) = sum_ij K'_ij L'_ij / (N (N - 3)). The biased estimate centres K with its diagonal, H K H, H = I - 1/N,
and is far above 0 for features that have nothing to do with each other as soon as N is not large against d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError

Matrices = NDArray[np.float64]

LEAST = 4  # examples of which the unbiased estimate exists


def linear_cka(features: Sequence[NDArray[np.floating[Any]]], *, unbiased: bool = True) -> Matrices:
    """CKA of every two of R sets of features of the same N examples.

    Parameters
    ----------
    features : (R, N, d), or R arrays (N, d_r)
        Row n of each is of the same example.
    unbiased : bool
        Which estimate of HSIC. The unbiased one can be below 0.

    Returns
    -------
    (R, R)
        Symmetric, 1 on the diagonal. NaN for features that are the same for every example: they are like nothing.

    Raises
    ------
    InputError
        No features, different numbers of examples, fewer than 4 of them, or numbers that are not finite.
    """
    return cka(grams(features), unbiased=unbiased)


def cka(grams: Matrices, *, unbiased: bool) -> Matrices:
    """`linear_cka` of features that are given by their products X X^T: (R, N, N) -> (R, R)."""
    centred = (_without_diagonal if unbiased else _with_diagonal)(grams).reshape(len(grams), -1)  # (R, N^2)
    lengths = np.linalg.norm(centred, axis=1)
    noise = 1e-12 * np.linalg.norm(grams.reshape(len(grams), -1), axis=1)  # of what rounding leaves of equal rows
    with np.errstate(invalid="ignore"):
        unit = centred / np.where(lengths > noise, lengths, np.nan)[:, None]
        alike = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(alike, np.where(lengths > noise, 1.0, np.nan))
    return alike


def _without_diagonal(grams: Matrices) -> Matrices:
    """K' of the unbiased estimate. Its last factor 1 / (N (N - 3)) is the same above and below the line."""
    N = grams.shape[1]
    hollow = grams * (1 - np.eye(N))
    rows = hollow.sum(axis=2) / (N - 2)  # (R, N)
    hollow -= rows[:, :, None] + rows[:, None, :] - (rows.sum(axis=1) / (N - 1))[:, None, None]
    return hollow * (1 - np.eye(N))


def _with_diagonal(grams: Matrices) -> Matrices:
    """H K H of the biased estimate."""
    rows = grams.mean(axis=2)  # (R, N)
    return grams - rows[:, :, None] - rows[:, None, :] + rows.mean(axis=1)[:, None, None]


def grams(features: Sequence[NDArray[np.floating[Any]]]) -> Matrices:
    """X X^T of each: (R, N, N). CKA does not see a shift, and without it less is lost to rounding."""
    arrays = [np.asarray(one, dtype=np.float64) for one in features]
    if not arrays:
        raise InputError("there are no features to compare; give those of at least one model")
    if shapes := sorted({one.shape for one in arrays if one.ndim != 2 or len(one) != len(arrays[0])}):
        raise InputError(
            f"features must be (examples, channels) of the same examples; got {', '.join(map(str, shapes))} beside"
            f" {arrays[0].shape}"
        )
    if len(arrays[0]) < LEAST:
        raise InputError(f"CKA needs at least {LEAST} examples; got {len(arrays[0])}")
    if any(not np.isfinite(one).all() for one in arrays):
        raise InputError("features must be finite numbers; some are NaN or infinite. Leave that model out.")
    centred = [one - one.mean(axis=0) for one in arrays]
    return np.stack([one @ one.T for one in centred])
