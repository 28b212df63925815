"""Convpass: a convolutional bottleneck beside attention and beside the MLP (Jie & Deng, arXiv 2207.07039).

    h = x + attn(z) + a s C1(z), z = norm1(x)       C(z) = U g(conv(g(D z + b_D))) + b_U      g(t) = t sigmoid(1.702 t)
    y = h + mlp(z) + a s C2(z), z = norm2(h)        D (r, d)   conv (r, r, 3, 3) with bias   U (d, r)

a is 1 for the tuned model, 0 for the pre-trained one; s is the hyperparameter `scale`. The convolution runs over the
grid of patches; each class or register token passes through it alone, as an image of one pixel. D is Xavier-uniform and
U zero, so the untrained model is the pre-trained one; the convolution starts as the identity or, with `xavier_init`,
Xavier-uniform. `init="released"` is what the study's code (arXiv 2409.16434) arrives at: D and U N(0, 0.02), truncated.
Trains 2 (2 r d + d + r + 9 r^2 + r) numbers a block (ViT-B/16, r = 8: 327,552). Not linear in its input, so it does not
merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.errors import unknown
from petl_study.methods._adapters import Beside, output_weight
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import sites
from petl_study.methods._tokens import Grid, convolved, grid_of

INITS = ("paper", "released")


@register("convpass", paper="Jie & Deng, arXiv 2207.07039")
@dataclass(frozen=True)
class Convpass(Method):
    bottleneck: int = searched(8, 8, 16, at_least=1)
    scale: float = searched(1.0, 0.01, 0.1, 1.0, 10.0, 100.0)
    xavier_init: bool = searched(False, True, False)
    init: str = fixed("paper")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        places = sites(model, "attn", "mlp")  # refuses a model without them before anything hangs on it
        grid = grid_of(model, self.name)
        for place in places:
            setattr(
                place.parent, place.name, Beside(place.module, ConvBottleneck(place.module, grid, self), self.scale)
            )


class ConvBottleneck(nn.Module):
    """C(z) for tokens z (B, N, d)."""

    def __init__(self, beside: nn.Module, grid: Grid, method: Convpass) -> None:
        super().__init__()
        end, rank = output_weight(beside), method.bottleneck
        self.grid = grid
        self.down = nn.Linear(len(end), rank).to(end)
        self.conv = nn.Conv2d(rank, rank, 3, padding=1).to(end)
        self.up = nn.Linear(rank, len(end)).to(end)
        self.dropout = nn.Dropout(method.dropout)
        for layer in (self.down, self.conv, self.up):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if method.xavier_init:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            nn.init.dirac_(self.conv.weight)
        if method.init == "released":
            nn.init.trunc_normal_(self.down.weight, std=0.02)
            nn.init.trunc_normal_(self.up.weight, std=0.02)
        else:
            nn.init.xavier_uniform_(self.down.weight)
            nn.init.zeros_(self.up.weight)

    def forward(self, z: Tensor) -> Tensor:  # (B, N, d) -> (B, N, d)
        hidden = convolved(_quick_gelu(self.down(z)), self.conv, self.grid)  # (B, N, r)
        return self.up(self.dropout(_quick_gelu(hidden)))


def _quick_gelu(t: Tensor) -> Tensor:
    return t * torch.sigmoid(1.702 * t)
