"""Pfeiffer adapter: a bottleneck behind every MLP (Pfeiffer et al., arXiv 2007.07779).

    m = mlp(norm2(h))           h (..., d)
    y = h + m + a s (U relu(D m + b_D) + b_U)       D (r, d)   U (d, r)   a: 1 tuned, 0 pre-trained   s: scale

As in the study (arXiv 2409.16434) U is zero, so the untrained model is the pre-trained one, and D is Xavier-uniform;
`init="released"` is what the study's code arrives at: N(0, 0.02), truncated, for both. Trains 2 r d + r + d numbers a
block (ViT-B/16, r = 64: 1,189,632). Not linear in its input, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.errors import unknown
from petl_study.methods._adapters import INITS, Behind, Bottleneck
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import wrap


@register("pfeiffer_adapter", paper="Pfeiffer et al., arXiv 2007.07779")
@dataclass(frozen=True)
class PfeifferAdapter(Method):
    bottleneck: int = searched(8, 4, 8, 16, 32, 64, at_least=1)
    scale: float = searched(0.1, 0.01, 0.1, 1.0, 10.0)
    init: str = fixed("xavier_zero")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, "mlp", lambda m: Behind(m, Bottleneck(m, self.bottleneck, self.init, self.dropout), self.scale))
