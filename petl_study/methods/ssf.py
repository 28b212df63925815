"""SSF: scale and shift every feature (Lian et al., arXiv 2210.08823, eq. 3).

    y' = g * y + s              per channel, after every operation: y = op(x) (..., c)   g, s (c,)

The operations are the patch projection, both norms, qkv, the attention's projection, fc1, fc2 and the final norm; in
other families those that stand in their place, and what merges patches between stages. Where positions are mixed by a
linear layer, its channels are positions. On the weight-space path g becomes 1 + a (g - 1) and s becomes a s, the
straight line between the folded weights. g ~ N(1, 0.02) and s ~ N(0, 0.02), as published: the start is near the
pre-trained function, not at it. With L blocks of width d and an MLP of 4 d that trains (22 L + 4) d numbers (ViT-B/16:
205,824). Folds into each operation's weight and bias; an operation without a bias has no place for the shift, and the
model then cannot be merged.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Data, Method, register
from petl_study.methods._scale_shift import ScaleShift
from petl_study.methods._sites import OPERATIONS, present, wrap


@register("ssf", paper="Lian et al., arXiv 2210.08823")
@dataclass(frozen=True)
class SSF(Method):
    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, present(model, OPERATIONS), ScaleShift)
