"""What tuning gains over a baseline such as linear probing, task by task; and how much the choice of method matters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.cells import cells_of
from analysis.intervals import Interval, newcombe_interval, require_draws, require_level, welch_interval
from petl_study.errors import InputError, unknown


def gain_over_baseline(runs: pd.DataFrame, baseline: str = "linear", *, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of every method minus that of `baseline` on the same task: figure 1a of arXiv 2409.16434.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`; `test_examples` for the interval where there is one seed.

    Returns
    -------
    DataFrame
        A row a task and method, `baseline` left out: `task`, (`group`,) `method`, `baseline`, `gain` (a fraction),
        `low`, `high`, `level`, and `interval`, what it is of:

        - ``Welch over seeds``: training both again, where both have two seeds or more;
        - ``Newcombe over examples``: these models on other examples, as if the two were shown different ones. They see
          the same and err on many of the same, so it is wider than a paired one, which needs the logits;
        - ``none``: one seed, and the number of examples is not known.
    """
    require_level(level)
    cells = cells_of(runs)
    if baseline not in cells.methods:
        raise unknown("baseline", baseline, cells.methods, where="methods of these runs")
    base = cells.methods.index(baseline)
    examples = runs.groupby("task")["test_examples"].first().to_dict() if "test_examples" in runs else {}
    table = []
    for t, task in enumerate(cells.tasks):
        n = examples.get(task)
        for m, method in enumerate(cells.methods):
            if m == base:
                continue
            one, other = (values[~np.isnan(values)] for values in (cells.accuracy[t, m], cells.accuracy[t, base]))
            if min(len(one), len(other)) >= 2:
                found = Interval(*welch_interval(one, other, level), "Welch over seeds")
            elif n is not None and pd.notna(n):
                ends = newcombe_interval(float(one.mean()), float(other.mean()), int(n), int(n), level)
                found = Interval(*ends, "Newcombe over examples")
            else:
                found = Interval()
            gain = cells.means[t, m] - cells.means[t, base]
            table.append({"task": task, "group": cells.groups[t], "method": method, "baseline": baseline,
                          "gain": gain, "low": found.low, "high": found.high, "level": level,
                          "interval": found.of})  # fmt: skip
    columns = ["task", "group", "method", "baseline", "gain", "low", "high", "level", "interval"]
    return pd.DataFrame(table, columns=columns if "group" in runs else [name for name in columns if name != "group"])


def relative_spread(
    runs: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 2_000
) -> pd.DataFrame:
    """The relative standard deviation across methods on every task: does it matter there which method is taken?

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`; which methods count is the caller's choice (table 1 of arXiv 2409.16434 leaves out the
        baselines: ``runs[~runs.method.isin(["linear", "full"])]``).
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the methods, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        A row a task: `task`, (`group`,) `methods` (how many), `accuracy` (their mean), `deviation` (their standard
        deviation), `relative_deviation` (over the mean), `low`, `high`, `level`, `interval`; and `noise`: the relative
        deviation that equally good methods would show, from seeds or else from the number of examples (`noise_from`;
        NaN where neither is known). NaN where all accuracies are 0.
    """
    require_level(level)
    require_draws(draws)
    cells = cells_of(runs)
    T, M = cells.means.shape
    if M < 2:
        raise InputError(f"a spread across methods needs at least two; got {', '.join(cells.methods)}.")
    mean, deviation = cells.means.mean(axis=1), cells.means.std(axis=1, ddof=1)
    drawn = cells.means[:, rng.integers(M, size=(draws, M))]  # (T, draws, M)
    with np.errstate(invalid="ignore"):
        relative = drawn.std(axis=2, ddof=1) / drawn.mean(axis=2)
        low, high = np.quantile(relative, [(1 - level) / 2, (1 + level) / 2], axis=1)
        several = cells.seeds.min(axis=1) >= 2
        examples = np.full(T, np.nan)
        if "test_examples" in runs:
            examples = runs.groupby("task")["test_examples"].first()[cells.tasks].to_numpy(dtype=float)
        of_examples = cells.means * (1 - cells.means) / examples[:, None]
        of_seeds = np.full((T, M), np.nan)
        of_seeds[several] = np.nanvar(cells.accuracy[several], axis=2, ddof=1) / cells.seeds[several]
        variance = np.where(several[:, None], of_seeds, of_examples).mean(axis=1)
        columns = {
            "task": cells.tasks,
            "group": cells.groups,
            "methods": M,
            "accuracy": mean,
            "deviation": deviation,
            "relative_deviation": deviation / mean,
            "low": low,
            "high": high,
            "level": level,
            "interval": "bootstrap over methods",
            "noise": np.sqrt(variance) / mean,
            "noise_from": np.where(several, "seeds", np.where(np.isnan(examples), "none", "examples")),
        }
    table = pd.DataFrame(columns)
    return table if "group" in runs else table.drop(columns="group")
