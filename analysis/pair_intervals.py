"""Intervals of what pairs of models have in common: these models on other examples.

A bootstrap over the examples, which all models share. On each resample what every pair has in common is measured anew,
and with it the mean over the pairs of runs of two methods, and how far that is from one method under two seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.examples import interval, resamples
from analysis.intervals import require_level
from analysis.predictions import Predictions
from petl_study.errors import InputError

ALL_TASKS = "all tasks"
OVER_EXAMPLES = "bootstrap over examples"

_CHUNK_NUMBERS = 2**20  # of one measure at a time: there are six, and what they are made of

Numbers = NDArray[np.float64]


class Shared(Protocol):
    """What R runs on the same N examples have in common, pair by pair."""

    runs: pd.DataFrame
    examples: int
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]]

    def measures(self, counts: NDArray[np.float32]) -> dict[str, Numbers]:
        """Every measure of each of the P pairs where example n occurs ``counts[b, n]`` times: (B, N) -> (B, P)."""
        ...


def observed(shared: Shared) -> dict[str, Numbers]:
    """The measures on the examples as they are: (P,) each."""
    return {name: values[0] for name, values in shared.measures(np.ones((1, shared.examples), np.float32)).items()}


def resampled(*shared: Shared, rng: np.random.Generator, draws: int) -> Iterator[dict[str, Numbers]]:
    """The measures of the same pairs on `draws` resamples, a few of them at a time: (B, P) each."""
    size = max(1, _CHUNK_NUMBERS // len(shared[0].pairs[0]))
    for counts in resamples(shared[0].examples, draws, rng):
        for start in range(0, len(counts), size):
            some = counts[start : start + size]
            yield {name: values for one in shared for name, values in one.measures(some).items()}


def with_intervals(
    table: pd.DataFrame, shared: Shared, *, rng: np.random.Generator | None, level: float, draws: int
) -> pd.DataFrame:
    """`table`, a row a pair, with `level`, `interval` and the ends of each measure, such as `kappa_low`, `kappa_high`.

    Without `rng` it stays as it is. A measure that some resample leaves undefined has NaN ends.
    """
    require_level(level)
    if rng is None:
        return table
    drawn = list(resampled(shared, rng=rng, draws=draws))
    columns = {}
    for name in drawn[0]:
        columns[f"{name}_low"], columns[f"{name}_high"] = interval(
            np.concatenate([some[name] for some in drawn]), level
        )
    return table.assign(**columns, level=level, interval=OVER_EXAMPLES)


def require_no_chance(rng: np.random.Generator | None) -> None:
    """Refuse intervals of a table of pairs.

    Raises
    ------
    InputError
        There is an `rng`.
    """
    if rng is not None:
        raise InputError(
            "a table of pairs has no examples to draw anew, so its means have no intervals. Leave rng out, or give the"
            " predictions instead of the table."
        )


def of_methods(
    of: Predictions | Mapping[str, Predictions],
    shared: Callable[[Predictions], Shared],
    *,
    rng: np.random.Generator | None,
    level: float,
    draws: int,
) -> pd.DataFrame:
    """`method_table` of one task's predictions, without the column `task`, or of several tasks'."""
    if isinstance(of, Predictions):
        return method_table({"": shared(of)}, rng=rng, level=level, draws=draws).drop(columns="task")
    if not of:
        raise InputError("no task was given; give the predictions of one, or a mapping from names of tasks to them")
    tasks = {name: shared(preds) for name, preds in of.items()}
    return method_table(tasks, rng=rng, level=level, draws=draws)


def method_table(
    tasks: Mapping[str, Shared], *, rng: np.random.Generator | None, level: float, draws: int
) -> pd.DataFrame:
    """The mean of every measure over the pairs of runs of every two methods, task by task.

    Returns
    -------
    DataFrame
        `task`, `method_a`, `method_b` (both orders), the measures, `pairs` (how many); and, with `rng`, of a measure
        such as `kappa`:

        - `kappa_low`, `kappa_high`: of the mean;
        - `kappa_beyond`: the mean over pairs of the two methods under two seeds, minus the mean of either method with
          itself under two seeds; missing where one of them has one seed. `kappa_beyond_low`, `kappa_beyond_high`;

        and `level`, `interval`. With several tasks the rows of ``all tasks`` are the means over them, of the methods
        that are on each.
    """
    require_level(level)
    means = {name: _Means(shared) for name, shared in tasks.items()}
    everywhere = sorted(set.intersection(*(set(of_task.methods) for of_task in means.values())))
    pieces, pairs, mean = [], np.zeros(len(everywhere), np.int64), dict[str, Numbers]()
    for name, of_task in means.items():
        found = of_task.found(tasks[name], rng, draws)
        pieces.append(_rows(name, of_task.methods, of_task.pairs, found, level))
        places = [of_task.methods.index(methods) for methods in everywhere]
        pairs += of_task.pairs[places]
        mean = {column: mean.get(column, 0.0) + values[:, places] / len(means) for column, values in found.items()}
    if len(means) > 1:
        pieces.append(_rows(ALL_TASKS, everywhere, pairs, mean, level))
    return pd.concat(pieces, ignore_index=True)


class _Means:
    """Means over the pairs of runs of every two methods, of which there are G: (B, P) -> (B, G)."""

    def __init__(self, shared: Shared):
        first, second = shared.pairs
        method = shared.runs["method"].to_numpy(dtype=str)
        seed = shared.runs["seed"].to_numpy(dtype=np.float64, na_value=np.nan)
        named = np.sort(np.stack([method[first], method[second]]), axis=0)  # (2, P)
        unique, group = np.unique(named, axis=1, return_inverse=True)
        self.methods = [(str(a), str(b)) for a, b in unique.T]
        self.pairs = np.bincount(group)  # (G,)
        self.order = group.argsort(kind="stable")
        self.starts = np.cumsum(self.pairs) - self.pairs
        self.two_seeds = np.abs(seed[first] - seed[second]) > 0  # (P,), false where a seed is not known
        self.one_method = unique[0] == unique[1]  # (G,)
        itself = {a: g for g, (a, b) in enumerate(self.methods) if a == b}
        nowhere = len(self.methods)  # of a method with one run
        self.itself = np.array([[itself.get(name, nowhere) for name in two] for two in self.methods]).T  # (2, G)

    def found(self, shared: Shared, rng: np.random.Generator | None, draws: int) -> dict[str, Numbers]:
        """The means of all measures: first those observed, then, with `rng`, a row a draw."""
        measured = [{name: values[None] for name, values in observed(shared).items()}]
        if rng is None:
            return {name: self._mean(values) for name, values in measured[0].items()}
        batches = [
            self._beside_seeds(some) for some in itertools.chain(measured, resampled(shared, rng=rng, draws=draws))
        ]
        return {name: np.concatenate([some[name] for some in batches]) for name in batches[0]}

    def _beside_seeds(self, measured: Mapping[str, Numbers]) -> dict[str, Numbers]:
        columns = {}
        for name, values in measured.items():
            columns[name] = self._mean(values)
            apart = self._mean(np.where(self.two_seeds, values, np.nan))
            unknown = np.full((len(apart), 1), np.nan)
            of_seeds = np.append(apart, unknown, axis=1)[:, self.itself].mean(axis=1)
            columns[f"{name}_beyond"] = np.where(self.one_method, np.nan, apart - of_seeds)
        return columns

    def _mean(self, values: Numbers) -> Numbers:
        """Of the pairs for which there is a value."""
        known = ~np.isnan(values[:, self.order])
        sums = np.add.reduceat(np.where(known, values[:, self.order], 0.0), self.starts, axis=1)
        counts = np.add.reduceat(known.astype(np.float64), self.starts, axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _rows(
    task: str, methods: Sequence[tuple[str, str]], pairs: NDArray[np.int64], found: Mapping[str, Numbers], level: float
) -> pd.DataFrame:
    """Both orders of every two methods."""
    columns: dict[str, object] = {
        "task": task,
        "method_a": [a for a, _ in methods],
        "method_b": [b for _, b in methods],
        **{name: values[0] for name, values in found.items() if not name.endswith("_beyond")},
        "pairs": pairs,
    }
    for name, values in found.items():
        if len(values) > 1:
            low, high = interval(values[1:], level)
            columns |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
            columns |= {"level": level, "interval": OVER_EXAMPLES}
    table = pd.DataFrame(columns)
    swapped = {"method_a": "method_b", "method_b": "method_a"}
    return pd.concat([table, table[table["method_a"] != table["method_b"]].rename(columns=swapped)])
