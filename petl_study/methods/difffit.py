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
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, register
from petl_study.methods._linear import matrix, over_output, project
from petl_study.methods._parameters import biases, norms
from petl_study.methods._sites import BRANCH_ENDS, present, sites, wrap
from petl_study.methods._wrapper import Wrapper


@register("difffit", paper="Xie et al., arXiv 2304.06648")
@dataclass(frozen=True)
class DiffFit(Method):
    def own(self, model: nn.Module) -> set[str]:
        ends = {f"{site.path}.bias" for site in sites(model, *present(model, BRANCH_ENDS))}
        return (biases(model) | norms(model)) - ends  # `ScaledBranch` tunes a copy of its own

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, present(model, BRANCH_ENDS), ScaledBranch)


class ScaledBranch(Wrapper):
    """The last linear layer of a residual branch, its output scaled, its bias tuned."""

    base: nn.Linear

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        start: Tensor | None = self.base.bias
        weight = matrix(base)
        self.gamma = nn.Parameter(weight.new_ones(len(weight)))  # g (d,)
        # b (d,), where the layer has one; base.bias stays b0
        self.bias = None if start is None else nn.Parameter(start.detach().clone())

    def _at_alpha(self) -> tuple[Tensor, Tensor | None]:
        """Scale of the weight's rows (d,) and the whole bias (d,)."""
        scale = 1 + self.alpha * (self.gamma - 1)
        if self.bias is None:
            return scale, None
        return scale, (1 - self.alpha) * self.base.bias + self.alpha * self.gamma * self.bias

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self._at_alpha()
        y = project(self.base, x, matrix(self.base))
        if bias is None:
            return y * over_output(self.base, scale)
        return torch.addcmul(over_output(self.base, bias), y, over_output(self.base, scale))

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        scale, bias = self._at_alpha()
        matrix(self.base).mul_(scale[:, None])
        if bias is not None:
            self.base.bias.copy_(bias)
        return self.base
