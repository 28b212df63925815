"""Whether a model is right as often as it is sure.

With the examples in B bins by confidence (the probability of the predicted class), let bin b hold n_b of the N
examples, with mean confidence c_b and accuracy a_b, and let v_b be the variance within it of confidence minus
correctness.

    ece         sum_b n_b / N |c_b - a_b|                                  expected calibration error, plain
    debiased    2 ece - sum_b n_b / N E|c_b - A_b|,  A_b ~ Normal(a_b, a_b (1 - a_b) / n_b)
    squared     sum_b n_b / N ((c_b - a_b)^2 - v_b / n_b)

The plain estimate is too high, the more so the fewer examples a bin has: the a_b of a calibrated model scatter around
its c_b, too. Both corrections are those of Kumar et al. (2019, arXiv 1909.10155). The first (who draw the normal; its
mean absolute value is known in closed form) takes away what the scatter adds to a large error, and two fifths of what
it adds where there is none. The second is unbiased, so what is said with an interval is its root. Either can fall below
0 by chance.

Bins of equal width (15 as in arXiv 1706.04599) leave most examples of a sure model in the last one; bins of equal mass
have equally many examples each, as far as ties allow: equal confidences are never parted, so the order of the examples
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtr

from analysis.comparable import require_comparable
from analysis.examples import interval, resamples
from analysis.intervals import require_level, wilson_interval
from analysis.numeric import Floats, log_doubt, require_whole, softmax, widen
from analysis.predictions import Predictions
from petl_study.errors import InputError, unknown

BINNINGS = ("width", "mass")


def reliability(
    preds: Predictions,
    *,
    bins: int = 15,
    binning: str = "width",
    temperatures: ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy by confidence: what a reliability diagram shows.

    Parameters
    ----------
    bins, binning : int, str
        How many bins, of equal ``width`` or equal ``mass``. Empty ones are left out.
    temperatures : (R,), optional
        The logits of every run are divided by its temperature first (see `fit_temperatures`).

    Returns
    -------
    DataFrame
        A row a run and bin: `run`, `method`, `seed`, `bin` (0, 1, ... by confidence), `examples`, `confidence` (mean),
        `accuracy`, `low`, `high` (Wilson's interval of the accuracy), `level`.
    """
    require_level(level)
    rows = []
    for run, said in enumerate(_sure(preds, temperatures)):
        _, member = np.unique(_bins(said.confidence, bins, binning), return_inverse=True)
        examples = np.bincount(member)
        confidence = np.bincount(member, said.confidence) / examples
        accuracy = np.bincount(member, said.right) / examples
        for b in range(len(examples)):
            low, high = wilson_interval(float(accuracy[b]), int(examples[b]), level)
            rows.append((run, b, examples[b], confidence[b], accuracy[b], low, high))
    table = pd.DataFrame(rows, columns=["run", "bin", "examples", "confidence", "accuracy", "low", "high"])
    table.insert(1, "method", preds.runs["method"].array[table["run"]])
    table.insert(2, "seed", preds.runs["seed"].array[table["run"]])
    return table.assign(level=level)


def calibration(
    preds: Predictions,
    *,
    rng: np.random.Generator,
    bins: int = 15,
    temperatures: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """How well every run's confidence is calibrated.

    Parameters
    ----------
    temperatures : (R,), optional
        As for `reliability`.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the examples, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a run: `run`, `method`, `seed`, `examples`, `temperature` (1 where none was given), `accuracy`,
        `confidence` (means), `loss` (cross-entropy, nats), `brier` (mean squared distance of the probabilities from the
        label, 0 to 2), `ece_width`, `ece_mass` (plain, both binnings), `ece` (debiased, bins of equal mass),
        `rms_error` (root of the squared error, bins of equal mass; 0 where it is below 0), `low`, `high` (of
        `rms_error`), `level`.

        The bootstrap is the basic one: a resample scatters around the plain squared error of the examples, which is the
        truth that it knows, as the estimate does around the truth.
    """
    require_level(level)
    require_comparable(preds.runs)
    scales = _temperatures(preds, temperatures)
    rows = []
    for run, (said, scale) in enumerate(zip(_sure(preds, temperatures), scales, strict=True)):
        _, member = np.unique(_bins(said.confidence, bins, "mass"), return_inverse=True)
        once = np.ones((1, len(member)), np.float32)
        of_width = _Bins(said, _bins(said.confidence, bins, "width")).errors(once)
        of_mass = _Bins(said, member)
        errors = of_mass.errors(once)
        drawn = np.concatenate([of_mass.errors(counts).squared for counts in resamples(len(member), draws, rng)])
        low, high = interval(drawn - errors.plain_squared, level)
        loss, brier = _proper_scores(preds, run, scale)
        rows.append(
            {
                "run": run,
                "method": preds.runs["method"].iloc[run],
                "seed": preds.runs["seed"].iloc[run],
                "examples": len(member),
                "temperature": scale,
                "accuracy": said.right.mean(),
                "confidence": said.confidence.mean(),
                "loss": loss,
                "brier": brier,
                "ece_width": of_width.plain[0],
                "ece_mass": errors.plain[0],
                "ece": errors.debiased[0],
                "rms_error": _root(errors.squared[0]),
                "low": _root(errors.squared[0] - high),
                "high": _root(errors.squared[0] - low),
                "level": level,
            }
        )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


@dataclass(frozen=True)
class _Said:
    """One run: how sure it is of its predictions (N,), and whether they are right (N,)."""

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def _sure(preds: Predictions, temperatures: ArrayLike | None) -> Iterator[_Said]:
    scales = _temperatures(preds, temperatures)
    for run, scale in enumerate(scales):
        confidence = preds.confidence[run]
        if scale != 1:
            logits = preds.logits[run]
            doubts = [log_doubt(widen(logits[block]).astype(np.float64) / scale) for block in preds.blocks()]
            confidence = expit(-np.concatenate(doubts))
        yield _Said(confidence, preds.correct[run])


def _temperatures(preds: Predictions, temperatures: ArrayLike | None) -> list[float]:
    if temperatures is None:
        return [1.0] * len(preds)
    scales = np.asarray(temperatures, dtype=np.float64)
    if scales.shape != (len(preds),) or not (np.isfinite(scales) & (scales > 0)).all():
        raise InputError(
            f"temperatures must be {len(preds)} numbers above 0, one for every run in their order; got {temperatures!r}"
        )
    return scales.tolist()


def _bins(confidence: NDArray[np.float64], bins: int, binning: str) -> NDArray[np.intp]:
    """The bin of every example, 0 to bins - 1: (N,)."""
    require_whole("bins", bins, such_as=15)
    if binning not in BINNINGS:
        raise unknown("binning", binning, BINNINGS)
    if binning == "width":
        inner = np.arange(1, bins) / bins
    else:
        inner = np.unique(np.quantile(confidence, np.arange(1, bins) / bins, method="higher"))
    return np.searchsorted(inner, confidence, side="right" if binning == "mass" else "left")


@dataclass(frozen=True)
class _Errors:
    """Of B resamples, (B,) each: the plain and the debiased error, and the plain and the unbiased squared one."""

    plain: NDArray[np.float64]
    debiased: NDArray[np.float64]
    plain_squared: NDArray[np.float64]
    squared: NDArray[np.float64]


class _Bins:
    """The sums over each bin that errors are made of, as products with how often each example occurs."""

    def __init__(self, said: _Said, member: NDArray[np.intp]):
        within = (member[:, None] == np.unique(member)).astype(np.float64)  # (N, bins)
        gap = said.confidence - said.right
        self.sums = [within, within * gap[:, None], within * gap[:, None] ** 2, within * said.right[:, None]]

    def errors(self, counts: NDArray[np.float32]) -> _Errors:
        """Where example n occurs ``counts[b, n]`` times: (B, N)."""
        examples, gap, square, accuracy = (counts.astype(np.float64) @ values for values in self.sums)  # (B, bins)
        share = examples / examples.sum(axis=1, keepdims=True)
        some = np.maximum(examples, 1)  # a bin that a resample leaves empty has no share
        gap, square, accuracy = gap / some, square / some, accuracy / some
        plain = (share * np.abs(gap)).sum(axis=1)
        scatter = _mean_absolute(gap, np.sqrt(accuracy * (1 - accuracy) / some))
        plain_squared = (share * gap**2).sum(axis=1)
        variance = (square - gap**2) / np.maximum(examples - 1, 1)  # of the mean, unbiased
        return _Errors(
            plain,
            2 * plain - (share * scatter).sum(axis=1),
            plain_squared,
            plain_squared - (share * variance).sum(axis=1),
        )


def _root(squared: float) -> float:
    return float(np.sqrt(max(0.0, squared)))


def _mean_absolute(mean: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """E|x| of a normal x."""
    z = np.divide(mean, spread, out=np.full_like(mean, np.inf), where=spread > 0)
    return spread * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + np.abs(mean) * (2 * ndtr(np.abs(z)) - 1)


def _proper_scores(preds: Predictions, run: int, scale: float) -> tuple[float, float]:
    """Cross-entropy and Brier score of one run."""
    loss, brier = 0.0, 0.0
    for block in preds.blocks():
        scaled = widen(preds.logits[run, block]).astype(np.float64, copy=False) / scale
        probabilities, labels = softmax(scaled), preds.labels[block]
        examples = np.arange(len(labels))
        brier += float((probabilities**2).sum() + (1 - 2 * probabilities[examples, labels]).sum())
        loss += float(_losses(scaled, labels).sum())
    return loss / len(preds.labels), brier / len(preds.labels)


def _losses(logits: Floats, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of every example, of float64 logits: (n, C), (n,) -> (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return losses
