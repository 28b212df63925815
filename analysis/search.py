"""What the search did: did validation choose well, and what did choosing buy?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.cells import cells_of, require_several, seed_columns
from analysis.comparable import (
    cell_columns,
    require_columns,
    require_comparable,
    require_distinct,
    require_known,
    require_some,
    require_trials,
)
from analysis.intervals import (
    Interval,
    nan_interval,
    newcombe_interval,
    require_level,
    summarise,
    wilson_ends,
)
from analysis.ranks import spearman
from analysis.resampling import redrawn
from petl_study.errors import InputError, unknown

Defaults = Mapping[str, Mapping[str, Any]]


def validation_against_test(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """What the chosen point scored on validation, beside what it scored on test.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs`. What validation said is of the search's best trial, trained on train alone and chosen for that
        number: it is optimistic.

    Returns
    -------
    DataFrame
        As `accuracy_table`, of test, with `val_accuracy` (where seeds differ in it, their mean), `val_low`, `val_high`
        (Wilson's over the `val_examples`; NaN where their number is not known), `val_examples` and `difference`: val
        minus test.
    """
    require_level(level)
    require_columns(runs, ["task", "method", "seed", "test_accuracy", "val_accuracy"])
    require_some(runs)
    require_known(runs, "test_accuracy")
    require_comparable(runs)
    require_distinct(runs)
    keys = cell_columns(runs)
    table = summarise(runs, keys, accuracy="test_accuracy", examples="test_examples", level=level)
    said = (
        runs.assign(val_examples=runs.get("val_examples", np.nan))
        .groupby(keys, dropna=False)
        .agg(val_accuracy=("val_accuracy", "mean"), val_examples=("val_examples", "first"))
    )
    table = table.merge(said.reset_index(), on=keys)
    low, high = wilson_ends(table["val_accuracy"], table["val_examples"].to_numpy(dtype=float, na_value=np.nan), level)
    return table.assign(val_low=low, val_high=high, difference=table["val_accuracy"] - table["accuracy"])


def validation_ranking(
    runs: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 2_000
) -> pd.DataFrame:
    """Whether validation orders the methods as test does, task by task, and what choosing a method by it costs.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`, with `val_accuracy`. Seeds are averaged.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the methods, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        A row a task: `task`, (`group`,) `methods`, `fewest_seeds` and `most_seeds` (of a method), `spearman` (rank
        correlation of val and test accuracy) with `low`, `high`, `level`, `interval`, `kendall` (tau-b), `chosen` (the
        method with the highest val accuracy; several, joined by ``or``, where they tie), `best` (likewise on test), and
        `regret`: the best test accuracy minus the chosen's (mean over those that tie). NaN correlations where all
        methods are equal on either.
    """
    require_level(level)
    on_test, on_val = cells_of(runs), cells_of(runs, "val_accuracy")
    require_several(on_test)
    methods = np.array(on_test.methods, dtype=object)
    table = []
    for t, task in enumerate(on_test.tasks):
        test, val = on_test.means[t], on_val.means[t]
        picks = redrawn(len(test), rng=rng, draws=draws)
        low, high = nan_interval(spearman(val[picks], test[picks]), level)
        chosen, best = val == val.max(), test == test.max()
        constant = np.ptp(val) == 0 or np.ptp(test) == 0
        table.append(
            {
                "task": task,
                "group": on_test.groups[t],
                "methods": len(test),
                **seed_columns(on_test.seeds[t]),
                "spearman": float(spearman(val, test)),
                "low": low,
                "high": high,
                "level": level,
                "interval": "bootstrap over methods",
                "kendall": np.nan if constant else float(stats.kendalltau(val, test).statistic),
                "chosen": " or ".join(methods[chosen]),
                "best": " or ".join(methods[best]),
                "regret": test.max() - test[chosen].mean(),
            }
        )
    found = pd.DataFrame(table)
    return found if "group" in runs else found.drop(columns="group")


def search_gain(trials: pd.DataFrame, defaults: Defaults | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """What the search bought: its best point against the method's default point, and against a random one.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`.
    defaults : mapping, optional
        By method, the hyperparameters that make its default (``{"lora": {"rank": 8, "lr": 1e-3}}``). What is not named
        may be anything: where several trials match, the default is their mean.

    Returns
    -------
    DataFrame
        A row a task and method: `task`, (`group`,) `method`, `trials` (finished), `failed`, `best` (val accuracy),
        `random` (mean over the points: what one drawn blindly would have scored), `gain_over_random`, `default`,
        `default_trials` (how many match), `gain_over_default`, `low`, `high` (Newcombe's interval of it over the
        `val_examples`, as if on different ones), `level`, `interval`. NaN where no default is given for the method, or
        it is not among the trials (`default_trials` 0).

        The best was chosen on these very validation images, so every gain is a little too large.
    """
    require_level(level)
    require_trials(trials, "hyperparameters", "lr", "weight_decay")
    if unused := set(defaults or {}) - set(trials["method"]):
        raise unknown("method", sorted(unused)[0], set(trials["method"]), where="defaults")
    keys = cell_columns(trials)
    table = []
    for cell, some in trials.groupby(keys, sort=True, dropna=False):
        values = dict(zip(keys, cell, strict=True))
        finished = some[some["val_accuracy"].notna()]
        val = finished["val_accuracy"]
        wanted = (defaults or {}).get(str(values["method"]))
        matching = finished[_matches(finished, wanted)] if wanted is not None else finished.iloc[:0]
        default, found = matching["val_accuracy"].mean(), Interval()
        examples = some["val_examples"].dropna() if "val_examples" in some else pd.Series(dtype=float)
        if len(matching) and len(examples):
            n = int(examples.iloc[0])
            found = Interval(*newcombe_interval(val.max(), default, n, n, level), "Newcombe over examples")
        measured = {"trials": len(finished), "failed": len(some) - len(finished), "best": val.max()}
        random = {"random": val.mean(), "gain_over_random": val.max() - val.mean()}
        gained = {"default": default, "default_trials": len(matching), "gain_over_default": val.max() - default}
        ends = {"low": found.low, "high": found.high, "level": level, "interval": found.of}
        table.append({**values, **measured, **random, **gained, **ends})
    return pd.DataFrame(table)


def _matches(trials: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.Series:
    """Which trials have all the values that are `wanted`; a name that no trial has is a mistake."""
    points = [
        {**hyperparameters, "lr": lr, "weight_decay": decay}
        for hyperparameters, lr, decay in trials[["hyperparameters", "lr", "weight_decay"]].itertuples(index=False)
    ]
    known = {name for point in points for name in point}
    if lacking := [name for name in wanted if points and name not in known]:
        raise InputError(
            f"the default of {trials['method'].iloc[0]!r} names {lacking[0]!r}, which its trials do not have;"
            f" theirs: {', '.join(sorted(known))}."
        )
    return pd.Series(
        [all(point.get(name) == value for name, value in wanted.items()) for point in points], trials.index, dtype=bool
    )
