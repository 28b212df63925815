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
from petl_study.methods._linear import matrix, project
from petl_study.methods._sites import present, sites, wrap
from petl_study.methods._wrapper import Wrapper


@register("repadapter", paper="Luo et al., arXiv 2302.08106")
@dataclass(frozen=True)
class RepAdapter(Method):
    bottleneck: int = searched(8, 8, 16, 32, at_least=1)
    scale: float = searched(1.0, 0.1, 0.5, 1.0, 5.0, 10.0)
    groups: int = fixed(2, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        sites(model, "mlp.fc1")  # where there is no attention, the MLP's adapter stands alone
        wrap(model, present(model, ("attn.qkv", "mlp.fc1")), lambda layer: Before(layer, self))


class Before(Wrapper):
    """A linear layer that reads its input through a linear adapter."""

    base: nn.Linear

    def __init__(self, base: nn.Module, method: RepAdapter) -> None:
        super().__init__(base)
        weight = matrix(base)
        width, rank, groups = weight.shape[1], method.bottleneck, method.groups
        if rank % groups or width % groups:
            raise InputError(f"repadapter: groups={groups} must divide bottleneck={rank} and the width {width}.")
        self.scale, self.groups = method.scale, groups
        self.down = nn.Parameter(nn.init.xavier_uniform_(weight.new_empty(rank, width)))  # A (r, d)
        self.down_bias = nn.Parameter(weight.new_zeros(rank))
        self.up = nn.Parameter(weight.new_zeros(width, rank // groups))  # B (d, r / G)
        self.up_bias = nn.Parameter(weight.new_zeros(width))
        self.dropout = nn.Dropout(method.dropout)

    def forward(self, z: Tensor) -> Tensor:  # (..., d) -> (..., d_out)
        hidden = self.dropout(project(self.base, z, self.down, self.down_bias))  # (..., r)
        return self.base(z + self.alpha * self.scale * project(self.base, hidden, self._blocks(), self.up_bias))

    def _blocks(self) -> Tensor:
        """B with its zeros (d, r)."""
        return torch.block_diag(*self.up.chunk(self.groups))

    def unfoldable(self) -> str | None:
        return None if self.base.bias is not None else "there is no bias to fold the adapter's into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        step = self.alpha * self.scale
        weight, up = matrix(self.base), self._blocks()
        self.base.bias.add_(weight @ (up @ self.down_bias + self.up_bias), alpha=step)
        weight += step * weight @ up @ self.down
        return self.base
