"""How high the barrier between two models is, from what was measured on the line between them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.agreement import by_method
from analysis.comparable import require_columns, require_comparable
from petl_study.errors import InputError

PAIR = ["run_a", "run_b", "method_a", "method_b", "seed_a", "seed_b"]


def barriers(paths: pd.DataFrame) -> pd.DataFrame:
    """The highest point between the ends of every path, above the straight line between the values at the ends.

    ``max over 0 < t < 1 of L(t) - ((1 - t) L(0) + t L(1))``, of the loss and of the error (1 - accuracy). The
    literature (arXiv 1912.05671) takes the ends in, so that a barrier is 0 at the least; here a path that runs below
    the line throughout has a negative one, which says by how much.

    Parameters
    ----------
    paths : DataFrame
        From `linear_paths`; or by hand: `run_a`, `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`, `t`, `accuracy`,
        `loss`, `ensemble_accuracy`; `task` and `set` where there are several.

    Returns
    -------
    DataFrame
        A row for each pair: (`task`, `set`,) who they are; `loss_barrier` (nats), `error_barrier` (fraction), `loss_at`
        and `error_at` (t); `better_end` (the higher accuracy of the two); `midpoint_accuracy` (of the average of the
        weights, t = 0.5) and `midpoint_ensemble_accuracy` (of the average of the logits), missing where t = 0.5 is.

    Raises
    ------
    InputError
        A path without an end or anything in between.
    """
    require_comparable(paths)
    keys = [*(name for name in ("task", "set") if name in paths), *PAIR]
    require_columns(paths, [*PAIR, "t", "accuracy", "loss", "ensemble_accuracy"])
    table = []
    for values, path in paths.groupby(keys, sort=False, dropna=False):
        of_pair = dict(zip(keys, values, strict=True))
        path = path.sort_values("t").set_index("t")
        if path.index[0] != 0 or path.index[-1] != 1 or len(path) < 3 or path.index.has_duplicates:
            raise InputError(
                f"the path {of_pair} has t = {', '.join(f'{t:g}' for t in path.index)}; it needs 0, 1 and something"
                " between, each once"
            )
        row: dict[str, Any] = {**of_pair}
        for name, height in {"loss": path["loss"], "error": 1 - path["accuracy"]}.items():
            above = (height - (1 - path.index) * height.iloc[0] - path.index * height.iloc[-1]).iloc[1:-1]
            row |= {f"{name}_barrier": above.max(), f"{name}_at": above.idxmax()}
        middle = path.reindex([0.5]).iloc[0]
        row |= {"better_end": path["accuracy"].iloc[[0, -1]].max(), "midpoint_accuracy": middle["accuracy"]}
        table.append({**row, "midpoint_ensemble_accuracy": middle["ensemble_accuracy"]})
    return pd.DataFrame(table)


def barriers_by_method(table: pd.DataFrame) -> pd.DataFrame:
    """The mean barrier between every two methods over the pairs of their runs.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b` (both orders), `loss_barrier`, `error_barrier`, `pairs` (how many). A method
        with itself is the mean over its seeds, the baseline, and is missing where it has one.
    """
    return by_method(table, ["loss_barrier", "error_barrier"])
