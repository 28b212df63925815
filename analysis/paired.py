"""How accurate every run is and whether two runs differ, on the same examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.comparable import require_comparable
from analysis.examples import interval, resamples
from analysis.holm import holm
from analysis.intervals import require_level
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions


def accuracy_intervals(
    preds: Predictions, *, rng: np.random.Generator, level: float = 0.95, draws: int = 1000
) -> pd.DataFrame:
    """Accuracy of every run, with a bootstrap interval over examples that all runs share.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the N examples, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a run: `run`, `method`, `seed`, `examples`, `accuracy`, `low`, `high`, `level`, `best`: in which share of
        the resamples it is the most accurate run (equally accurate ones share). The interval is of this trained model
        on other examples and says nothing of another seed. Where no example, or every one, is right it has no width;
        `analysis.accuracy_table` has an interval for that case.
    """
    require_level(level)
    require_comparable(preds.runs)
    drawn = _accuracies(preds, rng, draws)  # (draws, R)
    low, high = interval(drawn, level)
    # Rounded, so that two runs with equally many correct examples tie however the matrix product added them up.
    most = drawn.round(9) == drawn.round(9).max(axis=1, keepdims=True)
    columns = {
        "run": np.arange(len(preds)),
        "method": preds.runs["method"].array,
        "seed": preds.runs["seed"].array,
        "examples": len(preds.labels),
        "accuracy": preds.accuracy,
        "low": low,
        "high": high,
        "level": level,
        "best": (most / most.sum(axis=1, keepdims=True)).mean(axis=0),
    }
    return pd.DataFrame(columns)


def accuracy_differences(
    preds: Predictions, *, rng: np.random.Generator, level: float = 0.95, draws: int = 1000
) -> pd.DataFrame:
    """Difference in accuracy of every pair of runs: paired bootstrap interval and McNemar's test.

    Returns
    -------
    DataFrame
        A row a pair: `run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`, `accuracy_a`, `accuracy_b`,
        `difference` (a minus b), `low`, `high`, `level`; `only_a`, `only_b`: how many examples one of the two alone
        gets right; `p_value`, `mid_p` (see `mcnemar`); and `p_holm`: `mid_p` after Holm's correction for the number of
        pairs in this table.
    """
    require_level(level)
    require_comparable(preds.runs)
    a, b = pairs(len(preds))
    drawn = _accuracies(preds, rng, draws)
    low, high = interval(drawn[:, a] - drawn[:, b], level)
    right = preds.correct.astype(np.float64)
    both = (right @ right.T)[a, b]
    sums = right.sum(axis=1)
    only_a, only_b = (np.rint(sums[rows] - both).astype(np.int64) for rows in (a, b))
    p_value, mid_p = mcnemar(only_a, only_b)
    return pair_columns(preds.runs).assign(
        accuracy_a=preds.accuracy[a],
        accuracy_b=preds.accuracy[b],
        difference=preds.accuracy[a] - preds.accuracy[b],
        low=low,
        high=high,
        level=level,
        only_a=only_a,
        only_b=only_b,
        p_value=p_value,
        mid_p=mid_p,
        p_holm=holm(mid_p),
    )


def mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """McNemar's test whether two models are equally accurate, from what only one of them gets right.

    Parameters
    ----------
    only_a, only_b : whole numbers
        The discordant examples. If both models are equally accurate, each falls to either side like a fair coin.

    Returns
    -------
    exact, mid_p : arrays
        Two-sided. The exact test is conservative; mid-p counts half of the observed outcome and keeps its level closely
        (Fagerland et al., 2013). Without a discordant example both are 1.
    """
    fewer, both = np.minimum(only_a, only_b), np.add(only_a, only_b)
    tail = 2 * stats.binom.cdf(fewer, both, 0.5)
    return np.minimum(tail, 1.0), np.minimum(tail - stats.binom.pmf(fewer, both, 0.5), 1.0)


def _accuracies(preds: Predictions, rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Accuracy of every run in every resample: (draws, R)."""
    right = preds.correct.T.astype(np.float32)  # (N, R)
    batches = [counts @ right for counts in resamples(len(preds.labels), draws, rng)]
    return np.concatenate(batches).astype(np.float64) / len(preds.labels)
