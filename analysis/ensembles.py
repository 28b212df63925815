"""Combining what several models say of an example, and what that gains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import require_comparable
from analysis.numeric import Floats, softmax
from analysis.predictions import Members, Predictions
from petl_study.errors import InputError, unknown

Combine = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (M, n, C) -> (n, C)


def mean_logit(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the members' logits."""
    return logits.mean(axis=0)


def mean_prob(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the members' probabilities; sums to 1."""
    return softmax(logits).mean(axis=0)


def vote(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many members predict each class, plus half its mean probability.

    The half is less than one vote, so it decides between classes with equally many votes and nothing else; the number
    of votes is the whole part.
    """
    said = logits.argmax(axis=-1)[..., None]  # (M, n, 1)
    return (said == np.arange(logits.shape[-1])).sum(axis=0) + mean_prob(logits) / 2


COMBINE: dict[str, Combine] = {"mean_logit": mean_logit, "mean_prob": mean_prob, "vote": vote}


def ensemble(preds: Predictions, combine: str = "mean_logit", members: Members = None) -> Floats:
    """The scores of several runs as one.

    Parameters
    ----------
    combine : str
        ``mean_logit``: mean of the logits; ``mean_prob``: mean of the probabilities; ``vote``: number of members that
        predict the class, ties decided by the mean probability (see `vote`).
    members : optional
        Rows of ``preds.runs`` (a repeated row counts twice), a mask, or names of methods; all runs by default.

    Returns
    -------
    (N, C) floats
        The highest is the ensemble's prediction. At least float32, whatever the logits are kept in.
    """
    if combine not in COMBINE:
        raise unknown("combine", combine, COMBINE)
    rows = preds.positions(members)
    require_comparable(preds.runs.iloc[rows])
    scores = np.empty(preds.logits.shape[1:], np.result_type(preds.logits.dtype, np.float32))
    for block in preds.blocks(len(rows)):
        scores[block] = COMBINE[combine](preds.logits[rows, block].astype(np.float64))
    return scores


def scores_as_logits(scores: Floats, combine: str) -> Floats:
    """`scores` of `ensemble` as logits, whose softmax is the ensemble's probability of each class; same order of
    classes.

    The probability under ``vote`` is the score over its sum: the share of votes, and a little of the mean probability.
    """
    if combine not in COMBINE:
        raise unknown("combine", combine, COMBINE)
    if combine == "mean_logit":
        return scores
    return np.log(np.maximum(scores, np.finfo(scores.dtype).tiny))  # a probability that rounded to 0 stays finite


def ensemble_gain(
    preds: Predictions,
    scores: Floats,
    members: Members = None,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
) -> pd.DataFrame:
    """What an ensemble gains over its members, with a paired bootstrap interval over examples.

    Parameters
    ----------
    scores : (N, C)
        The ensemble's, from `ensemble` of the same `members`.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the N examples, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a comparison: `against`, `member` (row of ``preds.runs``; none for a mean), `method`, `seed`, `accuracy`
        (of what it is compared with), `ensemble_accuracy`, `gain` (their difference, a fraction), `low`, `high`,
        `level`. `against` is

        - ``best member``: the member with the highest accuracy on *these* examples (of equal ones the first): known
          only afterwards, so the comparison is to the ensemble's disadvantage;
        - ``best member on val``: the one with the highest `val_accuracy`, of equal ones the lowest `val_loss`, of
          equal ones the first; where ``preds.runs`` has them;
        - ``mean member``: the mean of the members' accuracies.

        Which member is compared with is not drawn anew in the bootstrap.
    """
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95; got {level!r}")
    if scores.shape != preds.logits.shape[1:]:
        raise InputError(f"scores have shape {scores.shape} but the predictions are (N, C) = {preds.logits.shape[1:]}")
    rows = preds.positions(members)
    correct = scores.argmax(axis=1) == preds.labels  # (N,)
    of_members = preds.correct[rows]  # (M, N)
    best = int(rows[of_members.mean(axis=1).argmax()])
    comparisons: list[tuple[str, int | None, NDArray[Any]]] = [("best member", best, preds.correct[best])]
    if (chosen := _best_on_val(preds.runs.iloc[rows])) is not None:
        comparisons.append(("best member on val", int(rows[chosen]), preds.correct[rows[chosen]]))
    comparisons.append(("mean member", None, of_members.mean(axis=0)))
    table = []
    for against, member, other in comparisons:
        low, high = _interval_of_mean(correct - other.astype(np.float64), rng, level, draws)
        whose = {"method": None, "seed": None} if member is None else dict(preds.runs.iloc[member][["method", "seed"]])
        accuracies = {
            "accuracy": other.mean(),
            "ensemble_accuracy": correct.mean(),
            "gain": correct.mean() - other.mean(),
        }
        table.append(
            {"against": against, "member": member, **whose, **accuracies, "low": low, "high": high, "level": level}
        )
    return pd.DataFrame(table).astype({"member": "Int64", "seed": "Int64"})


def _best_on_val(runs: pd.DataFrame) -> int | None:
    """The position of the run that validation would pick; None where it is not known."""
    if "val_accuracy" not in runs or runs["val_accuracy"].isna().any():
        return None
    loss = runs["val_loss"].fillna(np.inf) if "val_loss" in runs else np.zeros(len(runs))
    return int(np.lexsort([loss, -runs["val_accuracy"]])[0])


def _interval_of_mean(
    values: NDArray[np.float64], rng: np.random.Generator, level: float, draws: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (N,).

    Resampling N of N examples is a multinomial draw of how often each *value* occurs. Differences of correctness take
    few values, so a draw costs a handful of numbers and not N.
    """
    distinct, counts = np.unique(values.round(12), return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=draws) @ distinct / len(values)  # (draws,)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
