"""Full fine-tuning: every parameter of the backbone is trained (the customary baseline; arXiv 1805.08974).

    p -> p + dp         for every parameter p of the backbone; dp of p's shape, zero at the start

Trains all of them (ViT-B/16: 85,798,656). Starts at the pre-trained function; merging has nothing to fold.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Method, register


@register("full", paper="the customary baseline; Kornblith et al., arXiv 1805.08974")
@dataclass(frozen=True)
class Full(Method):
    def own(self, model: nn.Module) -> set[str]:
        return {name for name, _ in model.named_parameters()}
