"""Where a search cannot be taken at its word: ties at the top, points that collapsed, epochs chosen afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.comparable import cell_columns, require_columns, require_comparable, require_some, require_trials
from analysis.intervals import Interval, require_draws, require_level, wilson_ends
from analysis.resampling import mean_over_tasks
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
        not known. NaN where the number of examples is not. A search in which every trial failed has no row.
    """
    require_trials(trials)
    if examples is not None and examples < 1:
        raise InputError(f"examples must be a whole number of at least 1, such as 200; got {examples!r}")
    keys = cell_columns(trials)
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
    require_trials(trials)
    if not 0 < floor < 1:
        raise InputError(f"floor must be between 0 and 1, such as 0.2; got {floor!r}")
    if chance is None and "classes" not in trials:
        raise InputError("the trials have no column 'classes'; give chance: the accuracy of guessing, by task")
    if isinstance(chance, Mapping) and (lacking := sorted(set(trials["task"]) - set(chance))):
        raise InputError(f"chance has no accuracy for {', '.join(lacking)}; give one for every task")
    given = chance.values() if isinstance(chance, Mapping) else [] if chance is None else [chance]
    if odd := [value for value in given if not 0 <= value < 1]:
        raise InputError(f"chance is an accuracy, from 0 to below 1, such as 0.1 for ten classes; got {odd[0]!r}")
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
        A column of `trials`, such as ``lr`` or ``task``, other than `method`.

    Returns
    -------
    DataFrame
        `method`, the column `by`, `trials`, `collapsed`, `failed` (of the collapsed, those that did not finish),
        `share`, `low`, `high` (Wilson's interval over trials, as if independent), `level`.
    """
    require_level(level)
    require_columns(trials, [by])
    if by in ("method", "hyperparameters"):
        raise InputError(f"by must be a column of plain values other than 'method', such as 'lr'; got {by!r}")
    flagged = trials.assign(
        collapsed=is_collapsed(trials, chance=chance, floor=floor), failed=trials["val_accuracy"].isna()
    )
    table = flagged.groupby(["method", by], as_index=False, dropna=False).agg(
        trials=("collapsed", "size"), collapsed=("collapsed", "sum"), failed=("failed", "sum")
    )
    table["share"] = table["collapsed"] / table["trials"]
    low, high = wilson_ends(table["share"], table["trials"], level)
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
        ``best_val_accuracy``, `last` ``val_accuracy``. Several results of one task and method are averaged; those that
        lack either are left out, and counted in `unknown`.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the tasks, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        A row a method, the most flattered first: `method`, `optimism` (mean over tasks; a fraction), `low`, `high`
        (NaN for one task), `level`, `interval`, `largest` and `largest_on` (of which task), `tasks`, `unknown` (of its
        results), `of` (the columns that were compared). A method of which nothing is known is last, with NaN.
    """
    require_level(level)
    require_draws(draws)
    require_columns(results, ["task", "method", best, last])
    require_some(results, "results")
    require_comparable(results)
    gained = (results[best].astype(float) - results[last].astype(float)).round(12)
    if gained.isna().all():
        raise InputError(f"no result has both {best!r} and {last!r}, so there is no curve to compare")
    unknown = gained.isna().groupby(results["method"]).sum()
    table = []
    for method, by_task in gained.groupby([results["method"], results["task"]]).mean().groupby(level="method"):
        values = by_task.droplevel("method").dropna()
        n = len(values)
        found = mean_over_tasks(values, rng=rng, level=level, draws=draws) if n else Interval()
        table.append(
            {
                "method": method,
                "optimism": values.mean(),
                "low": found.low,
                "high": found.high,
                "level": level,
                "interval": found.of,
                "largest": values.max(),
                "largest_on": values.idxmax() if n else None,
                "tasks": n,
                "unknown": int(unknown[method]),
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
