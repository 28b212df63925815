"""A scale and a shift for every output channel of a module, as SSF introduced them (arXiv 2210.08823, eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petl_study.methods._wrapper import Wrapper


class ScaleShift(Wrapper):
    """A linear layer, convolution or norm whose output channels are scaled and shifted."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        weight: Tensor = base.weight  # type: ignore[assignment]
        self.scale = nn.Parameter(nn.init.normal_(weight.new_empty(len(weight)), mean=1.0, std=0.02))  # g (c,)
        self.shift = nn.Parameter(nn.init.normal_(weight.new_empty(len(weight)), mean=0.0, std=0.02))  # s (c,)

    def forward(self, x: Tensor) -> Tensor:  # as base; channels last, or second after a convolution
        y = self.base(x)
        scale, shift = self._at_alpha()
        if isinstance(self.base, nn.Conv2d):
            scale, shift = scale[:, None, None], shift[:, None, None]
        return torch.addcmul(shift, y, scale)

    def _at_alpha(self) -> tuple[Tensor, Tensor]:
        return 1 + self.alpha * (self.scale - 1), self.alpha * self.shift

    def unfoldable(self) -> str | None:
        return None if getattr(self.base, "bias", None) is not None else "there is no bias to fold the shift into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        scale, shift = self._at_alpha()
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        bias: Tensor = self.base.bias  # type: ignore[assignment]
        weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))  # out-channels come first in all three
        bias.copy_(bias * scale + shift)
        return self.base
