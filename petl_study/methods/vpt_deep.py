"""VPT-deep: learned prompts join the tokens at every block and leave after it (Jia et al., arXiv 2203.12119, eq. 6).

    [x_i, _] = block_i([x_{i-1}, P_i])      x (N, d) tokens   P_i (prompts, d)   i = 1 ... L

Prompts get no position embedding and stand behind the patch tokens; attention does not mind where. They are drawn
uniformly within Xavier's bound of the patch projection, so the start is away from the pre-trained function. Trains
L P d numbers (ViT-B/16, 10 prompts: 92,160). Prompts are no weights of the plain model, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._prompts import Prompted, draw_prompts, require_tokens
from petl_study.methods._sites import wrap


@register("vpt_deep", paper="Jia et al., arXiv 2203.12119")
@dataclass(frozen=True)
class VPTDeep(Method):
    prompts: int = searched(10, 5, 10, 50, 100, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        require_tokens(model, self.name)

        def prompted(block: nn.Module) -> Prompted:
            return Prompted(block, draw_prompts(model, self.prompts), self.prompts, self.dropout, drops=True)

        wrap(model, "block", prompted)
