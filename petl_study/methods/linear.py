"""Linear probing: the backbone as it is, a new classifier on its output (arXiv 1805.08974).

    logits = W f(x) + b         f frozen, f(x) (B, d)   W (C, d)   b (C,)

Trains nothing of the backbone: 0 parameters beside the classifier. Merging has nothing to fold.
"""

from __future__ import annotations

from dataclasses import dataclass

from petl_study.methods._base import Method, register


@register("linear", paper="the customary baseline; Kornblith et al., arXiv 1805.08974")
@dataclass(frozen=True)
class Linear(Method):
    pass
