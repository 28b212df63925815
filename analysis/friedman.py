"""Do the methods differ in rank at all, and which two? Friedman's test and Nemenyi's critical difference.

For M methods ranked on T tasks (Demšar, JMLR 7, 2006):

    chi2 = 12 T / (M (M + 1)) sum_m (R_m - (M + 1) / 2)^2 / c     R_m: mean rank of method m
    F = (T - 1) chi2 / (T (M - 1) - chi2)                         Iman and Davenport: less conservative than chi2
    CD = q / sqrt(2) sqrt(M (M + 1) / (6 T))                      q: studentised range of M means, infinite degrees

c = 1 - sum_t sum_g (g^3 - g) / (T (M^3 - M)) corrects for ties of g methods on task t.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from analysis.cells import Cells, cells_of
from analysis.intervals import require_level
from analysis.ranks import ranks_of
from petl_study.errors import InputError


def friedman_test(runs: pd.DataFrame) -> pd.DataFrame:
    """Is there any difference in rank between the methods?

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`. Seeds are averaged before ranking; a task is one observation.

    Returns
    -------
    DataFrame
        A row a scope (the groups, and ``all tasks``): `scope`, `methods`, `tasks`, `chi2` and its `p` (M - 1 degrees of
        freedom), Iman and Davenport's `f` and its `f_p` (M - 1 and (M - 1) (T - 1)), and `kendall_w`: 0 if the tasks
        rank the methods at random, 1 if all rank them alike. NaN for one task, and where all methods tie on every task.
        Chi-square and F are approximations that are poor below about ten tasks.
    """
    return pd.DataFrame([{"scope": scope, **_friedman(cells)} for scope, cells in _compared(runs).scopes().items()])


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
        A row a method, best first: `method`, `mean_rank`, `tasks`, `critical_difference`, `level`, and `friedman_p`: of
        Iman and Davenport's F. Where that is above 1 - `level`, no difference should be read at all.
    """
    require_level(level)
    cells = _compared(runs)
    columns = {
        "method": cells.methods,
        "mean_rank": ranks_of(cells.means).mean(axis=0),
        "tasks": len(cells.tasks),
        "critical_difference": _critical_difference(cells, level),
        "level": level,
        "friedman_p": _friedman(cells)["f_p"],
    }
    return pd.DataFrame(columns).sort_values(["mean_rank", "method"], ignore_index=True)


def nemenyi(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Every two methods: by how much their mean ranks differ, and whether that is more than chance.

    Returns
    -------
    DataFrame
        `method_a` (the better), `method_b`, `difference` (in mean rank), `critical_difference`, `p` (adjusted for all
        pairs), `distinguishable` (p < 1 - `level`), `tasks`, `level`.
    """
    table = critical_difference(runs, level=level)
    pairs = itertools.combinations(table[["method", "mean_rank"]].itertuples(index=False, name=None), 2)
    rows = [{"method_a": a, "method_b": b, "difference": rank_b - rank_a} for (a, rank_a), (b, rank_b) in pairs]
    M, T = len(table), table["tasks"].iloc[0]
    difference = np.array([row["difference"] for row in rows])
    p = np.clip(stats.studentized_range.sf(np.sqrt(2) * difference / _error(M, T), M, np.inf), 0.0, 1.0)
    known = {name: table[name].iloc[0] for name in ("critical_difference", "tasks", "level")}
    return pd.DataFrame(rows).assign(p=p, distinguishable=p < 1 - level, **known)


def _compared(runs: pd.DataFrame) -> Cells:
    cells = cells_of(runs)
    if len(cells.methods) < 2:
        raise InputError(f"ranks compare at least two methods; got {', '.join(cells.methods)}. Load more methods.")
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
    found = {"methods": M, "tasks": T, **dict.fromkeys(("chi2", "p", "f", "f_p", "kendall_w"), np.nan)}
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
