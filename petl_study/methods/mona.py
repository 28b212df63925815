"""Mona: an adapter that filters the token grid at three sizes, twice in each block (Yin et al., arXiv 2408.08345).

    m(x) = U gelu(g(f(D z + b_D))) + b_U        z = h * norm(x) + k * x         D (r, d)   U (d, r)   h, k (d,)
    f(t) = t + (c3(t) + c5(t) + c7(t)) / 3      g(t) = t + p(t)                 t (r, rows, columns)

x <- x + a m(x) on the residual stream after the half of a block that mixes positions, and with an adapter of its own
after the MLP; a is 1 for the tuned model, 0 for the pre-trained one. c3, c5 and c7 are depthwise convolutions of 3 x 3,
5 x 5 and 7 x 7, p one of 1 x 1, all with bias; norm is a LayerNorm that learns too. Class and register tokens, which
the authors' Swin has not, pass through the convolutions alone, each as an image of one pixel. h starts at 1e-6, k at
one, D and U at N(0, 0.02), truncated, with zero biases, convolutions as torch makes them: the start is away from the
pre-trained function. The authors' dropout of 0.1, after the gelu, is the hyperparameter `dropout`. Trains
2 (2 r d + 5 d + r^2 + 88 r) numbers a block of width d (ViT-B/16, r = 64: 2,684,928). Not linear in its input, so it
does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from petl_study.methods._adapters import output_weight
from petl_study.methods._base import Data, Method, fixed, register
from petl_study.methods._halves import halves
from petl_study.methods._sites import sites, wrap
from petl_study.methods._tokens import Grid, convolved, grid_of
from petl_study.methods._wrapper import Wrapper


@register("mona", paper="Yin et al., CVPR 2025, arXiv 2408.08345")
@dataclass(frozen=True)
class Mona(Method):
    bottleneck: int = fixed(64, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in sites(model, "block"):
            halves(site.module)  # refuses blocks that have none
        grid = None if isinstance(model, SwinTransformer) else grid_of(model, self.name)
        wrap(model, "block", lambda block: FilteredBlock(block, grid, self))


class Filter(nn.Module):
    """m(x) for the stream x, (B, N, d) on `grid` or (B, H, W, d)."""

    def __init__(self, like: Tensor, grid: Grid | None, method: Mona) -> None:
        super().__init__()
        width, rank = len(like), method.bottleneck
        self.grid = grid
        self.norm = nn.LayerNorm(width)
        self.norm_gain = nn.Parameter(like.new_full((width,), 1e-6))  # h
        self.gain = nn.Parameter(like.new_ones(width))  # k
        self.down = nn.Linear(width, rank)
        self.depthwise = nn.ModuleList(nn.Conv2d(rank, rank, n, padding=n // 2, groups=rank) for n in (3, 5, 7))
        self.pointwise = nn.Conv2d(rank, rank, 1)
        self.up = nn.Linear(rank, width)
        self.dropout = nn.Dropout(method.dropout)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.to(like)

    def forward(self, x: Tensor) -> Tensor:
        t = self.down(self.norm_gain * self.norm(x) + self.gain * x)  # (..., r)
        return self.up(self.dropout(F.gelu(convolved(t, self.filtered, self.grid))))

    def filtered(self, image: Tensor) -> Tensor:  # (B, r, rows, columns) -> the same
        image = image + sum(convolution(image) for convolution in self.depthwise) / 3
        return image + self.pointwise(image)


class FilteredBlock(Wrapper):
    """A block with an adapter behind each of its halves."""

    def __init__(self, base: nn.Module, grid: Grid | None, method: Mona) -> None:
        super().__init__(base)
        like = output_weight(base)
        self.behind_mixing, self.behind_mlp = Filter(like, grid, method), Filter(like, grid, method)

    def forward(self, x: Tensor, **kwargs: Tensor | bool | None) -> Tensor:
        mixed, finished = halves(self.base)
        x = mixed(x, **kwargs)
        x = finished(x + self.alpha * self.behind_mixing(x))
        return x + self.alpha * self.behind_mlp(x)

    def unfoldable(self) -> str | None:
        return "its adapters are not linear in the stream"
