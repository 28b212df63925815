"""Whether models are right, and wrong, about the same examples when they are sure, and when they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import require_comparable
from analysis.numeric import doubt
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions
from petl_study.errors import InputError


def confidence_sets(preds: Predictions, top: float = 0.1) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Correct among the k most confident of each run, and wrong among its k least confident (arXiv 2409.16434).

    Parameters
    ----------
    top : float or int
        k: a fraction of the N examples (0 < top < 1; rounded, at least 1) or a number of them (an int from 1 to N).
        Confidence is the probability of the predicted class; of equally confident examples the earlier counts as surer.

    Returns
    -------
    correct_confident, wrong_unconfident : (R, N) booleans
    """
    _, N, _ = preds.logits.shape
    k = _count(top, N)
    unsure = np.empty((len(preds), N))
    for block in preds.blocks():
        for row, logits in enumerate(preds.logits):
            unsure[row, block] = doubt(logits[block])
    order = unsure.argsort(axis=1, kind="stable")  # surest first
    confident = np.zeros((len(preds), N), dtype=bool)
    unconfident = np.zeros((len(preds), N), dtype=bool)
    np.put_along_axis(confident, order[:, :k], True, axis=1)
    np.put_along_axis(unconfident, order[:, N - k :], True, axis=1)
    return confident & preds.correct, unconfident & ~preds.correct


def confidence_overlap(preds: Predictions, top: float = 0.1) -> pd.DataFrame:
    """How much two runs share of what each gets right surely and wrong unsurely; sets as in `confidence_sets`.

    Returns
    -------
    DataFrame
        A row a pair of runs: `run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`, `k`; `correct_a`,
        `correct_b`: how many of each run's k most confident are correct; `correct_shared`: how many of these are the
        same examples; `correct_jaccard`: shared / either; and `wrong_a`, `wrong_b`, `wrong_shared`, `wrong_jaccard`
        likewise for the wrong ones of the k least confident. The overlap of two empty sets is NaN.
    """
    require_comparable(preds.runs)
    k = _count(top, preds.logits.shape[1])
    table = pair_columns(preds.runs).assign(k=k)
    a, b = pairs(len(preds))
    for name, members in zip(("correct", "wrong"), confidence_sets(preds, top), strict=True):
        counts = members.astype(np.float64)  # float: a matrix product of integers does not use BLAS
        shared = np.rint(counts @ counts.T).astype(np.int64)  # (R, R), sizes on the diagonal
        sizes = shared.diagonal()
        either = sizes[a] + sizes[b] - shared[a, b]
        table[f"{name}_a"], table[f"{name}_b"], table[f"{name}_shared"] = sizes[a], sizes[b], shared[a, b]
        table[f"{name}_jaccard"] = np.where(either > 0, shared[a, b] / np.maximum(either, 1), np.nan)
    return table


def _count(top: float, N: int) -> int:
    if isinstance(top, int | np.integer) and not isinstance(top, bool) and 1 <= top <= N:
        return int(top)
    if isinstance(top, float | np.floating) and 0 < top < 1:
        return max(1, round(float(top) * N))
    raise InputError(f"top must be a fraction between 0 and 1 or a whole number from 1 to {N} (examples); got {top!r}")
