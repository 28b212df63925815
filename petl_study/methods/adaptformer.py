"""AdaptFormer: a bottleneck beside norm and MLP (Chen et al., arXiv 2205.13535, eq. 3).

    y = h + mlp(norm2(h)) + a s (U relu(D h + b_D) + b_U)       h (..., d)   D (r, d)   U (d, r)

a is 1 for the tuned model, 0 for the pre-trained one; s is the hyperparameter `scale`.

The adapter reads h before norm2. D is Kaiming-uniform and U zero, so the untrained model is the pre-trained one;
`init="released"` is what the study's code (arXiv 2409.16434) arrives at: N(0, 0.02), truncated, for both. Trains
2 r d + r + d numbers a block (ViT-B/16, r = 16: 304,320). Not linear in its input, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from timm.models.convnext import ConvNeXtBlock
from torch import nn

from petl_study.errors import unknown
from petl_study.methods._adapters import INITS, Beside, Bottleneck
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._halves import halves
from petl_study.methods._sites import sites


@register("adaptformer", paper="Chen et al., arXiv 2205.13535")
@dataclass(frozen=True)
class AdaptFormer(Method):
    bottleneck: int = searched(16, 4, 16, 32, at_least=1)
    scale: float = searched(0.1, 0.05, 0.1, 0.2)
    init: str = fixed("kaiming_zero")
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise unknown("init", self.init, INITS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        for block in sites(model, "block"):
            if not isinstance(block.module, ConvNeXtBlock):  # its one branch ends as a second half does
                halves(block.module)  # refuses a block whose norm stands elsewhere
        for norm, mlp in zip(sites(model, "norm2"), sites(model, "mlp"), strict=True):
            adapter = Bottleneck(mlp.module, self.bottleneck, self.init, self.dropout)
            # The norm moves into the branch, so that what stands beside it can read what the norm reads.
            setattr(mlp.parent, mlp.name, Beside(nn.Sequential(norm.module, mlp.module), adapter, self.scale))
            setattr(norm.parent, norm.name, nn.Identity())
