"""What a model soup gains over its members, and over asking all of them (the ensemble of their logits)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.ensembles import ensemble, ensemble_gain
from analysis.predictions import Predictions
from petl_study.errors import InputError


def soup_gain(
    preds: Predictions, *, rng: np.random.Generator, level: float = 0.95, draws: int = 10_000
) -> pd.DataFrame:
    """Every soup against its members and their ensemble, with a paired bootstrap interval over examples.

    Parameters
    ----------
    preds : Predictions
        From `soup_predictions`; or by hand, with `role` in its runs: ``member`` or ``soup``.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    DataFrame
        `soup` (its name), `size` (how many of the members it took, where known), `members`, `against`, `method`, `seed`
        (of a single member), `accuracy` (of what it is compared with), `soup_accuracy`, `gain`, `low`, `high`, `level`.
        `against` is as in `analysis.ensemble_gain`, or ``logit ensemble``: the mean logit of all members, which costs
        as many forward passes as there are members where the soup costs one.
    """
    roles = preds.runs.get("role", pd.Series(dtype=str)).tolist()
    members, soups = ([row for row, role in enumerate(roles) if role == wanted] for wanted in ("member", "soup"))
    if not members or not soups:
        raise InputError(
            "the predictions need members and soups, told apart by a column 'role' (member, soup) of their runs; got"
            f" {len(members)} members and {len(soups)} soups"
        )
    others = {"logit ensemble": ensemble(preds, members=members)}
    table = []
    told: list[dict[Any, Any]] = preds.runs.to_dict("records")
    for row in soups:
        gain = ensemble_gain(preds, preds.logits[row], members, others=others, rng=rng, level=level, draws=draws)
        size = told[row].get("size", len(members))
        table.append(gain.assign(soup=told[row]["method"], size=size, members=len(members)))
    columns = ["soup", "size", "members", "against", "method", "seed"]
    columns += ["accuracy", "soup_accuracy", "gain", "low", "high", "level"]
    frame = pd.concat(table, ignore_index=True).rename(columns={"ensemble_accuracy": "soup_accuracy"})
    return frame[columns]
