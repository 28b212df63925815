"""How much each hyperparameter matters to a method: which values do well, and whose choice moves accuracy.

The share of a hyperparameter is that of its main effect in the variance of validation accuracy over the trials,

    share_h = sum_v n_v (mean_v - mean)^2 / sum_i (y_i - mean)^2        v: its values, n_v trials each

On a full grid this is its first-order functional-ANOVA (Sobol) index exactly: the shares sum to at most 1, and the rest
are interactions. No forest is fitted to guess what the trials already say. On other sets of trials hyperparameters vary
together, and shares may overlap (`balanced` says which it is).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparable import cell_columns, require_trials
from analysis.intervals import require_level
from analysis.resampling import mean_over_tasks


def hyperparameter_values(trials: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """How the trials with each value of each hyperparameter did.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`. What has one value in all trials of a task and method is left out.

    Returns
    -------
    DataFrame
        `task`, (`group`,) `method`, `hyperparameter` (``lr`` and ``weight_decay`` among them), `value`, `trials`
        (finished), `failed`, `best` and `mean` (val accuracy), `low`, `high` (Student's t of the mean, over trials:
        wide where the other hyperparameters matter; NaN for one), `level`, and `behind`: how much the best with this
        value is below the best of all: what fixing it here would have cost.
    """
    require_level(level)
    keys, long = _points(trials)
    grouped = long.groupby([*keys, "search", "place", "hyperparameter", "code"], dropna=False)
    table = grouped.agg(
        value=("value", "first"),
        all=("val", "size"),
        trials=("val", "count"),
        best=("val", "max"),
        mean=("val", "mean"),
        deviation=("val", "std"),
    ).reset_index()
    n = table["trials"].to_numpy()
    half = stats.t.ppf((1 + level) / 2, np.maximum(n - 1, 1)) * table["deviation"] / np.sqrt(np.maximum(n, 1))
    best_of_all = long.groupby("search")["val"].max()
    table = table.assign(
        failed=table["all"] - table["trials"],
        low=(table["mean"] - half).clip(lower=0.0),
        high=(table["mean"] + half).clip(upper=1.0),
        level=level,
        behind=table["search"].map(best_of_all) - table["best"],
    )
    columns = ["hyperparameter", "value", "trials", "failed", "best", "mean", "low", "high", "level", "behind"]
    return table.sort_values(["search", "place", "code"], ignore_index=True)[[*keys, *columns]]


def importance_by_task(trials: pd.DataFrame) -> pd.DataFrame:
    """The share of every hyperparameter in the variance of validation accuracy, search by search.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`. Failed trials have no accuracy and do not count.

    Returns
    -------
    DataFrame
        `task`, (`group`,) `method`, `hyperparameter`, `values` (how many), `trials`, `share`, `by_chance` (what a
        hyperparameter that changes nothing would get on average: (values - 1) / (trials - 1)), `balanced` (a full grid,
        every point once). On a balanced grid a row ``interactions`` holds the rest. NaN where all trials score alike.
    """
    require_trials(trials)
    keys, long = _points(trials[trials["val_accuracy"].notna()])
    of_values = long.groupby([*keys, "search", "place", "hyperparameter", "code"], dropna=False)["val"]
    between = of_values.agg(n="size", mean="mean").reset_index()
    searches = (
        long.drop_duplicates(["search", "trial"]).groupby("search")["val"].agg(trials="size", mean="mean", var="var")
    )
    between["square"] = between["n"] * (between["mean"] - between["search"].map(searches["mean"])) ** 2
    grouped = between.groupby([*keys, "search", "place", "hyperparameter"], dropna=False)
    table = grouped.agg(values=("code", "nunique"), square=("square", "sum")).reset_index()
    n = table["search"].map(searches["trials"])
    total = table["search"].map(searches["var"]) * (n - 1)
    table = table.assign(
        trials=n,
        share=(table["square"] / total).where(total > 1e-12),
        by_chance=(table["values"] - 1) / (n - 1),
        balanced=table["search"].map(_balanced(long, table)),
    )
    rest = _interactions(table, keys)
    columns = ["hyperparameter", "values", "trials", "share", "by_chance", "balanced"]
    return pd.concat([table, rest]).sort_values(["search", "place"], ignore_index=True)[[*keys, *columns]]


def importance(
    trials: pd.DataFrame, *, rng: np.random.Generator, level: float = 0.95, draws: int = 2_000
) -> pd.DataFrame:
    """The mean share of every hyperparameter of every method over tasks, with a bootstrap interval over tasks.

    Parameters
    ----------
    trials : DataFrame
        From `load_trials`.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the tasks, of which the interval covers `level`.

    Returns
    -------
    DataFrame
        `method`, `hyperparameter`, `tasks` (those in which it has two values or more and trials differ), `share`,
        `low`, `high` (NaN for one task), `level`, `interval`, `by_chance`, `balanced` (on all tasks). A method whose
        trials never differ, or are one a task, has no row.
    """
    require_level(level)
    table = []
    found = importance_by_task(trials).dropna(subset="share")
    for (method, name), some in found.groupby(["method", "hyperparameter"], sort=False):
        share = some["share"].to_numpy()
        ends = mean_over_tasks(share, rng=rng, level=level, draws=draws)
        table.append(
            {
                "method": method,
                "hyperparameter": name,
                "tasks": len(share),
                "share": share.mean(),
                "low": ends.low,
                "high": ends.high,
                "level": level,
                "interval": ends.of,
                "by_chance": some["by_chance"].mean(),
                "balanced": bool(some["balanced"].all()),
            }
        )
    interval = ["low", "high", "level", "interval"]
    columns = ["method", "hyperparameter", "tasks", "share", *interval, "by_chance", "balanced"]
    return pd.DataFrame(table, columns=columns)


def _points(trials: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """A row a trial and hyperparameter that takes more than one value in its search.

    Beside the names of the columns that say whose search it is: `search` and `trial` number them, `place` is the order
    of the hyperparameters and `code` that of their values.
    """
    require_trials(trials, "hyperparameters", "lr", "weight_decay")
    keys = cell_columns(trials)
    trials = trials.reset_index(drop=True)
    plain = trials[keys].assign(
        search=trials.groupby(keys, sort=True, dropna=False).ngroup(),
        trial=trials.index,
        val=trials["val_accuracy"].astype(float),
    )
    names = dict.fromkeys(name for point in trials["hyperparameters"] for name in point)
    given = {name: [point.get(name) for point in trials["hyperparameters"]] for name in names}
    every: dict[str, list[Any]] = {name: trials[name].to_list() for name in ("lr", "weight_decay")} | given
    parts = []
    for place, (name, values) in enumerate(every.items()):
        column = pd.Series([str(v) if isinstance(v, list | dict) else v for v in values], dtype=object)
        alike = len({type(v) for v in values if v is not None}) == 1
        codes = pd.factorize(column, sort=alike)[0]
        parts.append(plain.assign(place=place, hyperparameter=name, value=column, code=codes)[column.notna()])
    long = pd.concat(parts, ignore_index=True)
    varied = long.groupby(["search", "place"])["code"].transform("nunique") > 1
    return keys, long[varied]


def _balanced(long: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Whether the trials of each search are every point of a grid, once."""
    points = long.pivot_table(index=["search", "trial"], columns="place", values="code").reset_index("search")
    distinct = points.drop_duplicates().groupby("search").size()
    whole = table.groupby("search")["values"].prod()
    return (points.groupby("search").size() == whole) & (distinct == whole)


def _interactions(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """What the main effects leave, where the grid is full and has more than one hyperparameter."""
    full = table[table["balanced"] & (table.groupby("search")["place"].transform("size") > 1)]
    grouped = full.groupby([*keys, "search"], dropna=False)
    rest = grouped.agg(
        trials=("trials", "first"), main=("share", "sum"), by_chance=("by_chance", "sum"), known=("share", "count")
    ).reset_index()
    return rest.assign(
        place=len(table),
        hyperparameter="interactions",
        values=rest["trials"],
        share=(1 - rest["main"]).clip(lower=0.0).where(rest["known"] > 0),
        by_chance=1 - rest["by_chance"],
        balanced=True,
    )
