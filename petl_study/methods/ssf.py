"""SSF: scale and shift every feature (Lian et al., arXiv 2210.08823, eq. 3).

    y' = g * y + s              per channel, after every operation: y = op(x) (..., c)   g, s (c,)

The operations are the patch projection, both norms, qkv, the attention's projection, fc1, fc2 and the final norm. On
the weight-space path g becomes 1 + a (g - 1) and s becomes a s, the straight line between the folded weights.
g ~ N(1, 0.02) and s ~ N(0, 0.02), as published: the start is near the pre-trained function, not at it. With L blocks of
width d and an MLP of 4 d that trains (22 L + 4) d numbers (ViT-B/16: 205,824). Folds into each operation's weight and
bias; an operation without a bias has no place for the shift, and the model then cannot be merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, register
from petl_study.methods._sites import wrap
from petl_study.methods._wrapper import Wrapper

SITES = ("patch_embed", "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", "norm")


@register("ssf", paper="Lian et al., arXiv 2210.08823")
@dataclass(frozen=True)
class SSF(Method):
    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in SITES:
            wrap(model, site, ScaleShift)


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
