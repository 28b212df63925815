"""Temperature scaling: one number a model that makes its confidence match validation (arXiv 1706.04599).

    p = softmax(z / T)        T minimises the cross-entropy on validation

T changes no prediction and, between two examples, may change which is the surer. The loss is convex in 1 / T, so its
slope has one root, which is bracketed and bisected; in log T, because T is a scale.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from analysis.comparable import require_comparable
from analysis.numeric import softmax, widen
from analysis.predictions import Predictions

LOWEST, HIGHEST = 1e-2, 1e2


def fit_temperatures(val: Predictions) -> pd.DataFrame:
    """The temperature of every run, fitted on validation.

    Parameters
    ----------
    val : Predictions
        Of a set that the models did not train on, and that is not the one they are judged by.

    Returns
    -------
    DataFrame
        A row a run: `run`, `method`, `seed`, `temperature`, `examples`, `loss_before`, `loss_after` (mean cross-entropy
        on `val`, nats), `at_bound`: whether the loss still falls at the end of the range, 0.01 to 100, which is then
        the temperature. It does where every validation example is right (the surer the better) and where the model
        knows nothing; such a temperature is not to be trusted.
    """
    require_comparable(val.runs)
    rows = []
    for run in range(len(val)):
        temperature, at_bound = _best(val, run)
        rows.append(
            {
                "run": run,
                "method": val.runs["method"].iloc[run],
                "seed": val.runs["seed"].iloc[run],
                "temperature": temperature,
                "examples": len(val.labels),
                "loss_before": -float(val.log_likelihood[run].mean()),
                "loss_after": _loss(val, run, temperature),
                "at_bound": at_bound,
            }
        )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def _best(val: Predictions, run: int) -> tuple[float, bool]:
    """The temperature, and whether it is an end of the range."""
    ends = np.log(LOWEST), np.log(HIGHEST)
    if _slope(val, run, LOWEST) <= 0:  # at the lowest temperature a still lower one would be better
        return LOWEST, True
    if _slope(val, run, HIGHEST) >= 0:
        return HIGHEST, True
    return float(np.exp(brentq(lambda log: _slope(val, run, np.exp(log)), *ends, xtol=1e-10))), False


def _slope(val: Predictions, run: int, temperature: float) -> float:
    """Of the loss in 1 / T: the logit that the model expects minus that of the label, on average."""
    total = 0.0
    for logits, true in _blocks(val, run):
        total += float(((softmax(logits / temperature) * logits).sum(axis=1) - true).sum())
    return total / len(val.labels)


def _loss(val: Predictions, run: int, temperature: float) -> float:
    """Mean cross-entropy."""
    total = 0.0
    for logits, true in _blocks(val, run):
        total += float((np.log(np.exp(logits / temperature).sum(axis=1)) - true / temperature).sum())
    return total / len(val.labels)


def _blocks(val: Predictions, run: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Logits (n, C) whose highest is 0, and those of the labels (n,); a few examples at a time."""
    for block in val.blocks():
        logits = widen(val.logits[run, block]).astype(np.float64, copy=False)
        logits -= logits.max(axis=1, keepdims=True)
        yield logits, logits[np.arange(len(logits)), val.labels[block]]
