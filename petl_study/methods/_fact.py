"""What both FacT methods share: linear layers whose updates are made of factors that all layers have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.errors import InputError, unknown
from petl_study.methods._base import Data, Method, fixed, searched
from petl_study.methods._sites import sites
from petl_study.methods._wrapper import Wrapper

INITS = ("paper", "released")
LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True)
class FacT(Method):
    """What the two have in common; they differ in what is shared and in what a layer makes of it."""

    rank: int = searched(16, 8, 16, 32, at_least=1)
    scale: float = searched(1.0, 0.01, 0.1, 1.0, 10.0, 100.0)
    init: str = fixed("paper")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for width, blocks in stages(model):
            bases = self.shared(next(model.parameters()), width, len(blocks))
            for number, block in enumerate(blocks):
                for layer in LAYERS:
                    parent, _, name = layer.rpartition(".")
                    factored = self.factored(block.get_submodule(layer), bases, layer, number)
                    setattr(block.get_submodule(parent), name, factored)

    @abstractmethod
    def shared(self, like: Tensor, width: int, blocks: int) -> Bases:
        """What `blocks` blocks of width `width` share, in `like`'s precision and on its device."""

    @abstractmethod
    def factored(self, base: nn.Module, bases: Bases, layer: str, block: int) -> Factored:
        """`base`, the layer called `layer` of block number `block`, with its update."""


class Bases(nn.Module):
    """The two factors that every layer of every block shares: U (r, d) into the core's space, V (d, r) out of it."""

    def __init__(self, like: Tensor, width: int, rank: int, init: str) -> None:
        super().__init__()
        self.init = init
        self.into = nn.Parameter(self.drawn(like.new_empty(rank, width)))
        self.out = nn.Parameter(like.new_zeros(width, rank))  # zero, so the untrained model is the pre-trained one
        if init == "released":
            self.drawn(self.out)

    def drawn(self, factor: Tensor) -> Tensor:
        """`factor`, Xavier-uniform, or truncated N(0, 0.02) as the study's code leaves its linear layers."""
        if self.init == "released":
            return nn.init.trunc_normal_(factor, std=0.02)
        return nn.init.xavier_uniform_(factor)


def stages(model: nn.Module) -> list[tuple[int, list[nn.Module]]]:
    """The blocks' width with the blocks of that width, from the input on: one pair, or in a Swin one a stage."""
    sites(model, "attn.proj", "attn.qkv", "mlp.fc1", "mlp.fc2")  # refuses a model that lacks one, or a gated MLP
    found: dict[int, list[nn.Module]] = {}
    for site in sites(model, "attn.proj"):
        block = model.get_submodule(site.path.removesuffix(".attn.proj"))
        found.setdefault(site.module.out_features, []).append(block)  # type: ignore[arg-type]
    return list(found.items())


class Factored(Wrapper):
    """A linear layer (n d) -> (m d) with the update s (I_m x V) K (I_n x U), K = `core()` of shape (m r, n r).

    Wide inputs and outputs are chunks of the width d, each through the same U or V.
    """

    base: nn.Linear

    def __init__(self, base: nn.Module, bases: Bases, scale: float, dropout: float) -> None:
        super().__init__(base)
        width = bases.out.shape[0]
        if uneven := [side for side in (self.base.in_features, self.base.out_features) if side % width]:
            raise InputError(
                f"FacT cuts layers into chunks of the block's width {width}, and {uneven[0]} is no multiple of it."
            )
        self.bases, self.scale, self.dropout = bases, scale, nn.Dropout(dropout)

    @abstractmethod
    def core(self) -> Tensor:
        """K (m r, n r)."""

    def forward(self, x: Tensor) -> Tensor:  # (..., n d) -> (..., m d)
        rank, width = self.bases.into.shape
        inner = F.linear(x.unflatten(-1, (-1, width)), self.bases.into).flatten(-2)  # (..., n r)
        inner = self.dropout(F.linear(inner, self.alpha * self.scale * self.core()))  # (..., m r)
        return self.base(x) + F.linear(inner.unflatten(-1, (-1, rank)), self.bases.out).flatten(-2)

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        rank, width = self.bases.into.shape
        m, n = self.base.out_features // width, self.base.in_features // width
        core = (self.alpha * self.scale * self.core()).view(m, rank, n, rank)
        change = torch.einsum("op,mpnq,qi->moni", self.bases.out, core, self.bases.into)
        self.base.weight += change.reshape(self.base.weight.shape)
        return self.base
