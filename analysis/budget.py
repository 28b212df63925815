"""What a search of n trials would have found, so that methods are compared at equal budget.

The highest of n trials drawn without replacement from the N that were made (Dodge et al., 2019, arXiv 1909.03004, in
its unbiased form). With x_1 <= ... <= x_N:

    P(the highest of n is x_i) = C(i - 1, n - 1) / C(N, n)

exactly, so nothing is drawn and nothing simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from analysis.cells import cells_of, require_several
from analysis.comparable import cell_columns, require_complete, require_trials
from analysis.intervals import nan_interval, require_level
from analysis.ranks import mean_ranks, ranks_of, spearman
from analysis.resampling import redrawn
from petl_study.errors import InputError


def expected_best(trials: pd.DataFrame, *, then: str | None = None, level: float = 0.95) -> pd.DataFrame:
    """The best validation accuracy that a search of n trials finds, for every n.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`. A failed trial is one that scored 0: it took its share of the budget.
    then : str, optional
        The column of another accuracy, whose expectation *for the trial with the highest validation accuracy* is wanted
        too: such as the test accuracy of every trial, where someone has it. petl_study never measures that, and the
        published records do not have it either. Of trials that tie on validation any is taken with the same chance.

    Returns
    -------
    DataFrame
        A row a task, method and budget: `task`, (`group`,) `method`, `budget` (n, 1 to `trials`), `trials`, `expected`,
        `low`, `high` (between which the best of n lies with probability `level`; of which n trials are drawn, not of
        training them again), `level`, `interval`; with `then`, `expected_then`.
    """
    require_level(level)
    require_trials(trials)
    if then is not None and then not in trials:
        raise InputError(
            f"the trials have no column {then!r}: how each of them does on it is not known, so neither is what the"
            " chosen one does. petl_study looks at the test set once, after the search. Leave `then` out."
        )
    keys = cell_columns(trials)
    tables = []
    for cell, some in trials.groupby(keys, sort=True, dropna=False):
        val = some["val_accuracy"].fillna(0.0).to_numpy(dtype=float).round(12)
        order = np.argsort(val, kind="stable")
        weights = best_of_weights(len(val))  # (N, N): budgets down, trials across, the worst first
        ordered, upto = val[order], weights.cumsum(axis=1)
        ends = [ordered[(upto < share - 1e-12).sum(axis=1)] for share in ((1 - level) / 2, (1 + level) / 2)]
        columns = {
            **dict(zip(keys, cell, strict=True)),
            "budget": np.arange(1, len(val) + 1),
            "trials": len(val),
            "expected": weights @ ordered,
            "low": ends[0],
            "high": ends[1],
            "level": level,
            "interval": "best of n draws",
        }
        if then is not None:
            follows = some[then].to_numpy(dtype=float)[order]
            columns["expected_then"] = weights @ pd.Series(follows).groupby(ordered).transform("mean").to_numpy()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def ranks_at_budget(
    trials: pd.DataFrame,
    budgets: Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
) -> pd.DataFrame:
    """Mean rank of every method if each had been searched with n trials, by expected best validation accuracy.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`, with every method on every task.
    budgets : sequence of int, optional
        1, 2, 4, ... up to the largest search by default. A method with fewer trials than that keeps what all of them
        found: it has nothing more to search (`exhausted`).
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the tasks, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        `budget`, `method`, `mean_rank`, `low`, `high`, `level`, `interval`, `tasks`, `exhausted`. Ranks are of
        *validation*: the best of many trials is more optimistic than the best of few, on test it is not as far ahead.
    """
    curves = expected_best(trials, level=level)
    sizes = curves.pivot_table(index="task", columns="method", values="trials")
    require_complete(sizes)
    most = int(sizes.to_numpy().max())
    if budgets is None:
        budgets = sorted({*(2**i for i in range(most.bit_length())), most})
    if bad := [n for n in budgets if n < 1 or n != int(n)]:
        raise InputError(f"a budget is a whole number of trials, 1 or more; got {bad[0]}")
    tables = []
    for n in sorted(set(budgets)):
        at = curves[curves["budget"] == np.minimum(n, curves["trials"])].assign(
            seed=0, test_accuracy=curves["expected"]
        )
        ranks = mean_ranks(at, rng=rng, level=level, draws=draws, over="tasks")
        exhausted = ranks["method"].map((sizes < n).any())
        tables.append(ranks.assign(budget=n, exhausted=exhausted))
    columns = ["budget", "method", "mean_rank", "low", "high", "level", "interval", "tasks", "exhausted"]
    return pd.concat(tables, ignore_index=True)[columns]


def rank_and_budget(
    runs: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 10_000, over: str | None = None
) -> pd.DataFrame:
    """`mean_ranks`, beside how many trials each method's search had (`search_trials`, mean over tasks)."""
    sizes = cells_of(runs, "search_trials")
    searched = dict(zip(sizes.methods, sizes.means.mean(axis=0), strict=True))
    ranks = mean_ranks(runs, rng=rng, level=level, draws=draws, over=over)
    return ranks.assign(search_trials=ranks["method"].map(searched))


def budget_correlation(
    runs: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 2_000
) -> pd.DataFrame:
    """Whether methods with larger searches rank better: Spearman's correlation of `search_trials` with mean rank.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`, with `search_trials`. Which methods count is the caller's choice.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the methods, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        `scope` (the groups, and ``all tasks``), `methods`, `tasks`, `fewest_seeds` and `most_seeds` (of a cell),
        `spearman` (below 0: larger searches rank better), `low`, `high`, `level`, `interval`, and `p` (two-sided,
        Student's t). NaN where all searches have the same size. A correlation is no proof: methods with more
        hyperparameters have larger grids, too.
    """
    require_level(level)
    cells = cells_of(runs)
    sizes = cells_of(runs, "search_trials")
    require_several(cells)
    M = len(cells.methods)
    picks = redrawn(M, rng=rng, draws=draws)
    table = []
    for scope, some in cells.scopes().items():
        rank, trials = ranks_of(some.means).mean(axis=0), sizes.only(some.tasks).means.mean(axis=0)
        low, high = nan_interval(spearman(trials[picks], rank[picks]), level)
        found = float(spearman(trials, rank))
        table.append(
            {
                "scope": scope,
                "methods": M,
                **some.counts(),
                "spearman": found,
                "low": low,
                "high": high,
                "level": level,
                "interval": "bootstrap over methods",
                "p": _two_sided_p(found, M),
            }
        )
    return pd.DataFrame(table)


def _two_sided_p(correlation: float, n: int) -> float:
    """Of a rank correlation of n pairs, by Student's t with n - 2 degrees of freedom; NaN for fewer than three."""
    if np.isnan(correlation) or n < 3:
        return float("nan")
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt((n - 2) / max(1 - correlation**2, 0.0))
    return float(2 * stats.t.sf(abs(t), n - 2))


@lru_cache(maxsize=64)
def best_of_weights(N: int) -> NDArray[np.float64]:
    """The probability that the highest of n is the i-th lowest of N: (N, N), n down and i across, both from 1."""
    n, i = np.arange(1, N + 1)[:, None], np.arange(1, N + 1)[None, :]
    with np.errstate(invalid="ignore"):
        logarithm = _log_choose(i - 1, n - 1) - _log_choose(N, n)
    weights = np.where(i >= n, np.exp(logarithm), 0.0)
    weights.setflags(write=False)
    return weights


def _log_choose(n: NDArray[np.int_] | int, k: NDArray[np.int_]) -> NDArray[np.float64]:
    return gammaln(np.asarray(n) + 1) - gammaln(k + 1) - gammaln(np.maximum(np.asarray(n) - k, 0) + 1)
