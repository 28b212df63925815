"""A scale and a shift for every output channel of a module, as SSF introduced them (arXiv 2210.08823, eq. 3)."""

from __future__ import annotations

import torch
from timm.models.mlp_mixer import Affine
from torch import Tensor, nn

from petl_study.methods._sites import channels_first
from petl_study.methods._wrapper import Wrapper


class ScaleShift(Wrapper):
    """A linear layer, convolution or norm whose output channels are scaled and shifted."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        weight, _ = _own(base)
        channels = weight.numel() if isinstance(base, Affine) else len(weight)
        self.scale = nn.Parameter(nn.init.normal_(weight.new_empty(channels), mean=1.0, std=0.02))  # g (c,)
        self.shift = nn.Parameter(nn.init.normal_(weight.new_empty(channels), mean=0.0, std=0.02))  # s (c,)
        self.first = channels_first(base)

    def forward(self, x: Tensor) -> Tensor:  # as base; channels last, or second where base is a convolution's
        y = self.base(x)
        scale, shift = self._at_alpha()
        if self.first:
            scale, shift = scale[:, None, None], shift[:, None, None]
        return torch.addcmul(shift, y, scale)

    def _at_alpha(self) -> tuple[Tensor, Tensor]:
        return 1 + self.alpha * (self.scale - 1), self.alpha * self.shift

    def unfoldable(self) -> str | None:
        return "there is no bias to fold the shift into" if _own(self.base)[1] is None else None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        scale, shift = self._at_alpha()
        weight, bias = _own(self.base)
        if isinstance(self.base, Affine):  # (1, 1, c)
            weight *= scale
        else:
            weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))  # out-channels come first
        assert bias is not None  # `unfoldable` saw to it
        bias.copy_(bias * scale + shift)
        return self.base


def _own(base: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight and the bias of an operation, whatever it calls them."""
    if isinstance(base, Affine):
        return base.alpha, base.beta
    return base.weight, getattr(base, "bias", None)  # type: ignore[return-value]  # an RMS norm has none at all
