"""What tuning gains over a baseline such as linear probing, task by task; and how much the choice of method matters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.cells import cells_of, examples_of, require_several, seed_columns
from analysis.intervals import Interval, nan_interval, newcombe_interval, require_level, welch_interval
from analysis.resampling import redrawn
from petl_study.errors import unknown


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
        `low`, `high`, `level`, `fewest_seeds` and `most_seeds` (of the two), and `interval`, what it is of:

        - ``Welch over seeds``: training both again, where both have two seeds or more;
        - ``Newcombe over examples``: these models on other examples, as if the two were shown different ones. They see
          the same and err on many of the same, so it is wider than a paired one, which needs the logits;
        - ``none``: one seed, and the number of examples is not known.
    """
    require_level(level)
    cells = cells_of(runs)
    if baseline not in cells.methods:
        raise unknown("baseline", baseline, cells.methods, where="methods of these runs")
    require_several(cells)
    base = cells.methods.index(baseline)
    examples = examples_of(runs, cells)
    table = []
    for t, task in enumerate(cells.tasks):
        n = examples[t]
        for m, method in enumerate(cells.methods):
            if m == base:
                continue
            one, other = (values[~np.isnan(values)] for values in (cells.accuracy[t, m], cells.accuracy[t, base]))
            if min(len(one), len(other)) >= 2:
                found = Interval(*welch_interval(one, other, level), "Welch over seeds")
            elif not np.isnan(n):
                ends = newcombe_interval(float(one.mean()), float(other.mean()), int(n), int(n), level)
                found = Interval(*ends, "Newcombe over examples")
            else:
                found = Interval()
            gain = cells.means[t, m] - cells.means[t, base]
            table.append({"task": task, "group": cells.groups[t], "method": method, "baseline": baseline,
                          "gain": gain, "low": found.low, "high": found.high, "level": level,
                          "interval": found.of, **seed_columns(cells.seeds[t, [m, base]])})  # fmt: skip
    gains = pd.DataFrame(table)
    return gains if "group" in runs else gains.drop(columns="group")


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
        deviation that equally good methods would show, from seeds where every method has two, or else from the number
        of examples (`noise_from`; NaN where neither is known); `fewest_seeds` and `most_seeds` (of a method on the
        task). NaN where all accuracies are 0.
    """
    require_level(level)
    cells = cells_of(runs)
    require_several(cells)
    T, M = cells.means.shape
    mean, deviation = cells.means.mean(axis=1), cells.means.std(axis=1, ddof=1)
    drawn = cells.means[:, redrawn(M, rng=rng, draws=draws)]  # (T, draws, M)
    with np.errstate(invalid="ignore"):
        relative = drawn.std(axis=2, ddof=1) / drawn.mean(axis=2)
        low, high = np.array([nan_interval(of_task, level) for of_task in relative]).T
        several = cells.seeds.min(axis=1) >= 2
        examples = examples_of(runs, cells)
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
            **seed_columns(cells.seeds.T),
        }
    table = pd.DataFrame(columns)
    return table if "group" in runs else table.drop(columns="group")
