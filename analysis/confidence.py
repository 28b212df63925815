"""Whether models are right, and wrong, about the same examples when they are sure, and when they are not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.agreement import by_method, shared_counts
from analysis.comparable import require_comparable
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions
from petl_study.errors import InputError, unknown

KINDS = ("correct", "wrong", "confident_wrong")  # the sets of `confidence_regions`, as `confidence_overlap` names them


def confidence_sets(preds: Predictions, top: float = 0.1) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Correct among the k most confident of each run, and wrong among its k least confident (arXiv 2409.16434).

    Parameters
    ----------
    top : float or int
        k: a fraction of the N examples (0 < top < 1; rounded, at least 1) or a number of them (an int from 1 to N).
        Confidence is the probability of the predicted class; of equally confident examples the earlier counts as surer.

    Returns
    -------
    correct_confident, wrong_unconfident : (R, N) booleans
    """
    N = len(preds.labels)
    k = _count(top, N)
    order = preds.doubt.argsort(axis=1, kind="stable")  # surest first
    return _marked(order[:, :k], N) & preds.correct, _marked(order[:, N - k :], N) & ~preds.correct


def confidently_wrong(preds: Predictions, top: float = 0.1) -> NDArray[np.bool_]:
    """The most confident of each run's wrong predictions: (R, N).

    Parameters
    ----------
    top : float or int
        A fraction of the run's own wrong predictions (rounded, at least 1 where there is one), or a number of them;
        a run with fewer has all of them in its set, and a run without any an empty one. Ties as in `confidence_sets`.
    """
    N = len(preds.labels)
    _count(top, N)
    order = np.where(preds.correct, np.inf, preds.doubt).argsort(axis=1, kind="stable")  # wrong and surest first
    counts = (~preds.correct).sum(axis=1)  # (R,)
    if isinstance(top, int | np.integer):
        k = np.full(len(preds), top)
    else:
        k = np.maximum(1, np.rint(top * counts)).astype(np.int64)
    sets = np.zeros(preds.correct.shape, dtype=bool)
    for run, size in enumerate(np.minimum(k, counts)):
        sets[run, order[run, :size]] = True
    return sets


def confidence_overlap(preds: Predictions, top: float = 0.1) -> pd.DataFrame:
    """How much two runs share of what each gets right surely, wrong unsurely and wrong surely.

    Sets as in `confidence_sets` and `confidently_wrong`.

    Returns
    -------
    DataFrame
        A row a pair of runs: `run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`, `k`; `correct_a`,
        `correct_b`: how many of each run's k most confident are correct; `correct_shared`: how many of these are the
        same examples; `correct_jaccard`: shared / either; `wrong_a`, `wrong_b`, `wrong_shared`, `wrong_jaccard`
        likewise for the wrong ones of the k least confident; and `confident_wrong_a`, ... for the most confident of
        the wrong ones. The overlap of two empty sets is NaN.
    """
    require_comparable(preds.runs)
    table = pair_columns(preds.runs).assign(k=_count(top, len(preds.labels)))
    a, b = pairs(len(preds))
    for name, members in _sets(preds, top).items():
        shared = shared_counts(members)  # (R, R), sizes on the diagonal
        sizes = shared.diagonal()
        either = sizes[a] + sizes[b] - shared[a, b]
        table[f"{name}_a"], table[f"{name}_b"], table[f"{name}_shared"] = sizes[a], sizes[b], shared[a, b]
        table[f"{name}_jaccard"] = np.where(either > 0, shared[a, b] / np.maximum(either, 1), np.nan)
    return table


def confidence_overlap_by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Mean Jaccard indices of every two methods over the pairs of their runs.

    Parameters
    ----------
    table : DataFrame
        From `confidence_overlap`; of several tasks if it has a column `task`.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b`, `correct_jaccard`, `wrong_jaccard`, `confident_wrong_jaccard`, `pairs`; both
        orders of two methods. A method with itself is the mean over its seeds, and is missing where it has one.
    """
    return by_method(table, [f"{kind}_jaccard" for kind in KINDS])


def set_regions(sets: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Every way in which named sets of examples meet: what a Venn diagram or an UpSet plot shows.

    Parameters
    ----------
    sets : mapping
        For each name, whether each of N examples is in the set: (N,) booleans.

    Returns
    -------
    DataFrame
        A row for every combination of sets that has an example of its own, the largest first: `members` (a tuple of
        names, in the order of `sets`), `degree` (how many), `examples` (in exactly these sets and in no other),
        `share` (of the examples in any set). Empty where all sets are.
    """
    names = list(sets)
    member = np.stack([np.asarray(sets[name], dtype=bool) for name in names], axis=1)  # (N, S)
    patterns, counts = np.unique(member[member.any(axis=1)], axis=0, return_counts=True)
    order = sorted(range(len(counts)), key=lambda row: (-counts[row], patterns[row].sum(), *~patterns[row]))
    columns = {
        "members": [tuple(name for name, within in zip(names, patterns[row], strict=True) if within) for row in order],
        "degree": [int(patterns[row].sum()) for row in order],
        "examples": [int(counts[row]) for row in order],
        "share": [float(counts[row] / counts.sum()) for row in order],
    }
    return pd.DataFrame(columns)


def confidence_regions(preds: Predictions, top: float = 0.1, kind: str = "correct") -> pd.DataFrame:
    """`set_regions` of the runs' confidence sets.

    Parameters
    ----------
    kind : str
        ``correct``: correct among the k most confident; ``wrong``: wrong among the k least confident;
        ``confident_wrong``: the most confident of the wrong.

    Returns
    -------
    DataFrame
        As from `set_regions`; a set is named by its method, and by method and seed where a method has several.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    require_comparable(preds.runs)
    names = preds.runs["method"] if preds.runs["method"].is_unique else pd.Series(preds.names)
    if not names.is_unique:
        twice = names[names.duplicated()].iloc[0]
        raise InputError(f"two runs are both {twice!r}; select one of them, or give the runs different seeds")
    return set_regions(dict(zip(names, _sets(preds, top)[kind], strict=True)))


def _sets(preds: Predictions, top: float) -> dict[str, NDArray[np.bool_]]:
    return dict(zip(KINDS, (*confidence_sets(preds, top), confidently_wrong(preds, top)), strict=True))


def _marked(places: NDArray[np.intp], N: int) -> NDArray[np.bool_]:
    """(R, k) positions as (R, N) booleans."""
    marked = np.zeros((len(places), N), dtype=bool)
    np.put_along_axis(marked, places, True, axis=1)
    return marked


def _count(top: float, N: int) -> int:
    if isinstance(top, int | np.integer) and not isinstance(top, bool) and 1 <= top <= N:
        return int(top)
    if isinstance(top, float | np.floating) and 0 < top < 1:
        return max(1, round(float(top) * N))
    raise InputError(f"top must be a fraction between 0 and 1 or a whole number from 1 to {N} (examples); got {top!r}")
