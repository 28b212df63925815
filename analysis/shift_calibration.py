"""Whether models know that they know less: calibration as the images change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.calibration import calibration
from analysis.intervals import require_level
from analysis.over_seeds import kind_of_interval, over_seeds
from analysis.predictions import Predictions
from analysis.rows import parse_set
from analysis.shift import whole_kinds
from petl_study.errors import InputError


def calibration_under_shift(
    sets: Mapping[str, Predictions],
    *,
    rng: np.random.Generator,
    temperatures: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """`analysis.calibration` of the same runs on several sets of examples.

    Parameters
    ----------
    sets : mapping
        What the runs said, by the name of the set: ``test`` and shift sets such as ``noise:2``.
    temperatures : (R,), optional
        One for each run, fitted on validation: a temperature fitted on shifted images is one that nobody would have.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    DataFrame
        `set`, `kind`, `severity` (``test``: 0) and the columns of `calibration`: a row for each set and run.

    Raises
    ------
    InputError
        No set, or sets of different runs.
    """
    if not sets:
        raise InputError("calibration needs at least one set of predictions, such as {'test': preds}; got none")
    first = next(iter(sets))
    pieces = []
    for name, preds in sets.items():
        if preds.names != sets[first].names:
            raise InputError(
                f"{first!r} is of the runs {'; '.join(sets[first].names)} but {name!r} of {'; '.join(preds.names)}."
                " Load both with the same `methods` and `seeds`."
            )
        kind, severity = parse_set(name)
        table = calibration(preds, rng=rng, temperatures=temperatures, level=level, draws=draws)
        for place, (column, value) in enumerate({"set": name, "kind": kind, "severity": severity}.items()):
            table.insert(place, column, value)
        pieces.append(table.astype({"severity": "Int64"}))
    return pd.concat(pieces, ignore_index=True)


def calibration_by_severity(table: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The mean over kinds of shift, severity by severity.

    Parameters
    ----------
    table : DataFrame
        From `calibration_under_shift`; of several tasks if it has a column `task`. Sets without a severity are left
        out, and kinds that lack a severity that others of their task have: severities differ in nothing else.

    Returns
    -------
    DataFrame
        (`task`,) `method`, `severity` (0: the test set itself), `kinds`, `seeds`, `accuracy`, `confidence` (means),
        `ece` (debiased), `low`, `high`, `level`, `interval`: ``t over seeds``, or ``none`` for one seed.
    """
    require_level(level)
    keys = [*(["task"] if "task" in table else []), "method", "severity"]
    known = table.dropna(subset="severity")
    by_task = known.groupby("task") if "task" in known else [("", known)]
    known = pd.concat([some[some["kind"].isin(whole_kinds(some))] for _, some in by_task] or [known])
    rows = []
    for values, some in known.groupby(keys, sort=True):
        means = some.groupby("run")[["accuracy", "confidence", "ece"]].mean()
        row: dict[str, Any] = {
            **dict(zip(keys, values, strict=True)),
            "kinds": some["kind"].nunique(),
            "seeds": len(means),
        }
        row |= {name: means[name].mean() for name in ("accuracy", "confidence")}
        row |= over_seeds(means["ece"], "ece", level=level)
        rows.append({**row, "level": level, "interval": kind_of_interval(len(means))})
    columns = [*keys, "kinds", "seeds", "accuracy", "confidence", "ece", "low", "high", "level", "interval"]
    return pd.DataFrame(rows, columns=columns)
