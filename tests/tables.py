"""Small frames as `load_runs` and `load_trials` give them, from accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

GROUPS = ("natural", "specialized", "structured")


def runs_of(accuracy: ArrayLike, **columns: object) -> pd.DataFrame:
    """Runs of methods a, b, ... on tasks t0, t1, ... with seeds 0, 1, ... and 100 test examples.

    `accuracy` is (T, M) or (T, M, S); NaN is a run that is missing. Groups take turns.
    """
    values = np.asarray(accuracy, dtype=float)
    values = values[..., None] if values.ndim == 2 else values
    rows = [
        {
            "task": f"t{t}",
            "group": GROUPS[t % len(GROUPS)],
            "method": chr(ord("a") + m) if m < 26 else f"z{m}",
            "seed": s,
            "test_accuracy": value,
        }
        for (t, m, s), value in np.ndenumerate(values)
        if not np.isnan(value)
    ]
    return pd.DataFrame(rows).assign(test_examples=100, tuned_parameters=10, **columns)


def trials_of(
    searches: Mapping[str, Sequence[float]], points: Sequence[Mapping[str, Any]] | None = None, task: str = "t0"
) -> pd.DataFrame:
    """Trials of each method with these validation accuracies, NaN for a failed one, at these hyperparameters."""
    rows = []
    for method, values in searches.items():
        for i, value in enumerate(values):
            point = dict(points[i]) if points is not None else {"point": i}
            own = {name: point.pop(name, usual) for name, usual in (("lr", 1e-3), ("weight_decay", 1e-4))}
            common = {"task": task, "group": "natural", "method": method, "hyperparameters": point}
            rows.append({**common, **own, "val_accuracy": value})
    return pd.DataFrame(rows).assign(classes=10, val_examples=200)
