"""Bradley-Terry: how likely is a method to beat another on a task?

    P(i beats j) = 1 / (1 + exp(s_j - s_i))        s (M,): strengths in natural log-odds, mean 0

Every task is a tournament: of two methods the more accurate wins, a tie is half a win for each. A method that wins
always would have infinite strength, so `prior` further tasks are imagined on which all methods tie: the posterior mode
under a conjugate prior, finite and unique for any results. Elo's ratings are the same numbers on his scale.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.cells import cells_of, require_several, seed_columns, seed_means
from analysis.intervals import require_level
from analysis.ranks import beats
from analysis.resampling import bootstrap, drawn_over, interval_columns
from petl_study.errors import InputError

_STEPS = 100  # of Newton's: a dozen are usual


def strengths(
    runs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    prior: float = 1.0,
    level: float = 0.95,
    draws: int = 2_000,
    over: str | None = None,
) -> pd.DataFrame:
    """Bradley-Terry strength of every method, with a bootstrap interval.

    Parameters
    ----------
    runs, rng, draws, over
        As for `mean_ranks`.
    prior : float
        Tasks added on which all methods tie; at least 1e-6. The fewer tasks there are, the more it draws together.

    Returns
    -------
    DataFrame
        A row a method, strongest first: `method`, `strength` (a difference of 1 between two: odds of e to 1), `low`,
        `high`, `level`, `interval`, `elo` (1500 + 400 / ln 10 of it), `wins` (share of comparisons won, ties as halves;
        without the prior), `tasks`, `fewest_seeds` and `most_seeds` (of the method on a task), `prior`.
    """
    require_level(level)
    if not prior >= 1e-6:
        raise InputError(
            f"prior must be at least 1e-6, such as 1: who wins always has no finite strength; got {prior!r}"
        )
    cells = cells_of(runs)
    require_several(cells)
    over = drawn_over(cells, over)
    M, T = len(cells.methods), len(cells.tasks)

    def wins(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return beats(seed_means(values)).reshape(*values.shape[:-2], M * M)

    drawn = bootstrap(cells, wins, rng=rng, draws=draws, over=over).reshape(draws, M, M)
    won = beats(cells.means).mean(axis=0)  # (M, M)
    found = _fit(T * won[None] + prior / 2)[0]
    columns = {
        "method": cells.methods,
        "strength": found,
        **interval_columns(_fit(T * drawn + prior / 2), level, cells, over),
        "elo": 1500 + 400 / np.log(10) * found,
        "wins": (won.sum(axis=1) - 0.5) / (M - 1),
        "tasks": T,
        **seed_columns(cells.seeds),
        "prior": prior,
    }
    order = ["strength", "method"]
    return pd.DataFrame(columns).sort_values(order, ascending=[False, True], ignore_index=True)


def _fit(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The most likely strengths given how often each method beat each: (D, M, M) -> (D, M), by Newton's method.

    The likelihood is concave; a step that would lower it is halved.
    """
    D, M, _ = wins.shape
    wins = wins * (1 - np.eye(M))
    losses = wins.swapaxes(1, 2)
    found = np.zeros((D, M))
    for _ in range(_STEPS):
        ahead = found[:, :, None] - found[:, None, :]
        p, q = special.expit(ahead), special.expit(-ahead)  # 1 - p would lose the digits that a small prior needs
        slope = (wins * q - losses * p).sum(axis=2)
        weight = (wins + losses) * p * q
        # The strengths' level is free: adding a constant matrix fixes their mean at 0.
        curvature = weight.sum(axis=2)[:, :, None] * np.eye(M) - weight + 1 / M
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        reached = _likelihood(wins, found)
        while (lower := _likelihood(wins, found + step) < reached - 1e-9 * np.abs(reached)).any():
            step[lower] /= 2
        found += step
        if np.abs(step).max() < 1e-8 * max(1.0, np.abs(found).max()):
            return found - found.mean(axis=1, keepdims=True)
    raise InputError(f"the strengths did not settle in {_STEPS} steps; give a larger prior, such as 1")


def _likelihood(wins: NDArray[np.float64], strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the likelihood of `wins`, (D, M, M), given the strengths, (D, M): (D,)."""
    ahead = strengths[:, :, None] - strengths[:, None, :]
    return (wins * special.log_expit(ahead)).sum(axis=(1, 2))
