"""Whether models are right, and wrong, about the same examples when they are sure, and when they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.agreement import by_method, shared_counts
from analysis.comparable import require_comparable
from analysis.intervals import require_level
from analysis.pair_intervals import of_methods, require_no_chance, with_intervals
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions
from petl_study.errors import InputError, unknown

KINDS = ("correct", "wrong", "confident_wrong")  # the sets of `confidence_regions`, as `confidence_overlap` names them
JACCARDS = [f"{kind}_jaccard" for kind in KINDS]


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
    sets = np.zeros(preds.correct.shape, dtype=bool)
    for run, size in enumerate(_of_wrong(top, counts)):
        sets[run, order[run, :size]] = True
    return sets


def confidence_overlap(
    preds: Predictions,
    top: float = 0.1,
    *,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """How much two runs share of what each gets right surely, wrong unsurely and wrong surely.

    Sets as in `confidence_sets` and `confidently_wrong`.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        The only source of chance: `draws` resamples of the N examples, of which the intervals cover `level` (0 to 1).
        Who is among the k most confident is decided in each anew. Without it there are no intervals, and the indices
        alone come at once.

    Returns
    -------
    DataFrame
        A row a pair of runs: `run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`, `k`; `correct_a`,
        `correct_b`: how many of each run's k most confident are correct; `correct_shared`: how many of these are the
        same examples; `correct_jaccard`: shared / either; `wrong_a`, `wrong_b`, `wrong_shared`, `wrong_jaccard`
        likewise for the wrong ones of the k least confident; and `confident_wrong_a`, ... for the most confident of
        the wrong ones. The overlap of two empty sets is NaN. With `rng` also `correct_jaccard_low`,
        `correct_jaccard_high` and so on (NaN where a resample leaves both sets empty), `level` and `interval`:
        ``bootstrap over examples``.
    """
    require_comparable(preds.runs)
    table = pair_columns(preds.runs).assign(k=_count(top, len(preds.labels)))
    a, b = pairs(len(preds))
    for name, members in _sets(preds, top).items():
        shared = shared_counts(members)  # (R, R), sizes on the diagonal
        sizes = shared.diagonal()
        either = sizes[a] + sizes[b] - shared[a, b]
        table[f"{name}_a"], table[f"{name}_b"], table[f"{name}_shared"] = sizes[a], sizes[b], shared[a, b]
        table[f"{name}_jaccard"] = _jaccard(shared[a, b], either)
    if rng is None:
        require_level(level)
        return table
    return with_intervals(table, Overlap(preds, top), rng=rng, level=level, draws=draws)


def confidence_overlap_by_method(
    of: pd.DataFrame | Predictions | Mapping[str, Predictions],
    top: float | None = None,
    *,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """Mean Jaccard indices of every two methods over the pairs of their runs.

    Parameters
    ----------
    of : Predictions, mapping or DataFrame
        What the runs said on one task, or on several by name. Or a table from `confidence_overlap`, of several tasks if
        it has a column `task`; a table has no examples to draw anew, so its means come without intervals.
    top : float or int, optional
        Of predictions: as for `confidence_overlap`, and 0.1 if not given. A table has its own.
    rng : numpy.random.Generator, optional
        As for `confidence_overlap`.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b`, `correct_jaccard`, `wrong_jaccard`, `confident_wrong_jaccard`, `pairs`; both
        orders of two methods. A method with itself is the mean over its seeds, and is missing where it has one. Rows of
        ``all tasks`` and, with `rng`, intervals and what is beyond seeds: as in `disagreement_by_method`.
    """
    if isinstance(of, pd.DataFrame):
        require_no_chance(rng)
        if top is not None:
            raise InputError(
                f"a table of pairs has its own sets; leave top={top!r} out, or give the predictions instead"
            )
        return by_method(of, JACCARDS)
    return of_methods(of, lambda preds: _compared(preds, top or 0.1), rng=rng, level=level, draws=draws)


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

    Raises
    ------
    InputError
        No set, or sets of different examples.
    """
    names = list(sets)
    if not names:
        raise InputError("no sets were given; give at least one, such as {'lora': lora_is_right}")
    shapes = {name: np.shape(sets[name]) for name in names}
    if len(set(shapes.values())) > 1 or len(shapes[names[0]]) != 1:
        raise InputError(f"every set must say of the same N examples whether it has them, (N,) booleans; got {shapes}")
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


class Overlap:
    """The Jaccard indices of every pair of runs, on the examples as they are or as a bootstrap draws them.

    The copies of an example that is drawn several times are equally sure, and the earlier counts as surer. Two runs may
    have the end of their k inside the same copies; then they share those that both have.
    """

    def __init__(self, preds: Predictions, top: float):
        self.runs, self.examples, self.pairs = preds.runs, len(preds.labels), pairs(len(preds))
        self.top, self.k = top, _count(top, self.examples)
        self.right = preds.correct
        surest_first = preds.doubt.argsort(axis=1, kind="stable")  # (R, N)
        wrong = [row[~right[row]] for row, right in zip(surest_first, self.right, strict=True)]
        self.orders = (list(surest_first), list(surest_first[:, ::-1]), wrong)  # of each kind, where its k begin

    def measures(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Every index of every pair, (B, P) each, where example n occurs ``counts[b, n]`` times: (B, N)."""
        missed = np.rint(counts @ (~self.right).T.astype(np.float32)).astype(np.int64)  # (B, R)
        measured = {name: np.empty((len(counts), len(self.pairs[0]))) for name in JACCARDS}
        for draw, often in enumerate(counts):
            fixed = np.full(len(self.right), self.k)
            for place, k in enumerate((fixed, fixed, _of_wrong(self.top, missed[draw]))):
                measured[JACCARDS[place]][draw] = self._jaccards(place, k, often)
        return measured

    def _jaccards(self, kind: int, k: NDArray[np.int64], often: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shared over either, (P,), of one kind of sets, which begin with k copies of each run."""
        R, wanted = len(k), kind == 0  # of the first kind the right ones are in the set, of the others the wrong ones
        member = np.zeros(self.right.shape, dtype=bool)  # of which examples all copies are in
        cut, some = np.zeros(R, np.intp), np.zeros(R, np.float32)  # the one of which some copies are in; how many
        for run, order in enumerate(self.orders[kind]):
            if k[run]:
                whole, cut[run], copies = _front(order, often, int(k[run]))
                member[run, whole] = self.right[run, whole] == wanted
                some[run] = copies if self.right[run, cut[run]] == wanted else 0
        anywhere = np.flatnonzero(member.any(axis=0))
        inside = member[:, anywhere].astype(np.float32)
        weighted = inside * often[anywhere]
        shared = weighted @ inside.T  # (R, R)
        both_cut = np.where(cut[:, None] == cut, np.minimum(some[:, None], some), 0)
        of_cut = np.minimum(some[:, None], (member[:, cut] * often[cut]).T) + both_cut  # what others have of the cut
        shared += of_cut + of_cut.T - both_cut
        sizes = weighted.sum(axis=1) + some
        a, b = self.pairs
        return _jaccard(shared[a, b], sizes[a] + sizes[b] - shared[a, b])


def _front(order: NDArray[np.intp], often: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], int, float]:
    """Where the first k copies end: the examples before that one, that one, and how many copies of it are in."""
    reach = 2 * k + 100  # nearly always enough: an example has one copy on average
    while (ends := np.cumsum(often[order[:reach]]))[-1] < k:
        reach *= 2
    last = int(np.searchsorted(ends, k))
    return order[:last], int(order[last]), float(k - (ends[last - 1] if last else 0))


def _compared(preds: Predictions, top: float) -> Overlap:
    require_comparable(preds.runs)
    return Overlap(preds, top)


def _of_wrong(top: float, wrong: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of its wrong examples are a run's most confident ones: (R,) -> (R,)."""
    if isinstance(top, int | np.integer):
        return np.minimum(top, wrong)
    return np.minimum(np.maximum(1, np.rint(top * wrong).astype(np.int64)), wrong)


def _jaccard(shared: NDArray[Any], either: NDArray[Any]) -> NDArray[np.float64]:
    """NaN where both sets are empty."""
    return np.where(either > 0, shared / np.maximum(either, 1), np.nan)


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
