"""Linear layers, which timm writes as `nn.Linear` over the last dimension or as a 1 x 1 convolution over channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.errors import InputError


def is_linear(layer: nn.Module) -> bool:
    """Whether `layer` is a linear map of channels."""
    one_tap = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear) or one_tap


def matrix(layer: nn.Module) -> Tensor:
    """The layer's weight as a matrix (o, i), in its own memory; InputError where `layer` is not linear in channels."""
    if not is_linear(layer):
        raise InputError(f"{layer} is no linear layer over channels.")
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.flatten(1)


def project(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` through `weight` (o, i) and `bias` (o,) the way it goes through `layer`: (..., i) or (B, i, H, W)."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight[:, :, None, None], bias)
    return F.linear(x, weight, bias)


def plus_projected(layer: nn.Module, y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """`y`, an output of `layer` that nobody else uses, plus `x` through `weight` (o, r): in `y`'s memory for tokens.

    A view of `y` as one matrix would do for every shape, but autograd copies gradients of views changed in place.
    """
    if isinstance(layer, nn.Conv2d) or y.ndim != 3:
        return y + project(layer, x, weight)
    return y.baddbmm_(x.to(y), weight.to(y).mT.expand(len(y), -1, -1))


def over_output(layer: nn.Module, vector: Tensor) -> Tensor:
    """`vector` (o,), a number a channel, so that it broadcasts over what `layer` gives."""
    return vector[:, None, None] if isinstance(layer, nn.Conv2d) else vector
