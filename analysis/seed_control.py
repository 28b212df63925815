"""Do methods differ by more than seeds do? The control that a claim of diversity needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement import MEASURES, Agreement
from analysis.comparable import require_comparable
from analysis.confidence import Overlap
from analysis.examples import interval
from analysis.intervals import require_level
from analysis.numeric import require_whole
from analysis.pair_intervals import ALL_TASKS, Shared, observed, resampled
from analysis.predictions import Predictions
from petl_study.errors import InputError

_OF_OVERLAP = -1  # as of `MEASURES`: models that are less alike share less


def methods_against_seeds(
    preds: Predictions | Mapping[str, Predictions],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 1000,
    permutations: int = 10_000,
    top: float | None = None,
) -> pd.DataFrame:
    """Agreement between methods beside that of one method with itself, with a permutation test of the difference.

    `between` is the mean over pairs of runs of two methods under two seeds, and `within` that over pairs of one method
    under two seeds. Pairs with a seed in common are left out of both: what a shared initialisation and data order do to
    agreement is not the question.

    The test asks how often `difference` would be as far on the side of "methods are less alike than seeds" if methods
    were names only: the names are exchanged among the runs of each seed, in every way where there are at most
    `permutations` ways, and in `permutations` random ways otherwise (then p counts the observed one among them).

    Parameters
    ----------
    preds : Predictions or mapping
        One task's, or several tasks' by name. Every run has a seed, and at least one method has two.
    rng : numpy.random.Generator
        The only source of chance.
    level, draws : float, int
        Of the bootstrap over examples.
    permutations : int
        How many exchanges of names are looked at, at the most.
    top : float or int, optional
        With it, the Jaccard indices of the confidence sets of this size are tested, too (see `confidence_overlap`).

    Returns
    -------
    DataFrame
        A row a task and measure (see `analysis.agreement`; with `top` also `correct_jaccard`, `wrong_jaccard` and
        `confident_wrong_jaccard`), and with several tasks rows for ``all tasks``, the mean over them: `task`,
        `measure`, `methods`, `seeds`, `runs`, `within`, `between`, `difference` (between minus within), `low`, `high`
        (of the difference: these runs on other examples of these tasks; it says nothing of other seeds), `level`,
        `p_value` (one-sided), `permutations`, `exact` (whether they were all there are). A measure that is not defined
        for a pair of the runs, or in a resample, is NaN where it is needed: nothing is left out in silence.

    Raises
    ------
    InputError
        No method has two seeds, there is one method, a run has no seed, or two runs share method and seed.
    """
    require_level(level)
    require_whole("permutations", permutations, such_as=10_000)
    several = isinstance(preds, Mapping)
    of_tasks = dict(preds) if isinstance(preds, Mapping) else {"": preds}
    if not of_tasks:
        raise InputError("no task was given; give the predictions of one, or a mapping from names of tasks to them")
    tasks = [_Task(name, one, rng, draws, permutations, top) for name, one in of_tasks.items()]
    rows = [row for task in tasks for row in _rows([task], task.name, level, permutations, rng)]
    if len(tasks) > 1:
        rows += _rows(tasks, ALL_TASKS, level, permutations, rng)
    table = pd.DataFrame(rows)
    return table if several else table.drop(columns="task")


class _Task:
    """One task's differences: observed, resampled and permuted, by measure."""

    def __init__(
        self,
        name: str,
        preds: Predictions,
        rng: np.random.Generator,
        draws: int,
        permutations: int,
        top: float | None,
    ):
        require_comparable(preds.runs)
        self.name, self.runs = name, len(preds)
        design = _Design(preds.runs, f"task {name!r}: " if name else "")
        self.methods, self.seeds = len(design.methods), len(design.seeds)
        shared: list[Shared] = [Agreement(preds), *([] if top is None else [Overlap(preds, top)])]
        measured = {name: values for one in shared for name, values in observed(one).items()}
        redrawn = [
            {measure: design.difference(values) for measure, values in some.items()}
            for some in resampled(*shared, rng=rng, draws=draws)
        ]
        self.within, self.between, self.drawn = {}, {}, {}
        for measure, values in measured.items():
            within, between = design.means(values[None])  # (1,) each
            self.within[measure], self.between[measure] = float(within[0]), float(between[0])
            self.drawn[measure] = np.concatenate([some[measure] for some in redrawn])  # (draws,)
        labellings, self.exact = design.labellings(permutations, rng)
        self.unchanged = int((labellings == design.place).all(axis=(1, 2)).argmax())
        self.permuted = {m: design.permuted(values, labellings) for m, values in measured.items()}
        self.observed = {m: self.between[m] - self.within[m] for m in measured}


class _Design:
    """Which run is which method under which seed: which pairs count, and how the names can be exchanged."""

    def __init__(self, runs: pd.DataFrame, place: str):
        if runs["seed"].isna().any():
            nameless = runs["method"][runs["seed"].isna()].iloc[0]
            raise InputError(f"{place}a run of {nameless!r} has no seed; give it one")
        if runs.duplicated(["method", "seed"]).any():
            method, seed = runs[runs.duplicated(["method", "seed"])].iloc[0][["method", "seed"]]
            raise InputError(f"{place}two runs of {method!r} have seed {seed}; keep one of them")
        self.methods, self.seeds = sorted(set(runs["method"])), sorted(set(runs["seed"]))
        table = runs.assign(row=np.arange(len(runs))).pivot_table(index="method", columns="seed", values="row")
        self.place = table.loc[self.methods, self.seeds].fillna(-1).to_numpy(dtype=np.int64)  # (M, S) runs, -1: none
        if len(self.methods) < 2 or (self.place >= 0).sum(axis=1).max() < 2:
            raise InputError(
                f"{place}whether methods differ by more than seeds do needs two methods and a method with two seeds;"
                f" got {len(self.methods)} method(s) and seed(s) {', '.join(map(str, self.seeds))}. Run more seeds."
            )
        method, seed = (runs[name].to_numpy() for name in ("method", "seed"))
        first, second = np.triu_indices(len(runs), k=1)
        counted = seed[first] != seed[second]
        same = method[first] == method[second]
        self.within, self.between = counted & same, counted & ~same  # (P,) each
        self.first, self.second = first, second

    def means(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B, P) -> (B,) within methods, (B,) between."""
        return values[:, self.within].mean(axis=1), values[:, self.between].mean(axis=1)

    def difference(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Between minus within: (B, P) -> (B,)."""
        within, between = self.means(values)
        return between - within

    def labellings(self, most: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
        """Runs by name and seed under exchanged names (K, M, S), -1 where there is none; and whether they are all."""
        M, S = self.place.shape
        blocks = [np.flatnonzero(self.place[:, s] >= 0) for s in range(S)]
        # Only which runs share a name matters, not the name: where every seed has every method one seed can stay.
        free = range(1, S) if all(len(block) == M for block in blocks) else range(S)
        exact = math.prod(math.factorial(len(blocks[s])) for s in free) <= most
        if exact:
            ways = list(itertools.product(*(itertools.permutations(blocks[s]) for s in free)))
        else:
            ways = [tuple(tuple(rng.permutation(blocks[s])) for s in free) for _ in range(most - 1)]
            ways.append(tuple(tuple(blocks[s]) for s in free))  # the observed one
        labellings = np.tile(self.place, (len(ways), 1, 1))
        for column, s in enumerate(free):
            order = np.array([way[column] for way in ways])  # (K, methods of the block)
            labellings[:, blocks[s], s] = self.place[order, s]
        return labellings, exact

    def permuted(self, values: NDArray[np.float64], labellings: NDArray[np.int64]) -> NDArray[np.float64]:
        """The difference under every labelling: (P,), (K, M, S) -> (K,)."""
        R = self.place.max() + 1
        matrix = np.zeros((R + 1, R + 1))  # the last row and column stand for a run that is not there
        matrix[self.first, self.second] = matrix[self.second, self.first] = values
        within = np.zeros(len(labellings))
        for s, t in itertools.combinations(range(labellings.shape[2]), 2):
            within += matrix[labellings[:, :, s], labellings[:, :, t]].sum(axis=1)
        pairs_within, pairs_between = self.within.sum(), self.between.sum()
        all_pairs = values[self.within].sum() + values[self.between].sum()
        return (all_pairs - within) / pairs_between - within / pairs_within


def _rows(
    tasks: list[_Task], name: str, level: float, permutations: int, rng: np.random.Generator
) -> list[dict[str, object]]:
    """A row a measure: of one task, or the mean over several."""
    picks, exact = _picks(tasks, permutations, rng)
    rows: list[dict[str, object]] = []
    for measure in tasks[0].observed:
        sign = MEASURES.get(measure, _OF_OVERLAP)
        observed = np.mean([task.observed[measure] for task in tasks])
        permuted = np.mean([task.permuted[measure][pick] for task, pick in zip(tasks, picks, strict=True)], axis=0)
        low, high = interval(np.mean([task.drawn[measure] for task in tasks], axis=0), level)
        as_far = sign * permuted >= sign * observed - 1e-12  # the observed one is among them, up to rounding
        rows.append(
            {
                "task": name,
                "measure": measure,
                "methods": max(task.methods for task in tasks),
                "seeds": max(task.seeds for task in tasks),
                "runs": sum(task.runs for task in tasks),
                "within": float(np.mean([task.within[measure] for task in tasks])),
                "between": float(np.mean([task.between[measure] for task in tasks])),
                "difference": float(observed),
                "low": float(low),
                "high": float(high),
                "level": level,
                "p_value": float(as_far.mean()) if np.isfinite(observed) else np.nan,
                "permutations": len(permuted),
                "exact": exact,
            }
        )
    return rows


def _picks(tasks: list[_Task], most: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
    """Which labelling of every task goes into each labelling of all: (T, K); and whether these are all there are."""
    sizes = [len(task.permuted["disagreement"]) for task in tasks]
    if math.prod(sizes) <= most:
        every = np.indices(sizes).reshape(len(sizes), -1)
        return every, all(task.exact for task in tasks)
    if len(tasks) == 1:
        return np.arange(sizes[0])[None], tasks[0].exact
    random = np.stack([rng.integers(size, size=most) for size in sizes])
    random[:, -1] = [task.unchanged for task in tasks]
    return random, False
