"""Prefix tuning: learned keys and values in the attention of every block (Li & Liang, arXiv 2101.00190).

    y = softmax(q [k, K]^T / sqrt(h)) [v, V]      q, k, v (N, d) of the tokens   K, V (P, d)   h: width of a head

K and V are split into heads as k and v are, and K passes the block's norm of keys where it has one; position does not
matter to attention. The paper computes K and V by an MLP from a smaller matrix while it trains, and keeps them alone
afterwards. That MLP has 9.8 M numbers on ViT-B/16 (hidden width 512), more than a tenth of the backbone; here, as in
DualPrompt (arXiv 2204.04799) on the same backbone, K and V are trained themselves. On the weight-space path attention
to the prefix is weighted by a (its logit gets log a): 1 is the tuned model, 0 the pre-trained one.

K and V are N(0, 0.02), truncated, and no real keys and values: the start is near, not at, the pre-trained function, for
even a key of zeros takes its share of attention.

There is no published search on ViT: 5 and 20 are DualPrompt's lengths, 5, 10 and 50 the study's for VPT-deep; 100 would
pass its cap of 1.5 % of the backbone. Trains 2 P d L numbers (ViT-B/16, P = 10: 184,320). Does not merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, register, searched
from petl_study.methods._prompts import attention_bias, require_tokens
from petl_study.methods._sites import sites
from petl_study.methods._wrapper import Wrapper


@register("prefix_tuning", paper="Li & Liang, ACL 2021, arXiv 2101.00190")
@dataclass(frozen=True)
class PrefixTuning(Method):
    prefixes: int = searched(10, 5, 10, 20, 50, at_least=1)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        require_tokens(model, self.name)
        for attn, qkv in zip(sites(model, "attn"), sites(model, "attn.qkv"), strict=True):
            qkv.parent.qkv = Prefix(qkv.module, self.prefixes)
            setattr(attn.parent, attn.name, Prefixed(attn.module, self.prefixes))


class Prefix(Wrapper):
    """The qkv projection, which gives the last P tokens, mere places, the learned keys and values."""

    base: nn.Linear

    def __init__(self, base: nn.Module, prefixes: int) -> None:
        super().__init__(base)
        like = self.base.weight.new_empty(prefixes, self.base.out_features // 3)
        self.keys = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(like), std=0.02))  # K (P, d)
        self.values = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(like), std=0.02))  # V (P, d)

    def forward(self, x: Tensor) -> Tensor:  # (B, N + P, d) -> (B, N + P, 3 d)
        if self.alpha == 0:
            return self.base(x)
        qkv = self.base(x[:, : -len(self.keys)])
        learned = torch.cat([torch.zeros_like(self.keys), self.keys, self.values], dim=1).to(qkv)  # (P, 3 d)
        return torch.cat([qkv, learned.expand(len(x), -1, -1)], dim=1)


class Prefixed(Wrapper):
    """An attention with places for P keys and values behind its N tokens."""

    def __init__(self, base: nn.Module, prefixes: int) -> None:
        super().__init__(base)
        self.prefixes = prefixes

    def forward(self, x: Tensor, **kwargs: Tensor | bool | None) -> Tensor:  # (B, N, d) -> (B, N, d), N + P within
        if self.alpha == 0:
            return self.base(x, **kwargs)
        x = F.pad(x, (0, 0, 0, self.prefixes))
        if self.alpha != 1:
            kwargs["attn_mask"] = attention_bias(x, self.prefixes, self.alpha)
        return self.base(x, **kwargs)[:, : -self.prefixes]

    def unfoldable(self) -> str | None:
        return "its keys and values belong to no token, so no weight of the plain model can stand for them"
