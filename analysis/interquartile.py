"""The interquartile mean: the mean of the middle half (Agarwal et al., 2021, arXiv 2108.13264).

Less moved than the mean by one task on which a method collapses, and steadier than the median. Of n accuracies the
floor(n / 4) lowest and as many of the highest are left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import cells_of, require_even, seed_columns
from analysis.intervals import require_level
from analysis.resampling import drawn_over, interval_columns, samples


def interquartile_means(
    runs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
    over: str | None = None,
) -> pd.DataFrame:
    """Interquartile mean accuracy of every method over all its tasks and seeds, with a bootstrap interval.

    Parameters
    ----------
    runs, rng, draws, over
        As for `mean_ranks`; but seeds are not averaged, and every method must have equally many on every task: a task
        with more would have more accuracies among those of the middle.

    Returns
    -------
    DataFrame
        A row a method, best first: `method`, `interquartile_mean`, `low`, `high`, `level`, `interval`, `mean`,
        `median` (of the same accuracies), `tasks`, `fewest_seeds` and `most_seeds` (here the same).
    """
    require_level(level)
    cells = cells_of(runs)
    require_even(cells)
    over = drawn_over(cells, over)
    drawn = np.concatenate([_middle_mean(_flat(v)) for v in samples(cells, rng=rng, draws=draws, over=over)])
    flat = _flat(cells.accuracy)
    columns = {
        "method": cells.methods,
        "interquartile_mean": _middle_mean(flat),
        **interval_columns(drawn, level, cells, over),
        "mean": flat.mean(axis=-1),
        "median": np.median(flat, axis=-1),
        "tasks": len(cells.tasks),
        **seed_columns(cells.seeds),
    }
    order = ["interquartile_mean", "method"]
    return pd.DataFrame(columns).sort_values(order, ascending=[False, True], ignore_index=True)


def _flat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., T, M, S) -> (..., M, T * S)."""
    by_method = np.moveaxis(values, -3, -2)
    return by_method.reshape(*by_method.shape[:-2], -1)


def _middle_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    n = values.shape[-1]
    return np.sort(values, axis=-1)[..., n // 4 : n - n // 4].mean(axis=-1)
