"""SCT: a linear map of the few channels that matter to the task (Zhao et al., arXiv 2309.08513).

    f_I <- f_I + a (W f_I + b)      f (N, d) features   I: K of d channels   W (K, K)   b (K,)

a is 1 for the tuned model, 0 for the pre-trained one. I is chosen in each block from the task's own training images
(Sec. 3.2): for each class the L2 norm of every channel over that class's images and patch tokens, averaged over
classes; the K largest. `position` is where: ``attn``, the residual stream between attention and norm2; ``mlp``, the
MLP's output, with channels chosen on the block's output; ``qkv``, q and v, each with channels and a map of its own. All
tokens are mapped, though only patches are looked at for choosing. W is N(0, 0.02), truncated, and b zero: the start is
near the pre-trained function. Trains K^2 + K numbers a block, for ``qkv`` twice that (ViT-B/16, K = 96: 111,744).
``mlp`` and ``qkv`` fold into the layer before; the residual stream has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.errors import InputError, unknown
from petl_study.methods._adapters import output_layer
from petl_study.methods._base import Data, Method, fixed, register
from petl_study.methods._sites import Site, sites
from petl_study.methods._wrapper import Wrapper

POSITIONS = ("attn", "mlp", "qkv")


@register("sct", paper="Zhao et al., IJCV 2023, arXiv 2309.08513")
@dataclass(frozen=True)
class SCT(Method):
    channels: int = fixed(0, at_least=0)  # K; 0 is an eighth of the width, as published
    position: str = fixed("attn")

    def __post_init__(self) -> None:
        if self.position not in POSITIONS:
            raise unknown("position of sct", self.position, POSITIONS)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        if data is None:
            raise InputError("sct looks at the task first: give apply the training batches, apply(model, data=...).")
        blocks = sites(model, "block")
        norms = importance(model, blocks, self.position, data)  # (L, parts, d)
        count = self.channels or norms.shape[-1] // 8
        if count > norms.shape[-1]:
            raise InputError(f"sct: channels={count} is more than the {norms.shape[-1]} that there are.")
        for site, scores in zip(blocks, norms, strict=True):
            chosen = [salient(score, count) for score in scores]
            if self.position == "attn":
                setattr(site.parent, site.name, SalientBlock(site.module, chosen[0]))
            elif self.position == "mlp":
                site.module.mlp = SalientOutput(site.module.mlp, chosen)  # type: ignore[arg-type]
            else:
                query, value = chosen
                attn = site.module.attn
                attn.qkv = SalientOutput(attn.qkv, [query, value + 2 * norms.shape[-1]])  # type: ignore


# ----------------------------------------------------------------------------------------------------------- selection


def importance(model: nn.Module, blocks: list[Site], position: str, data: Data) -> Tensor:
    """Class-aware importance of every channel (Sec. 3.2) in each of L blocks: (L, parts, d), two parts for q and v.

    The model is run as it is, in eval mode; nothing of it changes.
    """
    seen: list[Tensor] = []
    look = {
        "attn": lambda b: b.norm2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][None])),
        "mlp": lambda b: b.register_forward_hook(lambda _, __, output: seen.append(output[None])),
        "qkv": lambda b: b.attn.qkv.register_forward_hook(
            lambda _, __, output: seen.append(torch.stack(output.chunk(3, dim=-1)[::2]))
        ),
    }[position]
    hooks = [look(site.module) for site in blocks]
    like = next(model.parameters())
    training, prefix = model.training, getattr(model, "num_prefix_tokens", 0)
    sums: dict[int, Tensor] = {}  # class: squares summed over its images and patches, (L, parts, d)
    try:
        model.eval()
        with torch.no_grad():
            for images, labels in data:
                seen.clear()
                model(images.to(like))
                squares = torch.stack([f[:, :, prefix:].square().sum(dim=2) for f in seen])  # (L, parts, B, d)
                for label in labels.unique().tolist():
                    of_class = squares[:, :, labels.to(like.device) == label].sum(dim=2)
                    sums[label] = sums.get(label, torch.zeros_like(of_class)) + of_class
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not sums:
        raise InputError("sct: data holds no batch, so there is nothing to choose channels by.")
    return torch.stack([total.sqrt() for total in sums.values()]).mean(dim=0)


def salient(scores: Tensor, count: int) -> Tensor:
    """The `count` channels with the highest of `scores` (d,), in ascending order; of equals the earlier."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


# ------------------------------------------------------------------------------------------------------------- modules


class _Salient(Wrapper):
    """P groups of K channels, each with a map of its own."""

    channels: Tensor

    def __init__(self, base: nn.Module, channels: list[Tensor]) -> None:
        super().__init__(base)
        like = next(base.parameters())
        self.register_buffer("channels", torch.stack(channels).to(like.device))  # I (P, K)
        groups, count = self.channels.shape
        self.weight = nn.Parameter(nn.init.trunc_normal_(like.new_empty(groups, count, count), std=0.02))  # W (P, K, K)
        self.bias = nn.Parameter(like.new_zeros(groups, count))  # b (P, K)

    def mapped(self, f: Tensor) -> Tensor:
        """Features (..., d) with the salient ones changed."""
        chosen = f[..., self.channels]  # (..., P, K)
        change = torch.einsum("...pk,pok->...po", chosen, self.weight) + self.bias
        return f.index_add(-1, self.channels.flatten(), self.alpha * change.flatten(-2))


class SalientOutput(_Salient):
    """A module whose output's salient channels are mapped: it can be folded into its last linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.mapped(self.base(x))

    def unfoldable(self) -> str | None:
        return None if output_layer(self.base).bias is not None else "there is no bias to fold the map's into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        layer = output_layer(self.base)
        layer.weight.copy_(self.mapped(layer.weight.T).T - self._bias_alone()[:, None])
        layer.bias.copy_(self.mapped(layer.bias))
        return self.base

    def _bias_alone(self) -> Tensor:
        """What `mapped` adds to a zero feature: (d,)."""
        return self.mapped(torch.zeros_like(output_layer(self.base).bias))


class SalientBlock(_Salient):
    """A pre-norm block, x + attn(norm1(x)) and then the MLP, with the map on the stream between the two."""

    def __init__(self, base: nn.Module, channels: Tensor) -> None:
        super().__init__(base, [channels])

    def forward(self, x: Tensor, **kwargs: Tensor | bool | None) -> Tensor:
        block = self.base
        x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x), **kwargs)))  # type: ignore[operator]
        x = self.mapped(x)
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))  # type: ignore[operator]

    def unfoldable(self) -> str | None:
        return "the residual stream between attention and norm2 has no weights (position mlp or qkv can be merged)"
