"""LayerNorm tuning: only the norms' weights and biases are trained (as in the study, arXiv 2409.16434).

    y = (x - mean) / std * (w + dw) + (b + db)      for norm1 and norm2 of every block and the final norm; dw, db (d,)

With L blocks of width d that is (4 L + 2) d numbers (ViT-B/16: 38,400). Starts at the pre-trained function; merging has
nothing to fold.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Method, register
from petl_study.methods._parameters import norms


@register("layernorm", paper="as in the study, arXiv 2409.16434")
@dataclass(frozen=True)
class LayerNorm(Method):
    def own(self, model: nn.Module) -> set[str]:
        return norms(model)
