"""What a model gets wrong when it may decline to answer what it is unsure of (arXiv 1705.08500)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import require_comparable
from analysis.examples import interval, resamples
from analysis.intervals import require_level
from analysis.numeric import require_whole
from analysis.predictions import Predictions


def risk_coverage(
    preds: Predictions,
    *,
    points: int = 100,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """The error among the most confident examples, by how many of them are answered.

    Of equally confident examples none comes first: the errors among them are spread evenly, as they would be on average
    over the orders they could have.

    Parameters
    ----------
    points : int
        How many coverages, evenly from 1 / points to 1 (each rounded to whole examples; all N where N is smaller).
    rng : numpy.random.Generator, optional
        The only source of chance: `draws` resamples of the examples, of which the intervals cover `level` (0 to 1),
        coverage by coverage.

    Returns
    -------
    DataFrame
        A row a run and coverage: `run`, `method`, `seed`, `coverage` (share of the examples that are answered), `risk`
        (share of these that are wrong), `optimal` (the risk if everything wrong were what the run is least sure of).
        With `rng` also `low`, `high` (of the risk), `level` and `interval`: ``bootstrap over examples``.
    """
    require_level(level)
    require_whole("points", points, such_as=100)
    N = len(preds.labels)
    answered = np.unique(np.ceil(np.linspace(1 / points, 1, points) * N).astype(np.int64))  # (K,)
    ordered = [_Ordered(preds, run) for run in range(len(preds))]
    wrong = (~preds.correct).sum(axis=1)  # (R,)
    columns = {
        "run": np.repeat(np.arange(len(preds)), len(answered)),
        "method": preds.runs["method"].array.repeat(len(answered)),
        "seed": preds.runs["seed"].array.repeat(len(answered)),
        "coverage": np.tile(answered / N, len(preds)),
        "risk": np.ravel([one.risks(np.ones(N))[answered - 1] for one in ordered]),
        "optimal": (np.maximum(0, answered - (N - wrong)[:, None]) / answered).ravel(),
    }
    if rng is not None:
        drawn = [
            [one.risks(counts)[answered - 1] for one in ordered]
            for batch in resamples(N, draws, rng)
            for counts in batch
        ]  # (draws, R, K)
        low, high = interval(np.array(drawn), level)
        columns |= {"low": low.ravel(), "high": high.ravel(), "level": level, "interval": "bootstrap over examples"}
    return pd.DataFrame(columns)


def aurc(preds: Predictions, *, rng: np.random.Generator, level: float = 0.95, draws: int = 1000) -> pd.DataFrame:
    """The area under every run's risk-coverage curve: the mean over the N coverages 1/N, 2/N, ... 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the examples, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a run: `run`, `method`, `seed`, `examples`, `risk` (at full coverage: 1 - accuracy), `aurc`, `low`,
        `high`, `level`, `optimal` (the least that a run with these errors could have: all of them where it is least
        sure), `excess` (`aurc` - `optimal`: 0 for a perfect order; comparable between runs of unlike accuracy).
    """
    require_level(level)
    require_comparable(preds.runs)
    N = len(preds.labels)
    ordered = [_Ordered(preds, run) for run in range(len(preds))]
    drawn = np.array(
        [[one.risks(counts).mean() for one in ordered] for batch in resamples(N, draws, rng) for counts in batch]
    )  # (draws, R)
    low, high = interval(drawn, level)
    areas = np.array([one.risks(np.ones(N)).mean() for one in ordered])
    wrong = (~preds.correct).sum(axis=1)
    optimal = np.array([_optimal_area(int(count), N) for count in wrong])
    columns = {
        "run": np.arange(len(preds)),
        "method": preds.runs["method"].array,
        "seed": preds.runs["seed"].array,
        "examples": N,
        "risk": wrong / N,
        "aurc": areas,
        "low": low,
        "high": high,
        "level": level,
        "optimal": optimal,
        "excess": areas - optimal,
    }
    return pd.DataFrame(columns)


class _Ordered:
    """The errors of one run, from the example it is surest of to the one it is least sure of."""

    def __init__(self, preds: Predictions, run: int):
        self.order = preds.doubt[run].argsort(kind="stable")  # (N,)
        doubt = preds.doubt[run][self.order]
        self.tie = np.append(0, np.cumsum(doubt[1:] != doubt[:-1]))  # (N,): which group of equals each belongs to
        self.wrong = (~preds.correct[run])[self.order].astype(np.float64)

    def risks(self, counts: NDArray[np.floating]) -> NDArray[np.float64]:
        """The risk of answering 1, 2, ... of the examples, where example n occurs ``counts[n]`` times: (N,) -> (N,)."""
        often = counts[self.order]
        examples = np.bincount(self.tie, often)
        rate = np.bincount(self.tie, often * self.wrong) / np.maximum(examples, 1)
        errors = np.cumsum(np.repeat(rate, examples.astype(np.int64)))
        return errors / np.arange(1, len(errors) + 1)


def _optimal_area(wrong: int, N: int) -> float:
    """The area if the `wrong` errors of N come last."""
    answered = np.arange(N - wrong + 1, N + 1)
    return float(((answered - (N - wrong)) / answered).sum() / N)
