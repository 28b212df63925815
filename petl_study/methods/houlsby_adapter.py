"""Houlsby adapter: a bottleneck behind every attention and every MLP (Houlsby et al., arXiv 1902.00751).

    h = x + t + a s A1(t), t = attn(norm1(x))       A(z) = U relu(D z + b_D) + b_U, z (..., d)   D (r, d)   U (d, r)
    y = h + m + a s A2(m), m = mlp(norm2(h))        a: 1 tuned, 0 pre-trained   s: scale

As in the study (arXiv 2409.16434) all projections are Xavier-uniform: the start is away from the pre-trained function
by s times a random map. `init="released"` is what the study's code arrives at: N(0, 0.02), truncated. Trains
4 r d + 2 r + 2 d numbers a block (ViT-B/16, r = 8: 313,536). Not linear in its input, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.errors import unknown
from petl_study.methods._adapters import INITS, Behind, Bottleneck
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._sites import wrap


@register("houlsby_adapter", paper="Houlsby et al., arXiv 1902.00751")
@dataclass(frozen=True)
class HoulsbyAdapter(Method):
    bottleneck: int = searched(8, 4, 8, 16, 32, at_least=1)
    scale: float = searched(0.1, 0.01, 0.1, 1.0, 10.0)
    init: str = fixed("xavier")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for site in ("attn", "mlp"):
            wrap(model, site, lambda m: Behind(m, Bottleneck(m, self.bottleneck, self.init, self.dropout), self.scale))
