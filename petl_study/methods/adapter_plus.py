"""Adapter+: one bottleneck behind every block, scaled channel by channel (Steitz & Roth, arXiv 2406.06820).

    y' = y + a g * (U gelu(D y + b_D) + b_U), y = block(x)      y (..., d)   D (r, d)   U (d, r)   g (d,)

a is 1 for the tuned model, 0 for the pre-trained one. This is the paper's post-adapter position: the adapter reads, and
adds to, the residual stream that the block leaves. D and U are N(0, 0.01), truncated at two deviations, biases zero and
g one, so the start is near the pre-trained function. Trains 2 r d + r + 2 d numbers a block (ViT-B/16, r = 8: 165,984,
with the heads of VTAB the published 0.20 M). Not linear in its input, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.methods._adapters import Behind, output_weight
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import wrap


@register("adapter_plus", paper="Steitz & Roth, CVPR 2024, arXiv 2406.06820")
@dataclass(frozen=True)
class AdapterPlus(Method):
    bottleneck: int = searched(8, 1, 2, 4, 8, 16, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(
            model, "block", lambda block: Behind(block, ChannelScaled(block, self.bottleneck, self.dropout), scale=1.0)
        )


class ChannelScaled(nn.Module):
    """g * (U gelu(D y + b_D) + b_U)."""

    def __init__(self, behind: nn.Module, bottleneck: int, dropout: float) -> None:
        super().__init__()
        end = output_weight(behind)
        self.down = nn.Linear(len(end), bottleneck).to(end)
        self.up = nn.Linear(bottleneck, len(end)).to(end)
        self.gain = nn.Parameter(end.new_ones(len(end)))
        self.dropout = nn.Dropout(dropout)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, y: Tensor) -> Tensor:
        return self.gain * self.up(self.dropout(F.gelu(self.down(y))))
