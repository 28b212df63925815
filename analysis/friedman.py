"""Do the methods differ in rank at all, and which two? Friedman's test and Nemenyi's critical difference.

For M methods ranked on T tasks (Demšar, JMLR 7, 2006):

    chi2 = 12 T / (M (M + 1)) sum_m (R_m - (M + 1) / 2)^2 / c     R_m: mean rank of method m
    F = (T - 1) chi2 / (T (M - 1) - chi2)                         Iman and Davenport: less conservative than chi2
    CD = q / sqrt(2) sqrt(M (M + 1) / (6 T))                      q: studentised range of M means, infinite degrees

c = 1 - sum_t sum_g (g^3 - g) / (T (M^3 - M)) corrects for ties of g methods on task t.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.cells import Cells, cells_of, require_several, seed_columns
from analysis.intervals import require_level
from analysis.ranks import ranks_of


def friedman_test(runs: pd.DataFrame) -> pd.DataFrame:
    """Is there any difference in rank between the methods?

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`. Seeds are averaged before ranking; a task is one observation.

    Returns
    -------
    DataFrame
        A row a scope (the groups, and ``all tasks``): `scope`, `methods`, `tasks`, `fewest_seeds` and `most_seeds` (of
        a cell), `chi2` and its `p` (M - 1 degrees of freedom), Iman and Davenport's `f` and its `f_p` (M - 1 and
        (M - 1) (T - 1)), `kendall_w`, which is 1 if all tasks rank the methods alike, and `by_chance`: its mean if they
        rank them at random, 1 / T. NaN for one task, and where all methods tie on every task. Chi-square and F are
        approximations that are poor below about ten tasks.
    """
    scopes = _compared(runs).scopes()
    return pd.DataFrame([{"scope": scope, **_friedman(cells)} for scope, cells in scopes.items()])


def critical_difference(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean ranks and the difference that two of them must have to be told apart, all pairs considered (Nemenyi).

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`.
    level : float
        1 minus the probability of telling any two apart if all are equal.

    Returns
    -------
    DataFrame
        A row a method, best first: `method`, `mean_rank`, `tasks`, `fewest_seeds` and `most_seeds` (of the method on a
        task), `critical_difference`, `level`, and of Friedman's test `friedman_p` (Iman and Davenport's) and
        `kendall_w`. Where `friedman_p` is above 1 - `level`, no difference should be read at all.
    """
    require_level(level)
    cells = _compared(runs)
    tested = _friedman(cells)
    columns = {
        "method": cells.methods,
        "mean_rank": ranks_of(cells.means).mean(axis=0),
        "tasks": len(cells.tasks),
        **seed_columns(cells.seeds),
        "critical_difference": _critical_difference(cells, level),
        "level": level,
        "friedman_p": tested["f_p"],
        "kendall_w": tested["kendall_w"],
    }
    return pd.DataFrame(columns).sort_values(["mean_rank", "method"], ignore_index=True)


def nemenyi(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Every two methods: by how much their mean ranks differ, and whether that is more than chance.

    Returns
    -------
    DataFrame
        `method_a` (the better), `method_b`, `difference` (in mean rank), `critical_difference`, `p` (adjusted for all
        pairs), `distinguishable` (p < 1 - `level`), `tasks`, `fewest_seeds` and `most_seeds` (of either on a task),
        `level`.
    """
    table = critical_difference(runs, level=level)
    M, T = len(table), table["tasks"].iloc[0]
    a, b = np.triu_indices(M, k=1)
    method, rank = table["method"].to_numpy(), table["mean_rank"].to_numpy()
    difference = rank[b] - rank[a]
    p = np.clip(stats.studentized_range.sf(np.sqrt(2) * difference / _error(M, T), M, np.inf), 0.0, 1.0)
    columns = {
        "method_a": method[a],
        "method_b": method[b],
        "difference": difference,
        "critical_difference": table["critical_difference"].iloc[0],
        "p": p,
        "distinguishable": p < 1 - level,
        "tasks": T,
        "fewest_seeds": np.minimum(*(table["fewest_seeds"].to_numpy()[of] for of in (a, b))),
        "most_seeds": np.maximum(*(table["most_seeds"].to_numpy()[of] for of in (a, b))),
        "level": level,
    }
    return pd.DataFrame(columns)


def _compared(runs: pd.DataFrame) -> Cells:
    cells = cells_of(runs)
    require_several(cells)
    return cells


def _error(M: int, T: int) -> float:
    """The standard error of a difference of two mean ranks if all methods are equal."""
    return float(np.sqrt(M * (M + 1) / (6 * T)))


def _critical_difference(cells: Cells, level: float) -> float:
    M, T = len(cells.methods), len(cells.tasks)
    return float(stats.studentized_range.ppf(level, M, np.inf)) / np.sqrt(2) * _error(M, T)


def _friedman(cells: Cells) -> dict[str, float]:
    T, M = cells.means.shape
    ranks = ranks_of(cells.means)
    tied = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    correction = 1 - tied / (T * (M**3 - M))
    found = {"methods": M, **cells.counts(), **dict.fromkeys(("chi2", "p", "f", "f_p", "kendall_w"), np.nan)}
    found["by_chance"] = 1 / T if T > 1 else np.nan
    if T == 1 or correction <= 1e-12:
        return found
    chi2 = 12 * T / (M * (M + 1)) * ((ranks.mean(axis=0) - (M + 1) / 2) ** 2).sum() / correction
    left = T * (M - 1) - chi2
    f = (T - 1) * chi2 / left if left > 1e-9 else np.inf  # every task ranks the methods alike
    return found | {
        "chi2": chi2,
        "p": float(stats.chi2.sf(chi2, M - 1)),
        "f": f,
        "f_p": float(stats.f.sf(f, M - 1, (M - 1) * (T - 1))),
        "kendall_w": chi2 / (T * (M - 1)),
    }
