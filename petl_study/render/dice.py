"""Chance for rendering: named streams of numbers that are the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Dice:
    """The random stream that belongs to a name, such as ``Dice("count", "test", 17)``.

    Everything is derived from uniform doubles, the one draw whose stream NumPy has never changed, by arithmetic that
    IEEE 754 fixes. Streams of different names are independent, so no example depends on how many came before it.
    """

    def __init__(self, *name: str | int) -> None:
        digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
        self._generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self._generator.random())

    def uniforms(self, shape: int | tuple[int, ...], low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        return low + (high - low) * self._generator.random(shape)

    def gaussians(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Zero mean, unit variance, bell-shaped: the sum of four uniforms, as logarithms may differ in the last bit."""
        a, b, c, d = self._generator.random((4, *shape))
        return np.asarray((a + b + c + d - 2.0) * 3.0**0.5)

    def integer(self, low: int, high: int) -> int:
        """One of low, low + 1, ..., high - 1."""
        return low + int(self._generator.random() * (high - low))

    def chance(self, probability: float) -> bool:
        return float(self._generator.random()) < probability

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options))]

    def permutation(self, n: int) -> NDArray[np.int64]:
        return np.argsort(self._generator.random(n), kind="stable")
