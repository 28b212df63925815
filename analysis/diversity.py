"""Does disagreement pay? What ensembles of methods gain, beside what ensembles of seeds of one method gain."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement import disagreement, sums
from analysis.combine import COMBINE
from analysis.comparable import require_comparable
from analysis.examples import interval, mean_interval, resamples
from analysis.intervals import require_level
from analysis.numeric import require_whole
from analysis.predictions import Members, Predictions
from analysis.subset_search import correct_of
from petl_study.errors import InputError, unknown

Subset = tuple[int, ...]


def diversity_gain(
    preds: Predictions,
    *,
    combine: str = "mean_logit",
    members: Members = None,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """Every ensemble of two runs: how much they disagree, and what combining them gains.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        The only source of chance: `draws` resamples of the N examples, of which the intervals cover `level` (0 to 1).

    Returns
    -------
    DataFrame
        The columns of `analysis.disagreement`, and `same_method`; `better`, `mean` (accuracies of the two), `ensemble`,
        `gain_over_better`, `gain_over_mean` (fractions), `oracle` (the share of examples that at least one gets right).
        With `rng` also `disagreement_low`, `disagreement_high` and likewise of both gains, `level` and `interval`:
        ``paired bootstrap over examples``. Which of the two is the better is not drawn anew.
    """
    require_level(level)
    if combine not in COMBINE:
        raise unknown("combine", combine, COMBINE)
    chosen = preds if members is None else preds.select(members)
    table = disagreement(chosen)
    a, b = table["run_a"].to_numpy(), table["run_b"].to_numpy()
    together = correct_of(chosen, list(zip(a.tolist(), b.tolist(), strict=True)), combine)  # (P, N)
    accuracy = chosen.accuracy
    better, mean = np.maximum(accuracy[a], accuracy[b]), (accuracy[a] + accuracy[b]) / 2
    table = table.assign(
        same_method=(table["method_a"] == table["method_b"]).to_numpy(),
        better=better,
        mean=mean,
        ensemble=together.mean(axis=1),
        gain_over_better=together.mean(axis=1) - better,
        gain_over_mean=together.mean(axis=1) - mean,
        oracle=1 - table["double_fault"],
    )
    if rng is None:
        return table
    leads = np.where(accuracy[a] >= accuracy[b], a, b)
    drawn = _resampled(chosen, (a, b, leads), together, rng, draws)
    ends = {name: interval(values, level) for name, values in drawn.items()}
    columns = {f"{name}_{end}": ends[name][place] for name in ends for place, end in enumerate(("low", "high"))}
    return table.assign(**columns, level=level, interval="paired bootstrap over examples")


def _resampled(
    preds: Predictions,
    runs: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]],
    together: NDArray[np.bool_],
    rng: np.random.Generator,
    draws: int,
) -> dict[str, NDArray[np.float64]]:
    """What two runs disagree on and what their ensemble gains, in every resample: (draws, P) each.

    `runs`: one of each pair, the other, and the better of the two; `together`: what their ensemble gets right, (P, N).
    """
    a, b, better = runs
    N = len(preds.labels)
    differ = preds.predicted[a] != preds.predicted[b]  # (P, N)
    batches = []
    for counts in resamples(N, draws, rng):
        of_run, of_both, apart = (sums(counts, what) / N for what in (preds.correct, together, differ))
        over_mean = of_both - (of_run[:, a] + of_run[:, b]) / 2
        batches.append((apart, of_both - of_run[:, better], over_mean))
    names = ("disagreement", "gain_over_better", "gain_over_mean")
    return {name: np.concatenate(some) for name, some in zip(names, zip(*batches, strict=True), strict=True)}


def ensemble_sizes(
    preds: Predictions,
    *,
    combine: str = "mean_logit",
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
    most: int = 200,
) -> pd.DataFrame:
    """Ensembles of k methods beside ensembles of k seeds of one method, for every k that seeds allow.

    An ensemble of methods takes one run of each of k methods, whatever its seed; one of seeds takes k runs of one
    method. Both are judged by what they gain over the mean of their own members, so that strong methods do not count as
    diversity. Members of unequal strength gain over their mean by that alone, as the better ones lead; the accuracies
    stand beside.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance: the bootstrap over examples, and which ensembles are looked at where there are more
        than `most` of a kind and size.

    Returns
    -------
    DataFrame
        A row a size: `size`, `method_ensembles`, `seed_ensembles` (how many were averaged), `methods_accuracy`,
        `methods_gain`, `seeds_accuracy`, `seeds_gain` (means over them), `difference` (of the gains, methods minus
        seeds), `low`, `high` (paired bootstrap over examples: these ensembles on other examples), `level`.

    Raises
    ------
    InputError
        No method has two seeds, or there is one method: nothing to compare with.
    """
    require_level(level)
    if combine not in COMBINE:
        raise unknown("combine", combine, COMBINE)
    require_whole("most", most, such_as=200)
    require_comparable(preds.runs)
    runs = [group.index.tolist() for _, group in preds.runs.groupby("method")]  # rows of each method
    largest = min(len(runs), max(map(len, runs)))
    if largest < 2:
        raise InputError(
            "ensembles of methods are compared with ensembles of seeds, which takes two methods and a method with two"
            f" runs; got {len(runs)} method(s) with at most {max(map(len, runs))} run(s) each. Run more seeds."
        )
    table = []
    for size in range(2, largest + 1):
        of_methods = _of_methods(runs, size, most, rng)
        of_seeds = _of_seeds(runs, size, most, rng)
        methods_accuracy, methods_gain = _gains(preds, of_methods, combine)
        seeds_accuracy, seeds_gain = _gains(preds, of_seeds, combine)
        difference = methods_gain - seeds_gain  # (N,)
        low, high = mean_interval(difference, rng, level, draws)
        table.append(
            {
                "size": size,
                "method_ensembles": len(of_methods),
                "seed_ensembles": len(of_seeds),
                "methods_accuracy": methods_accuracy,
                "methods_gain": methods_gain.mean(),
                "seeds_accuracy": seeds_accuracy,
                "seeds_gain": seeds_gain.mean(),
                "difference": difference.mean(),
                "low": low,
                "high": high,
                "level": level,
            }
        )
    return pd.DataFrame(table)


def _gains(preds: Predictions, sets: list[Subset], combine: str) -> tuple[float, NDArray[np.float64]]:
    """Mean accuracy of the ensembles, and example by example their mean gain over the mean of their members: (N,)."""
    right = correct_of(preds, sets, combine).mean(axis=0)  # (N,)
    of_members = np.mean([preds.correct[list(subset)].mean(axis=0) for subset in sets], axis=0)  # (N,)
    return float(right.mean()), right - of_members


def _of_methods(runs: list[list[int]], size: int, most: int, rng: np.random.Generator) -> list[Subset]:
    """Ensembles of one run each of `size` methods: all of them, or `most` drawn ones."""
    counts = [len(of_method) for of_method in runs]
    if _elementary(counts, size) <= most:
        return [tuple(subset) for chosen in itertools.combinations(runs, size) for subset in itertools.product(*chosen)]
    drawn: dict[Subset, None] = {}
    while len(drawn) < most:
        methods = np.sort(rng.choice(len(runs), size, replace=False))
        drawn[tuple(int(rng.choice(runs[m])) for m in methods)] = None
    return list(drawn)


def _of_seeds(runs: list[list[int]], size: int, most: int, rng: np.random.Generator) -> list[Subset]:
    """Ensembles of `size` runs of one method; where there are more than `most`, equally many of every method."""
    enough = [of_method for of_method in runs if len(of_method) >= size]
    every = [list(itertools.combinations(of_method, size)) for of_method in enough]
    if sum(map(len, every)) <= most:
        return [subset for of_method in every for subset in of_method]
    share = max(1, most // len(every))
    return [
        of_method[int(k)]
        for of_method in every
        for k in rng.choice(len(of_method), min(share, len(of_method)), replace=False)
    ]


def _elementary(counts: list[int], size: int) -> int:
    """How many ways there are to take one run each of `size` methods."""
    ways = [1] + [0] * size  # ways[k]: with k of the methods seen so far
    for count in counts:
        for k in range(size, 0, -1):
            ways[k] += count * ways[k - 1]
    return ways[size]
