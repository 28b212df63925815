"""How likely is one method to do better than another on a task? (Agarwal et al., 2021, arXiv 2108.13264)

    P(X > Y) = mean over tasks of the share of pairs (a seed of X, a seed of Y) in which X is more accurate

A tie counts half: with one seed this is the share of tasks won, with several Mann and Whitney's U over its maximum.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import cells_of, require_several, seed_columns
from analysis.intervals import require_level
from analysis.resampling import bootstrap, drawn_over, interval_columns


def probability_of_improvement(
    runs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
    over: str | None = None,
) -> pd.DataFrame:
    """The probability that one method is more accurate than another, for every two, with a bootstrap interval.

    Parameters
    ----------
    runs, rng, draws, over
        As for `mean_ranks`, but seeds are not averaged: each is a draw of what training gives.

    Returns
    -------
    DataFrame
        `method_a`, `method_b`, `probability` (that a does better than b), `low`, `high`, `level`, `interval`, `tasks`,
        `fewest_seeds` and `most_seeds` (of either on a task). Both orders of two methods are there; they sum to 1.
        Every task counts the same, however many pairs of seeds it has.
    """
    require_level(level)
    cells = cells_of(runs)
    require_several(cells)
    over = drawn_over(cells, over)
    M = len(cells.methods)
    a, b = np.nonzero(~np.eye(M, dtype=bool))
    drawn = bootstrap(cells, _shares_won, rng=rng, draws=draws, over=over)
    pairs = a * M + b
    columns = {
        "method_a": np.array(cells.methods, dtype=object)[a],
        "method_b": np.array(cells.methods, dtype=object)[b],
        "probability": _shares_won(cells.accuracy).mean(axis=0)[pairs],
        **interval_columns(drawn[:, pairs], level, cells, over),
        "tasks": len(cells.tasks),
        **seed_columns(np.concatenate([cells.seeds[:, a], cells.seeds[:, b]])),
    }
    return pd.DataFrame(columns)


def _shares_won(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., M, S) -> (..., M * M): row over column; NaN are seeds that a cell does not have."""
    *many, M, S = values.shape
    won = np.zeros((*many, M, M))
    pairs = np.zeros((*many, M, M))
    for i in range(S):
        for j in range(S):
            a, b = values[..., :, None, i].round(12), values[..., None, :, j].round(12)
            won += (a > b) + 0.5 * (a == b)  # a comparison with NaN is false
            pairs += ~(np.isnan(a) | np.isnan(b))
    return (won / pairs).reshape(*many, M * M)
