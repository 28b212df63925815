"""Modules in which a small network stands behind, before or beside a module of the backbone."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.methods._linear import is_linear, matrix
from petl_study.methods._sites import channels_first
from petl_study.methods._wrapper import Wrapper

INITS = ("xavier", "xavier_zero", "kaiming_zero", "released")  # the up-projection's zero makes the start exact


class Bottleneck(nn.Module):
    """The common adapter: up(relu(down(x))), x (..., d), down (r, d) with bias (r,), up (d, r) with bias (d,)."""

    def __init__(self, beside: nn.Module, bottleneck: int, init: str, dropout: float) -> None:
        """An adapter as wide as what `beside` ends with, on its device and in its precision."""
        super().__init__()
        end = output_weight(beside)
        self.down = nn.Linear(len(end), bottleneck).to(end)
        self.up = nn.Linear(bottleneck, len(end)).to(end)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.down, self.up):
            nn.init.zeros_(layer.bias)
        if init == "released":  # the backbone's initialiser ran over the study's adapters, whatever they had been given
            for layer in (self.down, self.up):
                nn.init.trunc_normal_(layer.weight, std=0.02)
            return
        if init == "kaiming_zero":
            nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        else:
            nn.init.xavier_uniform_(self.down.weight)
        if init == "xavier":
            nn.init.xavier_uniform_(self.up.weight)
        else:
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.dropout(F.relu(self.down(x))))


class _Adapted(Wrapper):
    def __init__(self, base: nn.Module, adapter: nn.Module, scale: float) -> None:
        super().__init__(base)
        self.adapter, self.scale = adapter, scale
        self.first = channels_first(base)

    def change(self, x: Tensor) -> Tensor:
        """What the adapter adds, on the path: x and the result are as `base` has them, the adapter's channels last."""
        step = self.alpha * self.scale
        return step * self.adapter(x.movedim(1, -1)).movedim(-1, 1) if self.first else step * self.adapter(x)

    def unfoldable(self) -> str | None:
        return "its adapter is not linear in the module's input"


class Behind(_Adapted):
    """y + s adapter(y), y = base(x): the adapter reads what the module says."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = self.base(x, *args, **kwargs)
        return y + self.change(y)


class Beside(_Adapted):
    """base(x) + s adapter(x): the adapter reads what the module reads."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.base(x, *args, **kwargs) + self.change(x)


def output_layer(module: nn.Module) -> nn.Module:
    """The linear layer that an attention, an MLP or a block ends with."""
    return [layer for layer in module.modules() if is_linear(layer)][-1]


def output_weight(module: nn.Module) -> Tensor:
    """The weight (d, i) of that layer: its rows are the block's channels."""
    return matrix(output_layer(module))
