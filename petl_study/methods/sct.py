"""SCT: a linear map of the few channels that matter to the task (Zhao et al., arXiv 2309.08513).

    f_I <- f_I + a s (W f_I + b)        f (N, d) features   I: K of d channels   W (K, K)   b (K,)

a is 1 for the tuned model, 0 for the pre-trained one; s is the hyperparameter `scale`: the released configurations name
one for each task, which the released code never applies, so the published numbers are those of 1. I is chosen in each
block from the task's own training images (Sec. 3.2): for each class the L2 norm of every channel over that class's
images and patch tokens, averaged over classes; the K largest. `position` is where: ``attn``, the residual stream
between attention and norm2; ``mlp``, the MLP's output, with channels chosen on the block's output; ``qkv``, q and v,
each with channels and a map of its own. All tokens are mapped, though only patches are looked at for choosing. W is
N(0, 0.02), truncated, and b zero: the start is near the pre-trained function. Trains K^2 + K numbers a block, for
``qkv`` twice that (ViT-B/16, K = 96: 111,744). ``mlp`` and ``qkv`` fold into the layer before; the residual stream has
none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.errors import InputError, unknown
from petl_study.methods._adapters import output_layer, output_weight
from petl_study.methods._base import Data, Method, fixed, register
from petl_study.methods._halves import halves
from petl_study.methods._sites import channels_first, sites
from petl_study.methods._task import batches, evaluating
from petl_study.methods._wrapper import Wrapper

POSITIONS = ("attn", "mlp", "qkv")


@register("sct", paper="Zhao et al., IJCV 2023, arXiv 2309.08513")
@dataclass(frozen=True)
class SCT(Method):
    channels: int = fixed(0, at_least=0)  # K; 0 is an eighth of the width, as published
    position: str = fixed("attn")
    scale: float = fixed(1.0)

    def __post_init__(self) -> None:
        if self.position not in POSITIONS:
            raise unknown("position of sct", self.position, POSITIONS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        at = {"attn": "block", "mlp": "mlp", "qkv": "attn.qkv"}[self.position]
        places = sites(model, at)
        if self.position == "attn":
            for place in places:
                halves(place.module)  # refuses blocks that have no stream between two branches
        for place, scores in zip(places, importance(model, self.position, data), strict=True):
            width = scores.shape[-1]  # a Swin's stages differ
            count = self.channels or width // 8
            if count > width:
                raise InputError(f"sct: channels={count} is more than the {width} that there are.")
            chosen = [salient(score, count) for score in scores]
            if self.position == "qkv":
                chosen[1] = chosen[1] + 2 * width  # v's rows come last of three
            wrapper = SalientBlock if self.position == "attn" else SalientOutput
            setattr(place.parent, place.name, wrapper(place.module, chosen, self.scale))


# ----------------------------------------------------------------------------------------------------------- selection


def importance(model: nn.Module, position: str, data: Data | None) -> list[Tensor]:
    """Class-aware importance of every channel (Sec. 3.2), a tensor (parts, d) a block: two parts for q and v, else one.

    The model is run as it is, in eval mode; nothing of it changes.
    """
    seen: list[Tensor] = []  # features (parts, B, positions, d), a block each

    def look(*parts: Tensor, first: bool) -> None:
        moved = [f.movedim(1, -1) if first else f for f in parts]
        # Windows of a Swin are one image after the other.
        seen.append(torch.stack([f.reshape(batch, -1, f.shape[-1])[:, prefix:] for f in moved]))

    if position == "attn":
        hooks = [
            s.module.register_forward_pre_hook(lambda _, i: look(i[0], first=False)) for s in sites(model, "norm2")
        ]
    elif position == "mlp":
        hooks = [
            s.module.register_forward_hook(lambda b, _, output: look(output, first=channels_first(b)))
            for s in sites(model, "block")
        ]
    else:
        hooks = [
            s.module.register_forward_hook(lambda _, __, output: look(*output.chunk(3, dim=-1)[::2], first=False))
            for s in sites(model, "attn.qkv")
        ]
    prefix = getattr(model, "num_prefix_tokens", 0)
    sums: dict[int, list[Tensor]] = {}  # class: squares summed over its images and patches, (parts, d) a block
    try:
        with evaluating(model), torch.no_grad():
            for images, labels in batches(model, "sct", data):
                seen.clear()
                batch = len(images)
                model(images)
                squares = [f.square().sum(dim=2) for f in seen]  # (parts, B, d) a block
                for label in labels.unique().tolist():
                    of_class = [s[:, labels == label].sum(dim=1) for s in squares]
                    before = sums.get(label, [torch.zeros_like(s) for s in of_class])
                    sums[label] = [a + b for a, b in zip(before, of_class, strict=True)]
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.stack(of_block).sqrt().mean(dim=0) for of_block in zip(*sums.values(), strict=True)]


def salient(scores: Tensor, count: int) -> Tensor:
    """The `count` channels with the highest of `scores` (d,), in ascending order; of equals the earlier."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


# ------------------------------------------------------------------------------------------------------------- modules


class _Salient(Wrapper):
    """P groups of K channels, each with a map of its own."""

    channels: Tensor

    def __init__(self, base: nn.Module, channels: list[Tensor], scale: float) -> None:
        super().__init__(base)
        like = next(base.parameters())
        self.scale, self.first = scale, channels_first(base)
        self.register_buffer("channels", torch.stack(channels).to(like.device))  # I (P, K)
        groups, count = self.channels.shape
        self.weight = nn.Parameter(nn.init.trunc_normal_(like.new_empty(groups, count, count), std=0.02))  # W (P, K, K)
        self.bias = nn.Parameter(like.new_zeros(groups, count))  # b (P, K)

    def mapped(self, f: Tensor) -> Tensor:
        """Features (..., d) with the salient ones changed."""
        chosen = f[..., self.channels]  # (..., P, K)
        change = torch.einsum("...pk,pok->...po", chosen, self.weight) + self.bias
        step = (self.alpha * self.scale * change).flatten(-2)
        return f.index_add(-1, self.channels.flatten(), step.to(f.dtype))


class SalientOutput(_Salient):
    """A module whose output's salient channels are mapped: it can be folded into its last linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        return self.mapped(y.movedim(1, -1)).movedim(-1, 1) if self.first else self.mapped(y)

    def unfoldable(self) -> str | None:
        return None if output_layer(self.base).bias is not None else "there is no bias to fold the map's into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        weight = output_weight(self.base)
        bias: Tensor = output_layer(self.base).bias  # type: ignore[assignment]
        alone = self.mapped(torch.zeros_like(bias))  # what the map adds to a zero feature: (d,)
        weight.copy_(self.mapped(weight.T).T - alone[:, None])
        bias.copy_(self.mapped(bias))
        return self.base


class SalientBlock(_Salient):
    """A block with the map on the stream between its two halves."""

    def forward(self, x: Tensor, **kwargs: Tensor | bool | None) -> Tensor:
        mixed, finished = halves(self.base)
        return finished(self.mapped(mixed(x, **kwargs)))

    def unfoldable(self) -> str | None:
        return "the residual stream between attention and norm2 has no weights (position mlp or qkv can be merged)"
