"""LoRA: a low-rank update of the fused query-key-value projection (Hu et al., arXiv 2106.09685).

    y = W x + b + a B A x       x (..., d)   y (..., 3 d)   A (r, d)   B (3 d, r)   a: 1 tuned, 0 pre-trained

As in the study (arXiv 2409.16434), q, k and v share A, and the update is not divided by the rank. A is Kaiming-uniform
and B zero, so the untrained model is the pre-trained one. Trains 4 r d numbers a block (ViT-B/16, r = 8: 294,912).
Folds into W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import wrap
from petl_study.methods._wrapper import Wrapper


@register("lora", paper="Hu et al., arXiv 2106.09685")
@dataclass(frozen=True)
class LoRA(Method):
    rank: int = searched(8, 1, 8, 16, 32, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)  # on the update's input, while training

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, "attn.qkv", lambda qkv: LowRank(qkv, self.rank, self.dropout))


class LowRank(Wrapper):
    """A linear layer with a low-rank update beside it."""

    base: nn.Linear

    def __init__(self, base: nn.Module, rank: int, dropout: float) -> None:
        super().__init__(base)
        self.up = nn.Parameter(self.base.weight.new_zeros(self.base.out_features, rank))  # B (d_out, r)
        self.down = nn.Parameter(self.base.weight.new_empty(rank, self.base.in_features))  # A (r, d_in)
        nn.init.kaiming_uniform_(self.down, a=5**0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # (..., d_in) -> (..., d_out)
        hidden = F.linear(self.dropout(x), self.down)  # (..., r)
        return self.base(x) + F.linear(self.alpha * hidden, self.up)

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        self.base.weight += self.alpha * self.up @ self.down
        return self.base
