"""Learned tokens beside the backbone's own, and how much attention they get."""

from __future__ import annotations

import math

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._wrapper import Wrapper


def require_tokens(model: nn.Module, method: str) -> None:
    """Raise unless the tokens of `model` all attend to each other: a grid or a window has no room for another."""
    if not isinstance(model, VisionTransformer):
        raise InputError(
            f"{method}: prompts need tokens that all attend to each other, as in a VisionTransformer;"
            f" a {type(model).__name__} has none."
        )


def draw_prompts(model: nn.Module, prompts: int) -> nn.Parameter:
    """(P, d), uniform within sqrt(6 / (3 p^2 + d)) for patches of p x p: Xavier's bound of the patch projection."""
    projection: nn.Conv2d = model.patch_embed.proj  # type: ignore[assignment, union-attr]
    d, *patch = projection.weight.shape
    bound = math.sqrt(6 / (math.prod(patch) + d))
    return nn.Parameter(projection.weight.new_empty(prompts, d).uniform_(-bound, bound))


def attention_bias(x: Tensor, count: int, weight: float) -> Tensor:
    """(1, 1, N, N), for tokens x (B, N, d): attention to the last `count` is weighted by `weight`, and absent at 0."""
    bias = x.new_zeros(1, 1, 1, x.shape[1])
    bias[..., -count:] = math.log(weight) if weight else -math.inf
    return bias.expand(-1, -1, x.shape[1], -1)


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
            kwargs["attn_mask"] = attention_bias(x, self.count, self.alpha)
        x = self.base(x, **kwargs)
        return x[:, : -self.count] if self.drops else x

    def unfoldable(self) -> str | None:
        return "prompts are tokens, which no weight of the plain model can stand for"
