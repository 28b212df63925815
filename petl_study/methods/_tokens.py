"""How a backbone lays out its tokens: class and register tokens first, then patches row by row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

from petl_study.errors import InputError


class Grid:
    """Rows and columns of the patches of the image that passes through a model now."""

    def __init__(self, embed: nn.Module, prefix: int) -> None:
        self.prefix = prefix
        self.shape: tuple[int, int] = tuple(embed.grid_size)  # type: ignore[arg-type]
        self.patch: tuple[int, int] = tuple(embed.patch_size)  # type: ignore[arg-type]
        embed.register_forward_pre_hook(self._look)

    def _look(self, embed: nn.Module, inputs: tuple[object, ...]) -> None:
        """Tokens do not tell 4 x 8 patches from 8 x 4; the image does."""
        height, width = inputs[0].shape[-2:]  # type: ignore[attr-defined]
        self.shape = -(-height // self.patch[0]), -(-width // self.patch[1])


def grid_of(model: nn.Module, method: str) -> Grid:
    """The grid of `model`; InputError where it has no tokens on a grid."""
    if isinstance(model, MlpMixer):
        return Grid(model.stem, prefix=0)
    if not hasattr(model, "num_prefix_tokens") or not hasattr(getattr(model, "patch_embed", None), "grid_size"):
        raise InputError(f"{method} needs patch tokens on a grid; a {type(model).__name__} has none.")
    if not isinstance(getattr(model, "patch_drop", nn.Identity()), nn.Identity):
        raise InputError(
            f"{method} needs all patches of the grid, but the model drops some: make it without patch_drop_rate."
        )
    return Grid(model.patch_embed, model.num_prefix_tokens)  # type: ignore[arg-type]


def convolved(tokens: Tensor, convolution: Callable[[Tensor], Tensor], grid: Grid | None) -> Tensor:
    """`convolution`, (B, c, rows, columns) to the same, of tokens (B, N, c) on `grid`, or (B, rows, columns, c).

    Prefix tokens are not on the grid: each passes alone, as an image of one pixel.
    """
    if grid is None:
        return convolution(tokens.movedim(-1, 1)).movedim(1, -1)
    prefix, patches = tokens[:, : grid.prefix], tokens[:, grid.prefix :]
    patches = convolution(patches.mT.unflatten(-1, grid.shape)).flatten(2).mT
    pixels = prefix.flatten(0, 1)[..., None, None]  # (B prefix, c, 1, 1)
    return torch.cat([convolution(pixels).flatten(1).view_as(prefix), patches], dim=1)
