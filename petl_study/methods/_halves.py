"""A block as its two halves, mixing of positions and then the MLP, for methods that act on the stream between them."""

from __future__ import annotations

from collections.abc import Callable

from timm.models.mlp_mixer import MixerBlock, ResBlock
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from petl_study.errors import InputError

Half = Callable[..., Tensor]


def halves(block: nn.Module) -> tuple[Half, Half]:
    """Two functions whose composition is `block`: x + attention(norm1(x)), then x + mlp(norm2(x)).

    Both map the stream to the stream, (B, N, d), or (B, H, W, d) in a Swin; the first takes the keyword arguments that
    the block takes.

    Raises
    ------
    InputError
        The block has no such halves: one residual branch, or another order of norm and branch.
    """
    for kind, halve in _KINDS.items():
        if type(block) is kind:
            return halve(block)
    raise InputError(
        f"a {type(block).__name__} is not one residual branch that mixes positions and then an MLP, each behind its"
        f" norm; of timm's blocks these are: {', '.join(kind.__name__ for kind in _KINDS)}."
    )


def _vit(b: Block) -> tuple[Half, Half]:
    return (
        lambda x, **kwargs: x + b.drop_path1(b.ls1(b.attn(b.norm1(x), **kwargs))),
        lambda x: x + b.drop_path2(b.ls2(b.mlp(b.norm2(x)))),
    )


def _swin(b: SwinTransformerBlock) -> tuple[Half, Half]:
    return (
        lambda x: x + b.drop_path1(b._attn(b.norm1(x))),  # windows are cut and shifted in there
        lambda x: x + b.drop_path2(b.mlp(b.norm2(x))),
    )


def _mixer(b: MixerBlock) -> tuple[Half, Half]:
    return (
        lambda x: x + b.drop_path(b.mlp_tokens(b.norm1(x).mT).mT),
        lambda x: x + b.drop_path(b.mlp_channels(b.norm2(x))),
    )


def _resmlp(b: ResBlock) -> tuple[Half, Half]:
    return (
        lambda x: x + b.drop_path(b.ls1 * b.linear_tokens(b.norm1(x).mT).mT),
        lambda x: x + b.drop_path(b.ls2 * b.mlp_channels(b.norm2(x))),
    )


_KINDS: dict[type[nn.Module], Callable[..., tuple[Half, Half]]] = {
    Block: _vit,
    SwinTransformerBlock: _swin,
    MixerBlock: _mixer,
    ResBlock: _resmlp,
}
