"""Blocks whose tokens see prompts beside each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from petl_study.methods._wrapper import Wrapper


def draw_prompts(model: nn.Module, prompts: int) -> nn.Parameter:
    """(P, d), uniform within sqrt(6 / (3 p^2 + d)) for patches of p x p: Xavier's bound of the patch projection."""
    projection: nn.Conv2d = model.patch_embed.proj  # type: ignore[assignment, union-attr]
    d, *patch = projection.weight.shape
    bound = math.sqrt(6 / (math.prod(patch) + d))
    return nn.Parameter(projection.weight.new_empty(prompts, d).uniform_(-bound, bound))


class Prompted(Wrapper):
    """A block that P prompts pass through behind the N tokens: it may add them, and may drop them afterwards.

    On the weight-space path attention to a prompt is weighted by `alpha` (its logit gets log alpha), so that the path
    is continuous and ends, at 0, where the prompts are absent.
    """

    def __init__(self, block: nn.Module, prompts: nn.Parameter | None, count: int, dropout: float, drops: bool) -> None:
        """`prompts` (P, d): those to add, None where the `count` prompts of an earlier block come in."""
        super().__init__(block)
        self.prompts, self.count, self.drops = prompts, count, drops
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, **kwargs: Tensor | bool | None) -> Tensor:  # (B, N, d) -> (B, N, d), N + P within
        if self.alpha == 0:
            return self.base(x, **kwargs)
        if self.prompts is not None:
            x = torch.cat([x, self.dropout(self.prompts).expand(len(x), -1, -1)], dim=1)
        if self.alpha != 1:
            bias = x.new_zeros(1, 1, 1, x.shape[1])
            bias[..., -self.count :] = math.log(self.alpha)
            kwargs["attn_mask"] = bias.expand(-1, -1, x.shape[1], -1)
        x = self.base(x, **kwargs)
        return x[:, : -self.count] if self.drops else x

    def unfoldable(self) -> str | None:
        return "prompts are tokens, which no weight of the plain model can stand for"
