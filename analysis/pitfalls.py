"""Where a search cannot be taken at its word: ties at the top, points that collapsed, epochs chosen afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.comparable import require_columns, require_comparable
from analysis.intervals import require_level, wilson_interval
from petl_study.errors import InputError


def top_ties(trials: pd.DataFrame, *, examples: int | None = None) -> pd.DataFrame:
    """How many points of each search share the highest validation accuracy, and how much could hinge on which is taken.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`.
    examples : int, optional
        How many validation examples there are, where the trials' `val_examples` does not say.

    Returns
    -------
    DataFrame
        `task`, (`group`,) `method`, `trials` (finished), `best` (val accuracy), `tied` (how many have it),
        `tied_on_loss` (how many of those share the lowest val loss, too: where it says 1, the loss decides),
        `examples`, `error` (the standard error of `best` on that many), `within_one` (trials at most one example below
        the best), `within_error` (at most one standard error below) and `hinge`: how far the best and the worst of the
        tied are likely to be apart on test, if their validation accuracies erred independently. They are measured on
        the same images and err together, so this is an upper estimate; the test accuracies of the points not taken are
        not known. NaN where the number of examples is not.
    """
    require_columns(trials, ["task", "method", "val_accuracy"])
    require_comparable(trials)
    keys = ["task", *(["group"] if "group" in trials else []), "method"]
    table = []
    for cell, some in trials[trials["val_accuracy"].notna()].groupby(keys, sort=True, dropna=False):
        val = some["val_accuracy"].round(12)
        best, n = val.max(), _examples(some, examples)
        top = some[val == best]
        loss = top["val_loss"].round(12) if "val_loss" in top else pd.Series(np.nan, top.index)
        error = np.sqrt(best * (1 - best) / n)
        known = np.isfinite(n)
        table.append(
            {
                **dict(zip(keys, cell, strict=True)),
                "trials": len(some),
                "best": best,
                "tied": len(top),
                "tied_on_loss": int((loss == loss.min()).sum()) if loss.notna().all() else pd.NA,
                "examples": int(n) if known else pd.NA,
                "error": error,
                "within_one": int((val >= best - 1 / n - 1e-9).sum()) if known else pd.NA,
                "within_error": int((val >= best - error - 1e-9).sum()) if known else pd.NA,
                "hinge": _mean_range(len(top)) * error,
            }
        )
    counts = dict.fromkeys(("tied_on_loss", "examples", "within_one", "within_error"), "Int64")
    return pd.DataFrame(table).astype(counts) if table else pd.DataFrame(table)


def is_collapsed(
    trials: pd.DataFrame, *, chance: Mapping[str, float] | float | None = None, floor: float = 0.2
) -> pd.Series:
    """Which trials learned next to nothing: less than `floor` of the way from chance to the best of their own search.

    Against the best of the same method, so that a method which never learns a task, as linear probing some, is bad at
    it and not collapsed.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`, whole searches.
    chance : mapping or float, optional
        The accuracy of guessing, by task or of all; one over the number of `classes` by default. Where a class is much
        more frequent than others, give its share, which is what a constant answer scores.

    Returns
    -------
    Series of bool
        In the order of `trials`. A failed trial collapsed, too.
    """
    require_columns(trials, ["task", "method", "val_accuracy"])
    require_comparable(trials)
    if not 0 < floor < 1:
        raise InputError(f"floor must be between 0 and 1, such as 0.2; got {floor!r}")
    if chance is None and "classes" not in trials:
        raise InputError("the trials have no column 'classes'; give chance: the accuracy of guessing, by task")
    if isinstance(chance, Mapping) and (lacking := sorted(set(trials["task"]) - set(chance))):
        raise InputError(f"chance has no accuracy for {', '.join(lacking)}; give one for every task")
    if chance is None:
        guessing = 1 / trials["classes"]
    elif isinstance(chance, Mapping):
        guessing = trials["task"].map(chance)
    else:
        guessing = pd.Series(float(chance), trials.index)
    val = trials["val_accuracy"].astype(float)
    best = val.groupby([trials["task"], trials["method"]]).transform("max")
    return val.isna() | (val < guessing + floor * (best - guessing))


def collapsed(
    trials: pd.DataFrame,
    by: str = "lr",
    *,
    chance: Mapping[str, float] | float | None = None,
    floor: float = 0.2,
    level: float = 0.95,
) -> pd.DataFrame:
    """How many trials of every method collapsed, by learning rate or another column.

    Parameters
    ----------
    trials, chance, floor
        As for `is_collapsed`.
    by : str
        A column of `trials`, such as ``lr`` or ``task``.

    Returns
    -------
    DataFrame
        `method`, the column `by`, `trials`, `collapsed`, `failed` (of the collapsed, those that did not finish),
        `share`, `low`, `high` (Wilson's interval over trials, as if independent), `level`.
    """
    require_level(level)
    require_columns(trials, [by])
    flagged = trials.assign(
        collapsed=is_collapsed(trials, chance=chance, floor=floor), failed=trials["val_accuracy"].isna()
    )
    table = flagged.groupby(["method", by], as_index=False).agg(
        trials=("collapsed", "size"), collapsed=("collapsed", "sum"), failed=("failed", "sum")
    )
    table["share"] = table["collapsed"] / table["trials"]
    ends = [wilson_interval(p, n, level) for p, n in zip(table["share"], table["trials"], strict=True)]
    low, high = np.array(ends, dtype=float).reshape(-1, 2).T
    return table.assign(low=low, high=high, level=level)


def optimism(
    results: pd.DataFrame,
    best: str,
    last: str,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
) -> pd.DataFrame:
    """How much reporting the best epoch would have flattered every method: accuracy of its best epoch minus its last.

    Parameters
    ----------
    results : DataFrame
        Published runs: `best` ``best_epoch_accuracy``, `last` ``test_accuracy``. Of own studies there is no test curve,
        as the test set is looked at once; their trials (``trials[trials.selected]``) tell it of validation: `best`
        ``best_val_accuracy``, `last` ``val_accuracy``. Several results of one task and method are averaged.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the tasks, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        A row a method, the most flattered first: `method`, `optimism` (mean over tasks; a fraction), `low`, `high`
        (NaN for one task), `level`, `interval`, `largest` and `largest_on` (of which task), `tasks`, `of` (the columns
        that were compared).
    """
    require_level(level)
    require_comparable(results)
    require_columns(results, ["task", "method", best, last])
    known = results[results[best].notna() & results[last].notna()]
    if known.empty:
        raise InputError(f"no result has both {best!r} and {last!r}, so there is no curve to compare")
    gained = (known[best].astype(float) - known[last].astype(float)).round(12)
    by_task = gained.groupby([known["method"], known["task"]]).mean()
    table = []
    for method, values in by_task.groupby(level="method"):
        n = len(values)
        drawn = values.to_numpy()[rng.integers(n, size=(draws, n))].mean(axis=1)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if n > 1 else (np.nan, np.nan)
        table.append(
            {
                "method": method,
                "optimism": values.mean(),
                "low": low,
                "high": high,
                "level": level,
                "interval": "bootstrap over tasks" if n > 1 else "none",
                "largest": values.max(),
                "largest_on": values.index.get_level_values("task")[int(values.argmax())],
                "tasks": n,
                "of": f"{best} - {last}",
            }
        )
    order = ["optimism", "method"]
    return pd.DataFrame(table).sort_values(order, ascending=[False, True], ignore_index=True)


def _examples(trials: pd.DataFrame, given: int | None) -> float:
    """How many validation examples there are; NaN where nobody says."""
    if given is not None:
        return float(given)
    known = trials["val_examples"].dropna() if "val_examples" in trials else pd.Series(dtype=float)
    return float(known.iloc[0]) if len(known) else np.nan


def _mean_range(n: int) -> float:
    """The expected distance between the highest and the lowest of n standard normal draws."""
    z = np.linspace(-9, 9, 3601)
    below: NDArray[np.float64] = stats.norm.cdf(z)
    return float(np.trapezoid(1 - below**n - (1 - below) ** n, z))
