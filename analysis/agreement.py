"""How often two models say different things, and how much of their agreement chance explains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparable import require_comparable
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions


def disagreement(preds: Predictions) -> pd.DataFrame:
    """Disagreement of every pair of runs.

    Two runs of one method under different seeds are a pair like any other: the baseline that says how much of the
    disagreement between methods is that of a method with itself.

    Returns
    -------
    DataFrame
        A row for each of the R (R - 1) / 2 pairs: `run_a` < `run_b` (rows of ``preds.runs``), their `method_a`,
        `method_b`, `seed_a`, `seed_b`; `disagreement`, the fraction of examples on which they predict different
        classes; and `kappa`, Cohen's: 1 always agree, 0 as often as chance would from how often each predicts each
        class. When both always predict the same one class chance explains everything and kappa is NaN.
    """
    require_comparable(preds.runs)
    predicted = preds.predicted  # (R, N)
    R, N = predicted.shape
    C = preds.logits.shape[-1]
    shares = np.stack([np.bincount(said, minlength=C) for said in predicted]) / N  # (R, C)
    a, b = pairs(R)  # (P,) each
    # Pair by pair: all at once would need (P, N) in memory for a vector of P numbers.
    differing = np.array([np.mean(predicted[i] != predicted[j]) for i, j in zip(a, b, strict=True)])
    chance = (shares @ shares.T)[a, b]
    certain = chance >= 1 - 1e-12
    kappa = np.where(certain, np.nan, 1 - differing / np.where(certain, 1.0, 1 - chance))
    return pair_columns(preds.runs).assign(disagreement=differing, kappa=kappa)


def disagreement_by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Mean disagreement of every two methods over the pairs of their runs.

    Parameters
    ----------
    table : DataFrame
        From `disagreement`; of several tasks if it has a column `task`.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b`, `disagreement`, `kappa`, `pairs` (how many). Both orders of two methods are
        there. A method with itself is the mean over its seeds, and is missing where it has one.
    """
    swapped = {"method_a": "method_b", "method_b": "method_a"}
    mirrored = table[table["method_a"] != table["method_b"]].rename(columns=swapped)
    keys = [*(["task"] if "task" in table else []), "method_a", "method_b"]
    grouped = pd.concat([table, mirrored]).groupby(keys, as_index=False, sort=False)
    return grouped.agg(disagreement=("disagreement", "mean"), kappa=("kappa", "mean"), pairs=("kappa", "size"))
