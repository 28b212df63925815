"""Greedy selection of an ensemble's members, with replacement (Caruana et al., 2004, "Ensemble selection from libraries
of models")."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import require_comparable
from analysis.numeric import Floats, require_whole, softmax
from analysis.predictions import Members, Predictions
from petl_study.errors import InputError, unknown

METRICS = ("accuracy", "loss")


def greedy_selection(
    val: Predictions, members: Members = None, *, steps: int = 20, metric: str = "accuracy"
) -> pd.DataFrame:
    """Add, again and again, the run that makes the mean of the picked runs' probabilities best on validation.

    A run may be picked several times, which gives it weight. What is picked so far is never taken back; the best of the
    ensembles on the way is the result.

    Parameters
    ----------
    val : Predictions
        Of the set that may be chosen on. A choice on test would be judged by what it was made with.
    steps : int
        How many picks.
    metric : str
        ``accuracy``, of equally accurate ones the lower loss; or ``loss`` (cross-entropy), of equal ones the higher
        accuracy. Of candidates equal in both, the one picked least often so far is taken, and of these the first: the
        runs of one method say the same of validation where one search trial stands for all its seeds, and share the
        picks then.

    Returns
    -------
    DataFrame
        A row a step: `step`, `run` (row of ``val.runs``), `method`, `seed`, and the ensemble's `accuracy` and `loss`
        after it, on `val`; `selected`: whether the pick is part of the result, the first of the best ensembles.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    require_whole("steps", steps, such_as=20)
    rows = val.positions(members)
    if len(set(rows.tolist())) < len(rows):
        raise InputError("a run is listed twice among the members; how often each counts is for the selection to find")
    require_comparable(val.runs.iloc[rows])
    likelihood = np.exp(val.log_likelihood[rows])  # (M, N): all that the loss of a mean of probabilities depends on
    probabilities = _zeros(val)  # (N, C): the sum of those picked so far
    of_truth = np.zeros(len(val.labels))
    picked = np.zeros(len(rows), np.int64)
    path = []
    for step in range(1, steps + 1):
        accuracy = _accuracies_with(val, rows, probabilities)
        loss = -np.log(np.maximum((of_truth + likelihood) / step, np.finfo(float).tiny)).mean(axis=1)
        keys = [-accuracy, loss] if metric == "accuracy" else [loss, -accuracy]
        best = int(np.lexsort([picked, *reversed(keys)])[0])
        picked[best] += 1
        of_truth += likelihood[best]
        for block in val.blocks():
            probabilities[block] += softmax(val.logits[rows[best], block])
        path.append({"step": step, "run": rows[best], "accuracy": accuracy[best], "loss": loss[best]})
    table = pd.DataFrame(path)
    for position, name in enumerate(("method", "seed"), start=2):
        table.insert(position, name, val.runs[name].array[table["run"]])
    order = ["accuracy", "loss"] if metric == "accuracy" else ["loss", "accuracy"]
    best_first = table.sort_values(order, ascending=[name == "loss" for name in order], kind="stable")
    return table.assign(selected=table["step"] <= best_first["step"].iloc[0])


def _zeros(preds: Predictions) -> Floats:
    """Room for a sum of probabilities (N, C), in the precision that `softmax` gives them in."""
    return np.zeros(preds.logits.shape[1:], softmax(preds.logits[:1, :1]).dtype)


def _accuracies_with(val: Predictions, rows: NDArray[np.int64], so_far: Floats) -> Floats:
    """The accuracy of the probabilities `so_far` (N, C) and those of one more run, for each of `rows`: (M,)."""
    correct = np.zeros(len(rows), np.int64)
    for block in val.blocks():
        for m, row in enumerate(rows):
            together = softmax(val.logits[row, block])
            together += so_far[block]
            correct[m] += np.count_nonzero(together.argmax(axis=1) == val.labels[block])
    return correct / len(val.labels)
