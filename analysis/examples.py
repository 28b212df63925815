"""The bootstrap over examples: the same resamples for every run, so that differences between runs are paired."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.intervals import require_draws

_BATCH_BYTES = 16 * 2**20


def resamples(N: int, draws: int, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """How often each of N examples occurs when N are drawn with replacement, `draws` times.

    Yields
    ------
    (B, N) float32
        A few draws at a time, `draws` in all; what is computed of them one after another never needs (draws, N). Whole
        numbers in float32, for matrix products.
    """
    require_draws(draws)
    batch = max(1, _BATCH_BYTES // (4 * N))
    for start in range(0, draws, batch):
        size = min(batch, draws - start)
        counts = np.empty((size, N), np.float32)
        for row in counts:
            row[:] = np.bincount(rng.integers(N, size=N), minlength=N)
        yield counts


def interval(drawn: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The percentile interval of a (draws, ...) array: low and high, of shape (...)."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def mean_interval(
    values: NDArray[np.float64], rng: np.random.Generator, level: float, draws: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (N,).

    Resampling N of N examples is a multinomial draw of how often each *value* occurs. Differences of correctness take
    few values, so a draw costs a handful of numbers and not N.
    """
    require_draws(draws)
    distinct, counts = np.unique(values.round(12), return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=draws) @ distinct / len(values)  # (draws,)
    low, high = interval(drawn, level)
    return float(low), float(high)
