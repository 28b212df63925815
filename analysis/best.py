"""Which methods the tasks of a group do not tell apart from the best one.

Two paired tests over tasks, each with Holm's correction over the M - 1 comparisons with the best (Demšar, JMLR 7,
2006):

    mean-rank     z = (R_m - R_best) / sqrt(M (M + 1) / (6 T)), against the normal distribution: the post-hoc test of
                  Friedman's against a control. All M methods show how much ranks scatter, so that few tasks can be
                  enough; but the answer for two methods depends on which others are there.
    signed-rank   Wilcoxon's, of the two methods' differences in accuracy alone, exact, ties included. With T tasks its
                  p is at least 2^(1 - T): after Holm's correction for 16 methods, fewer than ten tasks tell nothing
                  apart. No assumption that differences are normal, which accuracies of unequal tasks are not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.cells import cells_of
from analysis.holm import holm
from analysis.intervals import require_level, t_interval
from analysis.ranks import ranks_of
from petl_study.errors import unknown

TESTS = ("mean-rank", "signed-rank")


def best_sets(runs: pd.DataFrame, *, test: str = "mean-rank", level: float = 0.95) -> pd.DataFrame:
    """The best method of every group by mean rank, and which others are not distinguishable from it.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`. Seeds are averaged.
    test : str
        ``mean-rank``, the default because the groups have few tasks, or ``signed-rank``.
    level : float
        1 minus the probability of setting any method apart from the best if all are equal.

    Returns
    -------
    DataFrame
        `scope` (a group, or ``all tasks``), `method` in order of `mean_rank`, `accuracy` (its mean over the `tasks`),
        `behind` (the best one's accuracy minus this one's) with `low`, `high` (Student's t over tasks, of this pair
        alone; NaN for one task) at `level`; `p`, `p_holm`, `in_best_set` (p_holm >= 1 - `level`; the best is), `test`,
        and `smallest_p`: the least that `p_holm` could be here. Where that is above 1 - `level` the scope has too few
        tasks to tell anything apart, and the set is everyone. Beside `tasks`: `fewest_seeds`, `most_seeds` (of a cell
        of the scope).

        The best is chosen on the same tasks, so that it looks a little better than it is.
    """
    require_level(level)
    if test not in TESTS:
        raise unknown("test", test, TESTS)
    table = []
    for scope, cells in cells_of(runs).scopes().items():
        accuracy, ranks = cells.means, ranks_of(cells.means)  # (T, M)
        T, M = accuracy.shape
        mean_rank, counts = ranks.mean(axis=0), cells.counts()
        order = sorted(range(M), key=lambda m: (mean_rank[m].round(9), cells.methods[m]))
        behind = accuracy[:, [order[0]]] - accuracy[:, order]  # (T, M)
        error = np.sqrt(M * (M + 1) / (6 * T))
        if test == "mean-rank":
            p = 2 * stats.norm.sf((mean_rank[order[1:]] - mean_rank[order[0]]) / error)
            least = 2 * float(stats.norm.sf((M - 1) / error))
        else:
            p = np.array([signed_rank_p(behind[:, m]) for m in range(1, M)])
            least = 2.0 ** (1 - T)
        for place, (m, raw, adjusted) in enumerate(zip(order, [np.nan, *p], [np.nan, *holm(p)], strict=True)):
            low, high = t_interval(behind[:, place], level) if T > 1 and place else (np.nan, np.nan)
            table.append(
                {
                    "scope": scope,
                    "method": cells.methods[m],
                    "mean_rank": mean_rank[m],
                    "accuracy": accuracy[:, m].mean(),
                    "behind": behind[:, place].mean(),
                    "low": low,
                    "high": high,
                    "level": level,
                    "p": raw,
                    "p_holm": adjusted,
                    "in_best_set": bool(np.isnan(adjusted) or adjusted >= 1 - level),
                    "smallest_p": min(1.0, max(M - 1, 1) * least),
                    **counts,
                    "test": test,
                }
            )
    return pd.DataFrame(table)


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Wilcoxon's exact two-sided p-value; zeros are left out, equal sizes share ranks. 1 if all are zero.

    Under the null hypothesis every rank is positive or negative with even odds. Doubled, shared ranks are whole, so how
    many of the 2^n signs give each sum is counted one rank after another.
    """
    differences = differences.round(12)
    differences = differences[differences != 0]
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    ways = np.ones(1)  # of reaching each sum of positive doubled ranks
    for rank in doubled:
        ways = np.concatenate([ways, np.zeros(rank)]) + np.concatenate([np.zeros(rank), ways])
    chance = ways / 2.0 ** len(doubled)
    positive = doubled[differences > 0].sum()
    return float(min(1.0, 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())))
