"""DiffFit: all biases and norms, and a scale on every residual branch (Xie et al., arXiv 2304.06648).

    h = x + g1 * attn(norm1(x))         g1, g2 (d,), ones at the start
    y = h + g2 * mlp(norm2(h))

g scales the last layer of the branch, W z + b, and b is tuned too: folded, that is g * W and g * b. The weight-space
path is the line between the folded weights, (1 + a (g - 1)) * W and (1 - a) b0 + a g b. With L blocks of width d and an
MLP of 4 d that trains (15 L + 3) d numbers (ViT-B/16: 140,544). Starts at the pre-trained function. Folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, register
from petl_study.methods._names import in_norm, is_bias
from petl_study.methods._sites import wrap
from petl_study.methods._wrapper import Wrapper


@register("difffit", paper="Xie et al., arXiv 2304.06648")
@dataclass(frozen=True)
class DiffFit(Method):
    def tunes(self, parameter: str) -> bool:
        in_branch_end = parameter.endswith(("attn.proj.bias", "mlp.fc2.bias"))  # `ScaledBranch` tunes its own copy
        return (is_bias(parameter) or in_norm(parameter)) and not in_branch_end

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in ("attn.proj", "mlp.fc2"):
            wrap(model, site, ScaledBranch)


class ScaledBranch(Wrapper):
    """The last linear layer of a residual branch, its output scaled, its bias tuned."""

    base: nn.Linear

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        self.gamma = nn.Parameter(torch.ones_like(self.base.bias))  # g (d,)
        self.bias = nn.Parameter(self.base.bias.detach().clone())  # b (d,); base.bias stays b0

    def _at_alpha(self) -> tuple[Tensor, Tensor]:
        """Scale of the weight's rows (d,) and the whole bias (d,)."""
        scale = 1 + self.alpha * (self.gamma - 1)
        return scale, (1 - self.alpha) * self.base.bias + self.alpha * self.gamma * self.bias

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self._at_alpha()
        return torch.addcmul(bias, F.linear(x, self.base.weight), scale)

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        scale, bias = self._at_alpha()
        self.base.weight *= scale[:, None]
        self.base.bias.copy_(bias)
        return self.base
