"""Every pair of runs, and the columns that say which."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from petl_study.errors import InputError


def pairs(R: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The R (R - 1) / 2 pairs of rows, first < second, in the order of the upper triangle."""
    if R < 2:
        raise InputError(f"a comparison of pairs needs at least two runs; got {R}. Load more methods or seeds.")
    first, second = np.triu_indices(R, k=1)
    return first, second


def pair_columns(runs: pd.DataFrame) -> pd.DataFrame:
    """`run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b` of every pair of rows of `runs`."""
    a, b = pairs(len(runs))
    columns: dict[str, object] = {"run_a": a, "run_b": b}
    for name in ("method", "seed"):
        for side, rows in (("a", a), ("b", b)):
            columns[f"{name}_{side}"] = runs[name].array[rows]
    return pd.DataFrame(columns)
