"""How a vision transformer lays out its tokens: class and register tokens first, then patches row by row."""

from __future__ import annotations

from torch import nn

from petl_study.errors import InputError


class Grid:
    """Rows and columns of the patches of the image that passes through a model now."""

    def __init__(self, model: nn.Module) -> None:
        embed = model.patch_embed
        self.prefix: int = model.num_prefix_tokens  # type: ignore[assignment]
        self.shape: tuple[int, int] = tuple(embed.grid_size)  # type: ignore[arg-type, union-attr]
        self.patch: tuple[int, int] = tuple(embed.patch_size)  # type: ignore[arg-type, union-attr]
        embed.register_forward_pre_hook(self._look)  # type: ignore[union-attr]

    def _look(self, embed: nn.Module, inputs: tuple[object, ...]) -> None:
        """Tokens do not tell 4 x 8 patches from 8 x 4; the image does."""
        height, width = inputs[0].shape[-2:]  # type: ignore[attr-defined]
        self.shape = -(-height // self.patch[0]), -(-width // self.patch[1])


def grid_of(model: nn.Module, method: str) -> Grid:
    """The grid of `model`; InputError where it has no tokens on a grid."""
    if not hasattr(model, "num_prefix_tokens") or not hasattr(getattr(model, "patch_embed", None), "grid_size"):
        raise InputError(f"{method} needs patch tokens on a grid; a {type(model).__name__} has none.")
    return Grid(model)
