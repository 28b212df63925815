"""Predictions drawn at random: no study, no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import Predictions


def predictions(
    rng: np.random.Generator,
    methods: Sequence[str] = ("lora", "ssf", "bitfit"),
    seeds: int = 1,
    *,
    N: int = 120,
    C: int = 5,
    skill: float = 1.5,
    apart: float = 1.0,
    noise: float = 1.0,
) -> Predictions:
    """Runs that share what makes an example hard; methods differ by `apart`, and seeds of a method by `noise`."""
    labels = rng.integers(C, size=N)
    shared = rng.normal(size=(N, C)) + skill * np.eye(C)[labels]
    logits = [
        shared + own + noise * rng.normal(size=(N, C))
        for own in apart * rng.normal(size=(len(methods), N, C))
        for _ in range(seeds)
    ]
    runs = pd.DataFrame([(method, seed) for method in methods for seed in range(seeds)], columns=["method", "seed"])
    return Predictions(labels, np.stack(logits), runs)


def shuffled(preds: Predictions, rng: np.random.Generator) -> Predictions:
    """The same predictions, the examples in another order, and a constant added to the logits of every one."""
    order = rng.permutation(len(preds.labels))
    logits = preds.logits[:, order]
    return Predictions(preds.labels[order], logits + rng.normal(size=(*logits.shape[:2], 1)), preds.runs)


def reordered(preds: Predictions) -> Predictions:
    """The same predictions, the runs in the opposite order."""
    return Predictions(preds.labels, preds.logits[::-1], preds.runs.iloc[::-1])
