"""VPT-shallow: learned prompts join the tokens at the first block (Jia et al., arXiv 2203.12119, eq. 4 and 5).

    [x_1, Z_1] = block_1([x_0, P])          x (N, d) tokens   P (prompts, d)
    [x_i, Z_i] = block_i([x_{i-1}, Z_{i-1}])        i = 2 ... L; the head reads x_L alone

Prompts get no position embedding and stand behind the patch tokens; attention does not mind where. They are drawn
uniformly within Xavier's bound of the patch projection, so the start is away from the pre-trained function.
`keep=False` drops them after the first block, as the study's code (arXiv 2409.16434) does. Trains prompts * d numbers
(ViT-B/16, 100 prompts: 76,800). Prompts are no weights of the plain model, so it does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._prompts import Prompted, draw_prompts, require_tokens
from petl_study.methods._sites import sites


@register("vpt_shallow", paper="Jia et al., arXiv 2203.12119")
@dataclass(frozen=True)
class VPTShallow(Method):
    prompts: int = searched(10, 5, 10, 50, 100, 200, at_least=1)
    keep: bool = fixed(True)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        require_tokens(model, self.name)
        blocks = sites(model, "block") if self.keep else sites(model, "block")[:1]
        prompts = draw_prompts(model, self.prompts)
        for site in blocks:
            added, drops = prompts if site is blocks[0] else None, site is blocks[-1]
            setattr(site.parent, site.name, Prompted(site.module, added, self.prompts, self.dropout, drops))
