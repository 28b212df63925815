"""BitFit: only the bias terms are trained (Ben Zaken et al., arXiv 2106.10199).

    y = W x + (b + db)          for every linear, convolution and norm of the backbone; db (d_out,), W frozen

All biases, those of the patch projection and the norms included, as the study does (arXiv 2409.16434). With L blocks of
width d and an MLP of 4 d that is (11 L + 2) d numbers (ViT-B/16: 102,912). The key part of each qkv bias cancels in the
softmax and gets no gradient. Starts at the pre-trained function; merging has nothing to fold.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Method, register
from petl_study.methods._parameters import biases


@register("bitfit", paper="Ben Zaken et al., arXiv 2106.10199")
@dataclass(frozen=True)
class BitFit(Method):
    def own(self, model: nn.Module) -> set[str]:
        return biases(model)
