"""FacT-TT: all weight updates of all blocks as one tensor train (Jie & Deng, arXiv 2212.03145).

    W' = W + a s (I_m x V) S (I_n x U)      W (m d, n d)   U (r, d), V (d, r) shared by all layers

for qkv (m = 3), the attention's projection, fc1 (m = 4) and fc2 (n = 4) of every block; S (m r, n r) is each layer's
own. a is 1 for the tuned model, 0 for the pre-trained one; s is the hyperparameter `scale`. V is zero, so the untrained
model is the pre-trained one; U and S are Xavier-uniform. With L blocks of width d and an MLP of 4 d that trains
2 r d + 12 L r^2 numbers (ViT-B/16, r = 32: 196,608). A Swin has a tensor train for each width. `init="released"` is
what the study's code (arXiv 2409.16434) arrives at: U, V and S N(0, 0.02), truncated. Folds into W. Dropout lies before
V.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from petl_study.methods._base import register
from petl_study.methods._fact import Bases, FacT, Factored


@register("fact_tt", paper="Jie & Deng, AAAI 2023, arXiv 2212.03145")
@dataclass(frozen=True)
class FacTTT(FacT):
    def shared(self, like: Tensor, width: int, blocks: int) -> Bases:
        return Bases(like, width, self.rank, self.init)

    def factored(self, base: nn.Module, bases: Bases, layer: str, block: int) -> Factored:
        return OwnCore(base, bases, self.scale, self.dropout)


class OwnCore(Factored):
    """The core is the layer's own parameter."""

    def __init__(self, base: nn.Module, bases: Bases, scale: float, dropout: float) -> None:
        super().__init__(base, bases, scale, dropout)
        rank, width = bases.into.shape
        m, n = self.base.out_features // width, self.base.in_features // width
        self.own = nn.Parameter(bases.drawn(bases.into.new_empty(m * rank, n * rank)))  # S (m r, n r)

    def core(self) -> Tensor:
        return self.own
