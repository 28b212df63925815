"""The source's only randomness: a seeded generator that draws one number an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Chance:
    """Draws from one `torch.Generator`; every shape starts with the number of images."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(shape, generator=self.generator)

    def normal(self, *shape: int, std: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=self.generator) * std

    def happens(self, *shape: int, p: float) -> Tensor:
        """Bool: true with probability `p`."""
        return torch.rand(shape, generator=self.generator) < p

    def below(self, limit: Tensor) -> Tensor:
        """A whole number from 0 to `limit` - 1, elementwise."""
        draws = torch.rand(limit.shape, generator=self.generator)
        return torch.minimum((draws * limit).long(), limit - 1)  # float32 may round a draw up to 1

    def pick(self, weights: Sequence[float] | Tensor, n: int) -> Tensor:
        """`n` indices in proportion to `weights`: (n,)."""
        weights = torch.as_tensor(weights, dtype=torch.float32)
        return torch.multinomial(weights, n, replacement=True, generator=self.generator)
