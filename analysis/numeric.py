"""Small numerical pieces that more than one analysis needs. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Probabilities along the last axis, in float64: float16 overflows at a logit of 11."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def doubt(logits: Floats) -> NDArray[np.float64]:
    """How unsure a model is: 1 / p - 1 where p is the probability of the predicted class. (..., C) -> (...).

    Orders examples exactly as 1 - p does, but keeps apart those whose p rounds to 1, of which a tuned model has many.
    """
    wide = logits.astype(np.float64)
    top = wide.argmax(axis=-1, keepdims=True)
    wide -= np.take_along_axis(wide, top, axis=-1)
    np.exp(wide, out=wide)
    np.put_along_axis(wide, top, 0.0, axis=-1)
    total: NDArray[np.float64] = wide.sum(axis=-1)
    return total


def score(logits: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy (fraction), mean cross-entropy (nats) and number of examples: (N, C), (N,) -> as records have them."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    true = np.take_along_axis(wide, labels[:, None], axis=1)[:, 0]
    loss = np.log(np.exp(wide).sum(axis=1)) - true
    return {
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "loss": float(loss.mean()),
        "examples": len(labels),
    }
