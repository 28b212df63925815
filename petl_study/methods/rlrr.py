"""RLRR: every weight matrix rescaled by a rank-one pattern, beside itself (Dong et al., arXiv 2403.19067).

    W' = W + a (u v^T) * W          element-wise   W (o, i)   u (o,)   v (i,)   a: 1 tuned, 0 pre-trained
    b' = b + a f                    f (o,)

for q, k and v (each with a v of its own), the attention's projection, fc1 and fc2; and, as published, a scale and shift
per channel (see SSF) after the patch projection, both norms and the final norm; so in every family: linear layers are
rescaled, convolutions and norms scaled and shifted. u ~ U(-sqrt(6), sqrt(6)) and
v ~ U(-sqrt(6 / i), sqrt(6 / i)), which is Kaiming's rule on a column and a row; f is zero, scales are N(1, 0.02),
shifts N(0, 0.02): the start is away from the pre-trained function. With L blocks of width d and an MLP of 4 d that
trains (31 L + 4) d numbers (ViT-B/16: 288,768). Folds into W and b.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, register
from petl_study.methods._linear import is_linear, matrix, project
from petl_study.methods._scale_shift import ScaleShift
from petl_study.methods._sites import OPERATIONS, present, sites
from petl_study.methods._wrapper import Wrapper


@register("rlrr", paper="Dong et al., CVPR 2024, arXiv 2403.19067")
@dataclass(frozen=True)
class RLRR(Method):
    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in sites(model, *present(model, OPERATIONS)):
            if is_linear(site.module):
                tuned: nn.Module = Rescaled(site.module, parts=3 if site.name == "qkv" else 1)
            else:
                tuned = ScaleShift(site.module)
            setattr(site.parent, site.name, tuned)


class Rescaled(Wrapper):
    """A linear layer whose weight is rescaled; a fused one of several parts has a v for each."""

    base: nn.Linear

    def __init__(self, base: nn.Module, parts: int = 1) -> None:
        super().__init__(base)
        weight, (o, i) = matrix(base), matrix(base).shape
        self.left = nn.Parameter(nn.init.kaiming_uniform_(weight.new_empty(o, 1))[:, 0])  # u (o,)
        rows = [nn.init.kaiming_uniform_(weight.new_empty(1, i)) for _ in range(parts)]
        self.right = nn.Parameter(torch.cat(rows))  # v (parts, i)
        self.shift = nn.Parameter(weight.new_zeros(o))  # f (o,)

    def _change(self) -> tuple[Tensor, Tensor]:
        """What is added to weight (o, i) and bias (o,)."""
        left = (self.alpha * self.left).view(len(self.right), -1, 1)  # (parts, o / parts, 1)
        pattern = (left * self.right[:, None, :]).flatten(0, 1)  # (o, i)
        return pattern * matrix(self.base), self.alpha * self.shift

    def forward(self, x: Tensor) -> Tensor:  # (..., i) -> (..., o)
        weight, bias = self._change()
        bias = bias if self.base.bias is None else self.base.bias + bias
        return project(self.base, x, matrix(self.base) + weight, bias)

    def unfoldable(self) -> str | None:
        return None if self.base.bias is not None else "there is no bias to fold the shift into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        weight, bias = self._change()
        matrix(self.base).add_(weight)
        self.base.bias.add_(bias)
        return self.base
