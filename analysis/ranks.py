"""How methods rank: on average, and how often each comes first, second, ..."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.cells import cells_of, seed_columns, seed_means
from analysis.intervals import require_level, wilson_interval
from analysis.resampling import bootstrap, drawn_over, interval_columns


def beats(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a method is more accurate than another, 1/2 where they tie: (..., M) -> (..., M, M), row over column."""
    a, b = accuracy[..., :, None], accuracy[..., None, :]
    return (a > b) + 0.5 * (a == b)


def ranks_of(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis: the most accurate of M is 1, equal ones share the mean of their ranks."""
    return accuracy.shape[-1] + 0.5 - beats(accuracy).sum(axis=-1)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's rank correlation along the last axis, ties included: (..., M), (..., M) -> (...).

    NaN where all of either are equal.
    """
    centred = [stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2 for values in (a, b)]
    one, other = (np.sqrt((ranks**2).sum(axis=-1)) for ranks in centred)
    scale = one * other
    together = (centred[0] * centred[1]).sum(axis=-1)
    found: NDArray[np.float64] = np.where(scale > 0, together / np.where(scale > 0, scale, 1.0), np.nan)
    return found


def mean_ranks(
    runs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
    over: str | None = None,
) -> pd.DataFrame:
    """Mean rank of every method over tasks, with a bootstrap interval.

    Parameters
    ----------
    runs : DataFrame
        As for `accuracy_table`, with every method on every task. Seeds are averaged before ranking, however many a cell
        has: fewer make its mean, and so its rank, less certain, and `fewest_seeds` says so.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples, of which the interval covers `level` (0 to 1).
    over : str, optional
        What is redrawn: ``tasks`` (other tasks of the same kind), ``seeds`` (these tasks, trained again) or ``tasks and
        seeds``. By default both where every method has two seeds or more on every task, otherwise tasks.

    Returns
    -------
    DataFrame
        A row a method, best first: `method`, `mean_rank` (1 is best of M, ties share), `low`, `high`, `level`,
        `interval` (what was redrawn), `tasks`, `fewest_seeds` and `most_seeds` (of the method on a task). One task says
        nothing of others: its interval over tasks is NaN. A single method has rank 1.
    """
    require_level(level)
    cells = cells_of(runs)
    over = drawn_over(cells, over)
    drawn = bootstrap(cells, lambda values: ranks_of(seed_means(values)), rng=rng, draws=draws, over=over)
    columns = {
        "method": cells.methods,
        "mean_rank": ranks_of(cells.means).mean(axis=0),
        **interval_columns(drawn, level, cells, over),
        "tasks": len(cells.tasks),
        **seed_columns(cells.seeds),
    }
    return pd.DataFrame(columns).sort_values(["mean_rank", "method"], ignore_index=True)


def ranking_frequency(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The share of tasks on which a method ranks first, second, ...: figure 2 of arXiv 2409.16434.

    Methods that tie on a task share the ranks they span, so the shares of a method sum to 1, and so do those of a rank.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`.

    Returns
    -------
    DataFrame
        `scope` (a group, or ``all tasks``), `method` in order of `mean_rank` within the scope, `mean_rank`, `rank` (1
        to M), `frequency`, `low`, `high` (Wilson's interval over the `tasks` of the scope: wide, as they are few),
        `level`, and of the whole scope `tasks`, `fewest_seeds`, `most_seeds` (of a cell).
    """
    require_level(level)
    table = []
    for scope, cells in cells_of(runs).scopes().items():
        frequency = _shares(cells.means).mean(axis=0)  # (M, M)
        mean_rank, counts = ranks_of(cells.means).mean(axis=0), cells.counts()
        for m in sorted(range(len(cells.methods)), key=lambda m: (mean_rank[m], cells.methods[m])):
            for place, share in enumerate(frequency[m]):
                low, high = wilson_interval(float(share), len(cells.tasks), level)
                table.append(
                    {
                        "scope": scope,
                        "method": cells.methods[m],
                        "mean_rank": mean_rank[m],
                        "rank": place + 1,
                        "frequency": share,
                        "low": low,
                        "high": high,
                        "level": level,
                        **counts,
                    }
                )
    return pd.DataFrame(table)


def _shares(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each rank a method holds on each task: (T, M) -> (T, M, M)."""
    better = (accuracy[:, None, :] > accuracy[:, :, None]).sum(axis=-1)[..., None]  # (T, M, 1)
    equal = (accuracy[:, None, :] == accuracy[:, :, None]).sum(axis=-1)[..., None]  # itself included
    places = np.arange(accuracy.shape[1])
    return ((places >= better) & (places < better + equal)) / equal
