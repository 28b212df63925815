"""Every ensemble of up to a few members: which of them validation would pick, and what it gets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.combine import COMBINE
from analysis.comparable import require_comparable
from analysis.examples import interval
from analysis.intervals import require_draws, require_level
from analysis.numeric import Floats, log_softmax, softmax, widen
from analysis.predictions import Members, Predictions
from petl_study.errors import InputError, unknown

Rows = Sequence[tuple[int, ...]]
MOST = 200_000  # subsets; every one of them is a pass over what its members say


def subsets(
    test: Predictions,
    val: Predictions,
    *,
    up_to: int = 3,
    at_least: int = 1,
    combine: str = "mean_logit",
    members: Members = None,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """Every subset of `at_least` to `up_to` runs, ranked by validation; what it gets on test stands beside.

    Parameters
    ----------
    test, val : Predictions
        Of the same runs, in the same order.
    up_to, at_least : int
        Sizes. A subset of one is a run by itself; ``at_least=up_to=2`` are the pairs, the first of them the best pair.
    combine : str
        A rule of `analysis.COMBINE`.
    rng : numpy.random.Generator, optional
        The only source of chance: `draws` resamples of the test examples, of which an interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a subset, the one that validation picks first: `rank` (1, 2, ...), `members` (a tuple of rows of
        ``test.runs``), `methods` (a tuple), `seeds` (a tuple), `size`, `val_accuracy`, `val_loss` (nats),
        `test_accuracy`, `gain` (of the latter over that of the subset's member that validation would pick: 0 for a
        single run). Ranked by `val_accuracy`, of equal ones by `val_loss`, of equal ones by size and order. The
        highest of many validation accuracies is optimistic; its `test_accuracy` is not. The highest `test_accuracy` of
        the table would be.

        With `rng` also `low`, `high` (of `test_accuracy`), `gain_low`, `gain_high`, `level` and `interval`: ``paired
        bootstrap over examples``, this very subset on other test examples; that validation might have picked another
        is not in it.
    """
    require_level(level)
    if combine not in COMBINE:
        raise unknown("combine", combine, COMBINE)
    rows = np.unique(test.positions(members))
    if not 1 <= at_least <= up_to <= len(rows):
        raise InputError(
            f"sizes must run from 1 to {len(rows)}, the number of runs; got at_least={at_least} and up_to={up_to}"
        )
    require_same_runs(test, val)
    require_comparable(test.runs.iloc[rows])
    many = sum(math.comb(len(rows), size) for size in range(at_least, up_to + 1))
    if many > MOST:
        raise InputError(
            f"{len(rows)} runs have {many:,} subsets of {at_least} to {up_to}, and at most {MOST:,} are tried. Give a"
            " smaller up_to, fewer members, or use greedy_selection."
        )
    sets = [subset for size in range(at_least, up_to + 1) for subset in itertools.combinations(map(int, rows), size)]
    on_val, loss = _judged(val, sets, combine)
    leads = _leads(val, sets)
    cells = _beside(test, sets, leads, combine)  # (K, 4)
    methods, seeds = test.runs["method"].tolist(), test.runs["seed"].tolist()
    accuracy, gain = _accuracy_and_gain(cells)
    columns = {
        "members": sets,
        "methods": [tuple(methods[row] for row in subset) for subset in sets],
        "seeds": [tuple(seeds[row] for row in subset) for subset in sets],
        "size": list(map(len, sets)),
        "val_accuracy": on_val,
        "val_loss": loss,
        "test_accuracy": accuracy,
        "gain": gain,
    }
    table = pd.DataFrame(columns if rng is None else columns | _intervals(cells, rng, level, draws))
    order = np.lexsort([np.arange(len(sets)), loss.round(12), -on_val])
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def correct_of(preds: Predictions, sets: Rows, combine: str = "mean_logit") -> NDArray[np.bool_]:
    """Which examples each of many ensembles gets right: (K, N)."""
    correct = np.empty((len(sets), len(preds.labels)), dtype=bool)
    for block in _blocks(preds, combine):
        parts = _parts(preds, block, combine)
        for k, subset in enumerate(sets):
            correct[k, block] = _together(parts, subset, combine).argmax(axis=1) == preds.labels[block]
    return correct


def require_same_runs(test: Predictions, val: Predictions) -> None:
    """Refuse two sets of predictions whose rows are not the same runs, of the same classes and made alike."""
    if test.names != val.names:
        raise InputError(
            f"test and val must be of the same runs in the same order; got {', '.join(test.names)} and"
            f" {', '.join(val.names)}"
        )
    if test.logits.shape[2] != val.logits.shape[2]:
        raise InputError(f"test has {test.logits.shape[2]} classes and val has {val.logits.shape[2]}; load one task's")
    shared = test.runs.columns.intersection(val.runs.columns)
    require_comparable(pd.concat([test.runs[shared], val.runs[shared]], ignore_index=True))


def _judged(preds: Predictions, sets: Rows, combine: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and cross-entropy of every subset: (K,), (K,). One pass over the logits."""
    correct, loss = np.zeros(len(sets), np.int64), np.zeros(len(sets))
    for block in _blocks(preds, combine):
        parts, labels = _parts(preds, block, combine), preds.labels[block]
        examples = np.arange(len(labels))
        for k, subset in enumerate(sets):
            scores = _together(parts, subset, combine)
            correct[k] += np.count_nonzero(scores.argmax(axis=1) == labels)
            loss[k] -= _log_probability(scores, combine)[examples, labels].sum(dtype=np.float64)
    return correct / len(preds.labels), loss / len(preds.labels)


def _leads(val: Predictions, sets: Rows) -> NDArray[np.intp]:
    """The member of every subset that is most accurate on validation, of equals the one of lower loss: (K,)."""
    loss = -val.log_likelihood.mean(axis=1)
    best_first = np.lexsort([np.arange(len(val)), loss.round(12), -val.accuracy])
    place = np.empty(len(val), np.intp)
    place[best_first] = np.arange(len(val))
    return np.array([min(subset, key=place.__getitem__) for subset in sets])


def _beside(test: Predictions, sets: Rows, leads: NDArray[np.intp], combine: str) -> NDArray[np.int64]:
    """On how many examples both every subset and its lead are right, it alone, the lead alone, neither: (K, 4)."""
    cells = np.zeros((len(sets), 4), np.int64)
    for block in _blocks(test, combine):
        parts, labels = _parts(test, block, combine), test.labels[block]
        for k, subset in enumerate(sets):
            right, of_lead = _together(parts, subset, combine).argmax(axis=1) == labels, test.correct[leads[k], block]
            cells[k] += np.bincount(2 * ~right + ~of_lead, minlength=4)
    return cells


def _accuracy_and_gain(cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(..., 4) -> (...) each."""
    both, alone, lead_alone, _ = np.moveaxis(cells, -1, 0)
    N = cells.sum(axis=-1)
    return (both + alone) / N, (alone - lead_alone) / N


def _intervals(
    cells: NDArray[np.int64], rng: np.random.Generator, level: float, draws: int
) -> dict[str, NDArray[np.float64] | float | str]:
    """Resampling the examples is a multinomial draw of how many fall into each of the four cells."""
    require_draws(draws)
    ends = np.empty((4, len(cells)))
    for k, of_subset in enumerate(cells):
        N = of_subset.sum()
        accuracy, gain = _accuracy_and_gain(rng.multinomial(N, of_subset / N, size=draws))
        ends[:, k] = *interval(accuracy, level), *interval(gain, level)
    names = ("low", "high", "gain_low", "gain_high")
    return {**dict(zip(names, ends, strict=True)), "level": level, "interval": "paired bootstrap over examples"}


# What a rule sums over its members is computed once a run and block, not once a subset.
_SUMMED = {"mean_logit": widen, "geometric": widen, "mean_prob": softmax}


def _blocks(preds: Predictions, combine: str) -> list[slice]:
    return list(preds.blocks(len(preds) if combine in _SUMMED else 4 * len(preds)))


def _parts(preds: Predictions, block: slice, combine: str) -> Floats:
    """(R, n, C): of the rules that are means what they are means of, of the others the logits."""
    logits = preds.logits[:, block]
    return _SUMMED[combine](logits) if combine in _SUMMED else logits


def _together(parts: Floats, subset: tuple[int, ...], combine: str) -> Floats:
    """The scores (n, C) of one subset; of the means, their sum over the size, exactly as `COMBINE` has it."""
    return parts[list(subset)].mean(axis=0) if combine in _SUMMED else COMBINE[combine](parts[list(subset)])


def _log_probability(scores: Floats, combine: str) -> Floats:
    if combine in ("mean_logit", "geometric"):
        return log_softmax(scores)
    total = scores.sum(axis=1, keepdims=True)  # of votes not 1
    return np.log(np.maximum(scores / total, np.finfo(scores.dtype).tiny))
