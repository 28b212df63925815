"""Intervals over examples where there is one seed, of which accuracies are all that is known.

Wilson's is the interval of one accuracy. A mean over sets, or what two sets or two models have to do with each other,
was measured on examples that may be the same, and how often the errors fall together the accuracies do not tell. These
intervals are wide enough whatever it is: that of a sum or a difference of two is as wide as theirs together.

    mean over sets      low: the mean of the sets' low ends
    a - b               low: low end of a minus high end of b
    a / b               low: low end of a over high end of b                high ends likewise

They are conservative: an interval from what the models said of each example, where that is known, is narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import wilson_ends
from analysis.over_seeds import kind_of_interval, over_seeds

CONSERVATIVE = "conservative over examples"


def with_ends(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """`frame` with `accuracy_low` and `accuracy_high`, Wilson's ends; missing where `examples` is."""
    examples = pd.to_numeric(frame["examples"], errors="coerce") if "examples" in frame else np.nan
    low, high = wilson_ends(frame["accuracy"], np.broadcast_to(np.asarray(examples, float), len(frame)), level)
    return frame.assign(accuracy_low=low, accuracy_high=high)


def mean_of_all(values: pd.Series) -> float:
    """The mean, missing where one of them is."""
    return float(values.mean(skipna=False))


def over_seeds_or_examples(
    some: pd.DataFrame, names: Mapping[str, str], *, level: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> dict[str, Any]:
    """Means of the rows `some`, a row a seed, with intervals over seeds; of one seed with its own ends.

    Parameters
    ----------
    names : mapping
        Columns that are averaged, and what is before ``low`` and ``high`` for each. The ends of one seed are beside it:
        ``accuracy_low``, ``accuracy_high``.

    Returns
    -------
    dict
        The means and ends, `level`, `interval`.
    """
    row: dict[str, Any] = {}
    for name, prefix in names.items():
        row |= over_seeds(some[name], name, prefix, level=level, bounds=bounds)
        if len(some) == 1:
            row |= {f"{prefix}{end}": float(some[f"{name}_{end}"].iloc[0]) for end in ("low", "high")}
    known = any(pd.notna(row[f"{prefix}low"]) for prefix in names.values())
    kind = CONSERVATIVE if len(some) == 1 and known else kind_of_interval(len(some))
    return {**row, "level": level, "interval": kind}
