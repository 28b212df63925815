"""How high the barrier between two models is, from what was measured on the line between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.agreement import by_method
from analysis.comparable import require_columns, require_comparable
from analysis.intervals import require_level
from petl_study.errors import InputError

_ENDS = {"loss_barrier": "loss", "error_barrier": "error"}  # what is before `_low` and `_high`
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

        One pair has no interval: over examples it would take each example's loss, of which a path has the means.
        `barriers_by_method` has one over seeds.

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


def barriers_by_method(table: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The mean barrier between every two methods over the pairs of their runs, with an interval over seeds.

    Pairs that share a run are not independent, so seeds are left out one at a time, and with each all its pairs: the
    jackknife, whose variance is too large rather than too small (Efron and Stein, 1981), and Student's t.

    Parameters
    ----------
    table : DataFrame
        From `barriers`; of several tasks if it has a column `task`.

    Returns
    -------
    DataFrame
        (`task`,) `method_a`, `method_b` (both orders), `loss_barrier`, `error_barrier`, `pairs` (how many); `seeds`
        (how many), `loss_low`, `loss_high`, `error_low`, `error_high`, `level`, `interval`: ``jackknife over seeds``,
        or ``none`` where without some seed no pair is left: two seeds of one method, one of two methods. A method with
        itself is the mean over its seeds, the baseline, and is missing where it has one.
    """
    require_level(level)
    means = by_method(table, list(_ENDS))
    within = ["task"] if "task" in table else []
    names = np.sort(table[["method_a", "method_b"]].to_numpy(dtype=str), axis=1)
    of_pairs = table.assign(one=names[:, 0], other=names[:, 1]).groupby([*within, "one", "other"]).indices
    found = {key: _over_seeds(table.iloc[rows], level) for key, rows in of_pairs.items()}
    cells = means[[*within, "method_a", "method_b"]].itertuples(index=False, name=None)
    rows = [found[(*cell[:-2], *sorted(cell[-2:]))] for cell in cells]
    return pd.concat([means, pd.DataFrame(rows)], axis=1)


def _over_seeds(of_pairs: pd.DataFrame, level: float) -> dict[str, Any]:
    """Jackknife intervals of the mean barriers between two methods, a row a pair of their runs."""
    first, second = (of_pairs[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("seed_a", "seed_b"))
    seeds = np.unique([*first[~np.isnan(first)], *second[~np.isnan(second)]])
    kept = (first != seeds[:, None]) & (second != seeds[:, None])  # (S, pairs): which are left without each seed
    S, known = len(seeds), len(seeds) >= 2 and bool(kept.any(axis=1).all())
    row: dict[str, Any] = {"seeds": S}
    for name, prefix in _ENDS.items():
        row |= {f"{prefix}_low": np.nan, f"{prefix}_high": np.nan}
        if known:
            heights = of_pairs[name].to_numpy(dtype=np.float64)
            left = kept @ heights / kept.sum(axis=1)  # (S,)
            half = stats.t.ppf((1 + level) / 2, S - 1) * np.sqrt((S - 1) * left.var())
            row |= {f"{prefix}_low": heights.mean() - half, f"{prefix}_high": heights.mean() + half}
    return {**row, "level": level, "interval": "jackknife over seeds" if known else "none"}
