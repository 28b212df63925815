"""RepAdapter: a linear bottleneck before attention and before the MLP (Luo et al., arXiv 2302.08106).

    z' = z + a s (B (A z + b_A) + b_B)      z (..., d), the norm's output   A (r, d)   B (d, r), in G diagonal blocks

The next layer, qkv or fc1, reads z' instead of z: W z' + b has weight W (I + a s B A) and bias b + a s W (B b_A + b_B),
which is linear in a, and so it folds. A is Xavier-uniform and B zero, so the untrained model is the pre-trained one.
B (d, r / G) is stored without its zeros. Trains 2 (r d + r + r d / G + d) numbers a block (ViT-B/16, r = 32, G = 2:
903,936). Dropout lies between A and B.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import wrap
from petl_study.methods._wrapper import Wrapper


@register("repadapter", paper="Luo et al., arXiv 2302.08106")
@dataclass(frozen=True)
class RepAdapter(Method):
    bottleneck: int = searched(8, 8, 16, 32, at_least=1)
    scale: float = searched(1.0, 0.1, 0.5, 1.0, 5.0, 10.0)
    groups: int = fixed(2, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in ("attn.qkv", "mlp.fc1"):
            wrap(model, site, lambda layer: Before(layer, self))


class Before(Wrapper):
    """A linear layer that reads its input through a linear adapter."""

    base: nn.Linear

    def __init__(self, base: nn.Module, method: RepAdapter) -> None:
        super().__init__(base)
        width, rank, groups = self.base.in_features, method.bottleneck, method.groups
        if rank % groups or width % groups:
            raise InputError(f"repadapter: groups={groups} must divide bottleneck={rank} and the width {width}.")
        self.scale, self.groups = method.scale, groups
        weight = self.base.weight
        self.down = nn.Parameter(nn.init.xavier_uniform_(weight.new_empty(rank, width)))  # A (r, d)
        self.down_bias = nn.Parameter(weight.new_zeros(rank))
        self.up = nn.Parameter(weight.new_zeros(width, rank // groups))  # B (d, r / G)
        self.up_bias = nn.Parameter(weight.new_zeros(width))
        self.dropout = nn.Dropout(method.dropout)

    def forward(self, z: Tensor) -> Tensor:  # (..., d) -> (..., d_out)
        hidden = self.dropout(nn.functional.linear(z, self.down, self.down_bias))  # (..., r)
        return self.base(z + self.alpha * self.scale * self._expand(hidden, self.up_bias))

    def _expand(self, hidden: Tensor, bias: Tensor) -> Tensor:  # (..., r) -> (..., d)
        return nn.functional.linear(hidden, torch.block_diag(*self.up.chunk(self.groups)), bias)

    def unfoldable(self) -> str | None:
        return None if self.base.bias is not None else "there is no bias to fold the adapter's into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        step = self.alpha * self.scale
        self.base.bias.add_(self.base.weight @ self._expand(self.down_bias, self.up_bias), alpha=step)
        self.base.weight += step * self.base.weight @ torch.block_diag(*self.up.chunk(self.groups)) @ self.down
        return self.base
