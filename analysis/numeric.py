"""Small numerical pieces that more than one analysis needs. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError

Floats = NDArray[np.floating[Any]]


def require_whole(name: str, value: object, *, such_as: int) -> None:
    """Refuse a count that is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, such as {such_as}; got {value!r}")


def widen(values: Floats) -> Floats:
    """A copy to compute in: float32 of float16, which it holds exactly, and float64 of anything else.

    NumPy casts half precision number by number. Here the bits move all at once: exponent and mantissa to where float32
    has them, times 2^112 for the difference of the two exponents' biases; eight times faster. Finite numbers only.
    """
    if values.dtype != np.float16:
        return values.astype(np.float64)
    bits = values.view(np.int16).astype(np.int32)  # the sign is extended to the left
    bits <<= 13
    bits &= np.int32(-0x70002000)  # sign, five bits of exponent, ten of mantissa
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide


def finite_rows(values: Floats) -> NDArray[np.bool_]:
    """Which rows are finite numbers throughout: (n, C) -> (n,)."""
    if values.dtype == np.float16:  # an exponent of all ones is an infinity or NaN; fast, as in `widen`
        exponents: NDArray[np.uint16] = (values.view(np.uint16) & np.uint16(0x7FFF)).max(axis=1)
        return exponents < np.uint16(0x7C00)
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=1)
    return finite


def softmax(logits: Floats) -> Floats:
    """Probabilities along the last axis, in the precision of `widen`: float16 itself overflows at a logit of 11."""
    wide = widen(logits)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def log_softmax(logits: Floats) -> Floats:
    """Logarithms of `softmax`, exact where a probability rounds to 0."""
    wide = widen(logits)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def log_doubt(logits: Floats) -> NDArray[np.float64]:
    """How unsure a model is: log(1 / p - 1) where p is the probability of the predicted class. (..., C) -> (...).

    Orders examples exactly as 1 - p does, but keeps apart those whose p rounds to 1, of which a tuned model has many:
    the other classes are summed relative to the likeliest of them, so nothing vanishes. -inf where there is one class.
    """
    wide = widen(logits)
    if wide.shape[-1] == 1:
        return np.full(wide.shape[:-1], -np.inf)
    top = wide.argmax(axis=-1, keepdims=True)
    first = np.take_along_axis(wide, top, axis=-1)
    np.put_along_axis(wide, top, -np.inf, axis=-1)
    second = wide.max(axis=-1, keepdims=True)
    wide -= second
    np.exp(wide, out=wide)
    others: NDArray[np.float64] = np.log(wide.sum(axis=-1)) + (second - first)[..., 0]
    return others.astype(np.float64, copy=False)


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
