"""How accuracy falls as the images change while the task does not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparable import require_comparable
from analysis.intervals import require_level, summarise, t_interval


def shift_table(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of every method on the test set and on every shift set, with an interval.

    Parameters
    ----------
    accuracies : DataFrame
        From `load_accuracies`. The tasks without a shift set, and what was looked at on validation, are left out.

    Returns
    -------
    DataFrame
        `task`, `group`, `method`, `kind`, `severity` (``test``: 0), `seeds`, `examples`, `accuracy`, `low`, `high`,
        `level`, `interval` (see `analysis.intervals.summarise`), and `drop`: test accuracy minus this one.
    """
    rows = _shifted_tasks(accuracies)
    keys = ["task", "group", "method", "kind", "severity"]
    table = summarise(rows, keys, accuracy="accuracy", examples="examples", level=level)
    table["severity"] = table["severity"].astype("Int64")
    on_test = table[table["kind"] == "test"].set_index(["task", "method"])["accuracy"]
    drop = (
        on_test.reindex(pd.MultiIndex.from_frame(table[["task", "method"]])).to_numpy() - table["accuracy"].to_numpy()
    )
    return table.assign(drop=drop)


def mean_over_shifts(accuracies: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean accuracy over the kinds of shift, severity by severity.

    Only kinds that have every severity of their task are averaged, so that severities differ in nothing else.

    Returns
    -------
    DataFrame
        `task`, `method`, `severity` (0: the test set itself), `kinds` (how many), `seeds`, `accuracy`, `low`, `high`,
        `level`, `interval`: ``t over seeds``, or ``none`` where a method has one seed (the kinds show the same
        images, so their examples cannot be counted as independent).
    """
    require_level(level)
    rows = _shifted_tasks(accuracies).dropna(subset="severity")
    table = []
    for (task, method), of_method in rows.groupby(["task", "method"]):
        severities = set(of_method["severity"]) - {0}
        kinds = of_method[of_method["kind"] != "test"].groupby("kind")["severity"].agg(set)
        whole = of_method["kind"].isin(kinds.index[[found == severities for found in kinds]])
        for severity, some in of_method[whole | (of_method["kind"] == "test")].groupby("severity"):
            by_seed = some.groupby("seed")["accuracy"].mean().to_numpy()
            several = len(by_seed) >= 2
            low, high = np.clip(t_interval(by_seed, level), 0.0, 1.0) if several else (np.nan, np.nan)
            measured = {"kinds": some["kind"].nunique(), "seeds": len(by_seed), "accuracy": by_seed.mean()}
            interval = {"low": low, "high": high, "level": level, "interval": "t over seeds" if several else "none"}
            table.append({"task": task, "method": method, "severity": severity, **measured, **interval})
    columns = ["task", "method", "severity", "kinds", "seeds", "accuracy", "low", "high", "level", "interval"]
    return pd.DataFrame(table, columns=columns)


def _shifted_tasks(accuracies: pd.DataFrame) -> pd.DataFrame:
    require_comparable(accuracies)
    shifted = accuracies.loc[~accuracies["set"].isin(["test", "val"]), "task"].unique()
    return accuracies[accuracies["task"].isin(shifted) & (accuracies["set"] != "val")]
