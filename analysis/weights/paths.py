"""What lies between two tuned models, on the straight line through weight space.

Two models from one pre-trained start are linearly connected where no point between them is worse than the line between
their ends: there is no barrier (Frankle et al., arXiv 1912.05671; Neyshabur et al., arXiv 2008.11687).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.numeric import score
from analysis.pairs import pair_columns
from analysis.rows import MADE_UNDER, parse_set
from analysis.weights.arithmetic import between
from analysis.weights.models import Weights
from analysis.weights.soups import Space
from petl_study.errors import InputError, unknown

PAIRS = ("all", "methods", "seeds")


def linear_paths(
    weights: Weights, split: str = "test", *, pairs: str = "all", points: int = 11, space: str = "folded"
) -> pd.DataFrame:
    """Accuracy and loss along the straight line between the weights of every two runs.

    Beside the model in between, with weights (1 - t) a + t b, stands the ensemble in between, with logits (1 - t) a +
    t b: at t = 0.5 the average of the weights and the average of what the two models say.

    Parameters
    ----------
    split : str
        ``test``, a shift set, or what the models were trained on: ``trainval``.
    pairs : str
        ``all`` pairs of runs; those of different ``methods`` under one seed; or of different ``seeds`` of one method.
    points : int
        How many values t takes from 0 to 1, at least 3. R runs and P pairs cost R + P (points - 2) evaluations.
    space : str
        ``folded`` or ``tuned``: what is interpolated (see `analysis.weights.soups`).

    Returns
    -------
    DataFrame
        A row for each pair and t: `task`, `set`, `kind`, `severity`, `run_a`, `run_b` (rows of ``weights.runs``),
        `method_a`, `method_b`, `seed_a`, `seed_b`, `t`, `accuracy`, `loss` (of the model), `ensemble_accuracy`,
        `ensemble_loss`, `examples`, and what the runs were made under.

    Raises
    ------
    InputError
        No such pair; a run that cannot be folded; tuned tensors of different shapes.
    """
    if pairs not in PAIRS:
        raise unknown("pairs", pairs, PAIRS)
    if points < 3:
        raise InputError(f"points must be at least 3, the two ends and something between them; got {points!r}")
    chosen = _chosen(weights.runs, pairs)
    examples, ground = weights.split(split), Space(weights, space)
    ends = {int(row): ground.tensors(weights.trial(int(row))) for row in sorted({*chosen["run_a"], *chosen["run_b"]})}
    said = {row: ground.put(tensors).ask(examples) for row, tensors in ends.items()}
    common: dict[Any, Any] = weights.runs.loc[0, [name for name in ("task", *MADE_UNDER) if name != "key"]].to_dict()
    kind, severity = parse_set(split)
    table = []
    of_pairs: list[dict[Any, Any]] = chosen.to_dict("records")
    for pair in of_pairs:
        a, b = int(pair["run_a"]), int(pair["run_b"])
        for t in np.linspace(0.0, 1.0, points):
            inside = 0 < t < 1
            logits = ground.put(between(ends[a], ends[b], t)).ask(examples) if inside else said[b if t else a]
            of_model = score(logits, examples.labels)
            of_both = score((1 - t) * said[a] + t * said[b], examples.labels)
            ensemble = {"ensemble_accuracy": of_both["accuracy"], "ensemble_loss": of_both["loss"]}
            where = {"set": split, "kind": kind, "severity": severity}
            table.append({**common, **where, **pair, "t": float(t), **of_model, **ensemble})
    return pd.DataFrame(table).astype({"severity": "Int64"})


def _chosen(runs: pd.DataFrame, which: str) -> pd.DataFrame:
    found = pair_columns(runs)
    same_method, same_seed = found["method_a"] == found["method_b"], found["seed_a"] == found["seed_b"]
    keep = {"all": same_seed | True, "methods": ~same_method & same_seed, "seeds": same_method & ~same_seed}[which]
    if not keep.any():
        need = {"methods": "two methods under one seed", "seeds": "one method under two seeds"}[which]
        got = "; ".join(f"{method}, seed {seed}" for method, seed in zip(runs["method"], runs["seed"], strict=True))
        raise InputError(f"pairs={which!r} needs {need}; got {got}.")
    return found[keep]
