"""VQT: learned queries read every block, and what they read joins the feature (Tu et al., arXiv 2212.03220).

    [x_i, Y_i] = block_i([x_{i-1}, Q_i])      x (N, d) tokens   Q, Y (T, d) queries, outputs   i = 1 ... L
    f' = (1 - a) f + a (w_0 f + |f| sum_it w_it y_it / |y_it|)      f (d,) pooled feature   w (T L + 1,), w_0 last

a is 1 for the tuned model, 0 for the pre-trained one. Keys and values come from x alone, so the queries leave the
tokens as they are. The paper's code brings f and the outputs of each block to unit length and concatenates them before
a classifier of its own; here, as in the study (arXiv 2409.16434), the classifier stays d -> C and each of the T L + 1
vectors has a learned weight. All have the length of f, which a pre-trained classifier expects. w starts at w_0 = 1 and
zero elsewhere: the start is the pre-trained function. Queries are uniform within Xavier's bound of the patch
projection, as published. T is searched over what the paper's code uses: 1, 10 and 20, by task. Trains T d L + T L + 1
numbers (ViT-B/16, T = 10: 92,281). As in the paper's code, the backward pass runs through the tokens beside the
queries, though they need no gradient: it takes the memory of VPT-deep. Does not merge.

`released=True` is what the study's code computes: for Y_i it takes block i's first T tokens, so that queries matter to
nothing; it normalises each channel over these T, and f to its signs. Its w is N(0, 0.02), truncated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._prompts import attention_bias, draw_prompts, require_tokens
from petl_study.methods._sites import sites
from petl_study.methods._wrapper import Wrapper


@register("vqt", paper="Tu et al., CVPR 2023, arXiv 2212.03220")
@dataclass(frozen=True)
class VQT(Method):
    queries: int = searched(1, 1, 10, 20, at_least=1)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)  # on the queries, while training
    released: bool = fixed(False)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        require_tokens(model, self.name)
        if not model.global_pool:
            raise InputError(
                "vqt adds to the pooled feature, but the model has global_pool='' and pools nothing;"
                " make it with global_pool='avg'."
            )
        blocks = sites(model, "block")
        for i, site in enumerate(blocks):
            setattr(site.parent, site.name, Queried(site.module, draw_prompts(model, self.queries), i, self))
        read = Read()
        model.norm = Parted(model.norm, len(blocks) * self.queries, read)  # type: ignore[arg-type]
        model.head_drop = Combined(model.head_drop, blocks[0].module, len(blocks), read, self)  # type: ignore[arg-type]


class Read:
    """What the queries read in the images that pass through a model now, (B, L T, d)."""

    outputs: Tensor

    def __deepcopy__(self, memo: dict[int, object]) -> Read:
        return Read()  # tensors amid a graph cannot be copied, and the next images bring their own


class Queried(Wrapper):
    """Block i, which T queries read. Their outputs travel behind the tokens, so that nothing is kept on the side that a
    checkpointed block, run again in the backward pass, would keep twice."""

    def __init__(self, block: nn.Module, queries: nn.Parameter, i: int, method: VQT) -> None:
        super().__init__(block)
        self.queries = queries  # Q_i (T, d)
        self.behind = i * len(queries)
        self.dropout = nn.Dropout(method.dropout)
        self.released = method.released

    def forward(self, x: Tensor) -> Tensor:  # (B, N + i T, d) -> (B, N + (i + 1) T, d)
        if self.alpha == 0:
            return self.base(x)
        n, t = x.shape[1] - self.behind, len(self.queries)
        x, before = x.split([n, self.behind], dim=1)
        x = torch.cat([x, self.dropout(self.queries.expand(len(x), -1, -1))], dim=1)
        x, outputs = self.base(x, attn_mask=attention_bias(x, t, 0)).split([n, t], dim=1)
        return torch.cat([x, before, x[:, :t] if self.released else outputs], dim=1)

    def unfoldable(self) -> str | None:
        return "its queries are tokens, which no weight of the plain model can stand for"


class Parted(Wrapper):
    """The norm after the last block: it sees the tokens alone, and what travelled behind them is put aside."""

    def __init__(self, norm: nn.Module, behind: int, read: Read) -> None:
        super().__init__(norm)
        self.behind, self.read = behind, read

    def forward(self, x: Tensor) -> Tensor:  # (B, N + L T, d) -> (B, N, d)
        if self.alpha == 0:
            return self.base(x)
        x, self.read.outputs = x.split([x.shape[1] - self.behind, self.behind], dim=1)
        return self.base(x)


class Combined(Wrapper):
    """The classifier's dropout, whose input is the pooled feature in every way of pooling."""

    def __init__(self, dropout: nn.Module, block: nn.Module, blocks: int, read: Read, method: VQT) -> None:
        super().__init__(dropout)
        self.read, self.blocks, self.released = read, blocks, method.released
        weight = next(block.parameters()).new_zeros(blocks * method.queries + 1)
        if self.released:
            nn.init.trunc_normal_(weight, std=0.02)
        else:
            weight[-1] = 1
        self.weight = nn.Parameter(weight)  # w (T L + 1,)

    def forward(self, f: Tensor) -> Tensor:  # (B, d) -> (B, d)
        if self.alpha == 0:
            return self.base(f)
        if self.released:
            by_block = self.read.outputs.unflatten(1, (self.blocks, -1))  # (B, L, T, d)
            parts = [F.normalize(by_block, dim=2).flatten(1, 2), f.sign()[:, None]]
        else:
            length = f.norm(dim=1, keepdim=True)
            parts = [F.normalize(self.read.outputs, dim=2) * length[:, None], f[:, None]]
        combined = (self.weight[:, None] * torch.cat(parts, dim=1)).sum(dim=1)
        return self.base(torch.lerp(f.to(combined.dtype), combined, self.alpha))
