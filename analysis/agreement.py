"""How often two models say different things, and how much of what they share chance explains.

Of N examples, let two models be right together on `n11`, wrong together on `n00`, and right alone on `n10` and `n01`;
let a be the accuracy of one and b that of the other.

    disagreement        share of examples on which they predict different classes
    kappa               Cohen's: 1 - disagreement / its expectation from how often each predicts each class
    error_consistency   kappa of being right (arXiv 2006.16736): (o - e) / (1 - e), o = (n11 + n00) / N,
                        e = a b + (1 - a) (1 - b)
    q_statistic         Yule's: (n11 n00 - n10 n01) / (n11 n00 + n10 n01)
    double_fault        n00 / N
    error_jaccard       n00 / (n00 + n10 + n01): the errors that are both models' among those that are either's

All but the first and `double_fault` compare with something that may be nothing, and are NaN there: `kappa` where both
always say the same one class, `error_consistency` where both are always right or both always wrong, `q_statistic` where
the two products are 0 (a model that is always right, say), `error_jaccard` where neither errs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparable import require_comparable
from analysis.numeric import Floats
from analysis.pair_intervals import observed, of_methods, require_no_chance, with_intervals
from analysis.pairs import pair_columns, pairs
from analysis.predictions import Predictions
from petl_study.errors import unknown

# Whether models that are less alike have more of it (1) or less of it (-1).
MEASURES = {
    "disagreement": 1,
    "kappa": -1,
    "error_consistency": -1,
    "q_statistic": -1,
    "double_fault": -1,
    "error_jaccard": -1,
}
_CHUNK_BYTES = 32 * 2**20


def disagreement(
    preds: Predictions, *, rng: np.random.Generator | None = None, level: float = 0.95, draws: int = 1000
) -> pd.DataFrame:
    """Every measure of agreement of every pair of runs.

    Two runs of one method under different seeds are a pair like any other: the baseline that says how much of the
    disagreement between methods is that of a method with itself.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        The only source of chance: `draws` resamples of the N examples, of which the intervals cover `level` (0 to 1).
        Without it there are no intervals, and the measures alone come at once.

    Returns
    -------
    DataFrame
        A row for each of the R (R - 1) / 2 pairs: `run_a` < `run_b` (rows of ``preds.runs``), their `method_a`,
        `method_b`, `seed_a`, `seed_b`; and the measures above, of which none depends on the order of the two. With
        `rng` also the ends of each one's interval, `disagreement_low`, `disagreement_high` and so on (NaN where the
        measure is not defined in every resample), `level` and `interval`: ``bootstrap over examples``, these two models
        on other examples; it says nothing of other seeds.
    """
    agreement = _compared(preds)
    return with_intervals(
        pair_columns(preds.runs).assign(**observed(agreement)), agreement, rng=rng, level=level, draws=draws
    )


def disagreement_by_method(
    of: pd.DataFrame | Predictions | Mapping[str, Predictions],
    *,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """Mean of every measure of every two methods over the pairs of their runs.

    Parameters
    ----------
    of : Predictions, mapping or DataFrame
        What the runs said on one task, or on several by name. Or a table from `disagreement`, of several tasks if it
        has a column `task`; a table has no examples to draw anew, so its means come without intervals.
    rng : numpy.random.Generator, optional
        As for `disagreement`.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b`, the measures, `pairs` (how many). Both orders of two methods are there. A
        method with itself is the mean over its seeds, and is missing where it has one. A pair for which a measure is
        not defined is left out of its mean. Of several tasks' predictions there are rows of ``all tasks``, too: the
        means over them, of the methods that have them all.

        With `rng`, of each measure, here `kappa`: `kappa_low`, `kappa_high`, the interval of the mean; `kappa_beyond`,
        the mean over pairs under two seeds minus that of either method with itself (see `methods_against_seeds`;
        missing where one of them has one seed), `kappa_beyond_low`, `kappa_beyond_high`; and `level`, `interval`. Pairs
        under one seed count in the mean and not in what is beyond seeds, so that need not be the difference of two
        cells.
    """
    if isinstance(of, pd.DataFrame):
        require_no_chance(rng)
        return by_method(of, [name for name in MEASURES if name in of])
    return of_methods(of, _compared, rng=rng, level=level, draws=draws)


def by_method(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Means of `columns` of a table of pairs of runs, and `pairs`, for both orders of every two methods."""
    swapped = {"method_a": "method_b", "method_b": "method_a"}
    mirrored = table[table["method_a"] != table["method_b"]].rename(columns=swapped)
    keys = [*(["task"] if "task" in table else []), "method_a", "method_b"]
    grouped = pd.concat([table, mirrored]).groupby(keys, as_index=False, sort=False)
    return grouped.agg(**{name: (name, "mean") for name in columns}, pairs=("method_a", "size"))


def require_measure(name: str) -> None:
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES)


def shared_counts(members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many examples every two of R sets share: (R, N) -> (R, R), sizes on the diagonal."""
    counts = members.astype(np.float64)  # a matrix product of integers would not use BLAS
    return np.rint(counts @ counts.T).astype(np.int64)


def sums(counts: NDArray[np.float32], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many examples each of P sets has where example n occurs ``counts[b, n]`` times: (B, N), (P, N) -> (B, P)."""
    found = np.empty((len(counts), len(members)))
    for some in _chunks(len(members), 4 * counts.shape[1]):  # a few sets at a time are made numbers
        found[:, some] = _product(counts, members[some])
    return found


class Agreement:
    """The measures of every pair of runs, on the examples as they are or as a bootstrap draws them.

    Everything that the measures need is a sum over examples: whether the two agree, whether both are right, which class
    each predicts. So B resamples at once are products of their (B, N) counts with what is known of the N examples.
    """

    def __init__(self, preds: Predictions):
        self.runs, self.examples = preds.runs, len(preds.labels)
        classes = preds.logits.shape[-1]
        self.said = preds.predicted.astype(np.min_scalar_type(classes))  # (R, N)
        self.right = preds.correct
        self.pairs = pairs(len(preds))

    def measures(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Every measure of every pair, (B, P) each, where example n occurs ``counts[b, n]`` times: (B, N)."""
        a, b = self.pairs
        total = counts.sum(axis=1, dtype=np.float64)[:, None]
        right = _product(counts, self.right)  # (B, R)
        both, same = self._over_pairs(counts)  # (B, P) each
        alone_a, alone_b = right[:, a] - both, right[:, b] - both
        neither = total - both - alone_a - alone_b
        differing = 1 - same / total
        accuracy = right / total
        by_chance = accuracy[:, a] * accuracy[:, b] + (1 - accuracy[:, a]) * (1 - accuracy[:, b])
        concordant, discordant = both * neither, alone_a * alone_b
        return {
            "disagreement": differing,
            "kappa": 1 - _ratio(differing, 1 - self._same_by_chance(counts) / total**2),
            "error_consistency": 1 - _ratio((alone_a + alone_b) / total, 1 - by_chance),
            "q_statistic": _ratio(concordant - discordant, concordant + discordant),
            "double_fault": neither / total,
            "error_jaccard": _ratio(neither, total - both),
        }

    def _over_pairs(self, counts: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """On how many examples both are right, and both say the same: (B, P) each. A few pairs at a time."""
        a, b = self.pairs
        both, same = np.empty((len(counts), len(a))), np.empty((len(counts), len(a)))
        for some in _chunks(len(a), 4 * counts.shape[1]):
            both[:, some] = _product(counts, self.right[a[some]] & self.right[b[some]])
            same[:, some] = _product(counts, self.said[a[some]] == self.said[b[some]])
        return both, same

    def _same_by_chance(self, counts: NDArray[np.float32]) -> NDArray[np.float64]:
        """Over the classes, the sum of how often one says it times how often the other does: (B, P)."""
        a, b = self.pairs
        classes = int(self.said.max()) + 1
        expected = np.empty((len(counts), len(a)))
        for draw, of_draw in enumerate(counts):
            often = np.stack([np.bincount(said, weights=of_draw, minlength=classes) for said in self.said])  # (R, C)
            expected[draw] = (often @ often.T)[a, b]
        return expected


def _compared(preds: Predictions) -> Agreement:
    require_comparable(preds.runs)
    return Agreement(preds)


def _product(counts: NDArray[np.float32], what: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(B, N), (P, N) -> (B, P). Whole numbers, which float32 holds exactly up to 16 million examples."""
    return (counts @ what.T.astype(np.float32)).astype(np.float64)


def _ratio(part: Floats, whole: Floats) -> NDArray[np.float64]:
    """`part` / `whole`, NaN where `whole` is 0 or differs from it by rounding."""
    nothing = np.abs(whole) < 1e-12
    return np.where(nothing, np.nan, part / np.where(nothing, 1.0, whole))


def _chunks(rows: int, row_bytes: int) -> Iterator[slice]:
    size = max(1, _CHUNK_BYTES // row_bytes)
    return (slice(start, start + size) for start in range(0, rows, size))


def square(table: pd.DataFrame, column: str, R: int) -> NDArray[Any]:
    """`column` of a table of all pairs of R runs as a symmetric matrix, NaN on its diagonal: (R, R)."""
    matrix = np.full((R, R), np.nan)
    matrix[table["run_a"], table["run_b"]] = matrix[table["run_b"], table["run_a"]] = table[column]
    return matrix
