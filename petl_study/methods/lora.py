"""LoRA: a low-rank update of the fused query-key-value projection (Hu et al., arXiv 2106.09685).

    y = W x + b + a B A x       x (..., d)   y (..., 3 d)   A (r, d)   B (3 d, r)   a: 1 tuned, 0 pre-trained

As in the study (arXiv 2409.16434), q, k and v share A, and the update is not divided by the rank. A is Kaiming-uniform
and B zero, so the untrained model is the pre-trained one; `init="released"` is what the study's code arrives at:
N(0, 0.02), truncated, for both. `sites` names other linear layers, for backbones without attention. Trains r (i + o)
numbers a layer i -> o, 4 r d a block at qkv (ViT-B/16, r = 8: 294,912). Folds into W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.errors import unknown
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._linear import matrix, plus_projected, project
from petl_study.methods._sites import listed, wrap
from petl_study.methods._wrapper import Wrapper

INITS = ("paper", "released")


@register("lora", paper="Hu et al., arXiv 2106.09685")
@dataclass(frozen=True)
class LoRA(Method):
    rank: int = searched(8, 1, 8, 16, 32, at_least=1)
    sites: str = fixed("attn.qkv")  # elsewhere: "attn.qkv,mlp.fc1"
    init: str = fixed("paper")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)  # on the update's input, while training

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, listed(self.sites), lambda layer: LowRank(layer, self))


class LowRank(Wrapper):
    """A linear layer with a low-rank update beside it."""

    def __init__(self, base: nn.Module, method: LoRA) -> None:
        super().__init__(base)
        weight = matrix(base)
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], method.rank))  # B (d_out, r)
        self.down = nn.Parameter(weight.new_empty(method.rank, weight.shape[1]))  # A (r, d_in)
        self.dropout = nn.Dropout(method.dropout)
        if method.init == "released":
            nn.init.trunc_normal_(self.down, std=0.02)
            nn.init.trunc_normal_(self.up, std=0.02)
        else:
            nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:  # (..., d_in) -> (..., d_out)
        hidden = project(self.base, self.dropout(x), self.down)  # (..., r)
        return plus_projected(self.base, self.base(x), self.alpha * hidden, self.up)

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        matrix(self.base).add_(self.alpha * self.up @ self.down)
        return self.base
