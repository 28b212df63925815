"""The layers of Hugging Face PEFT inside this project's wrappers.

PEFT never sees the backbone: it is handed a bare list of the linear layers to tune, so nothing of it hangs on the model
but the layers that it made.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._linear import matrix
from petl_study.methods._wrapper import Wrapper, added


class Layer(Wrapper):
    """A linear layer and PEFT's around it. Both are affine in x, so what folds into W is (1 - a) y(0) + a y(1)."""

    def __init__(self, base: nn.Module, tuner: nn.Module) -> None:
        super().__init__(base)
        self.tuner = tuner
        self.derived = frozenset(added(self)) - {name for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, x: Tensor) -> Tensor:  # (..., i) -> (..., o), or (B, i, H, W) -> (B, o, H, W)
        if self.alpha == 1.0:
            return self._tuned(x)
        plain: Tensor = self.base(x)
        return plain if self.alpha == 0.0 else plain + self.alpha * (self._tuned(x) - plain)

    def _tuned(self, x: Tensor) -> Tensor:
        if isinstance(self.base, nn.Conv2d):
            return self._last(x.movedim(1, -1)).movedim(-1, 1)
        return self._last(x)

    def _last(self, x: Tensor) -> Tensor:
        """PEFT's layer over the last dimension; not all types know more than (B, N, i)."""
        if x.dim() <= 3:
            return self.tuner(x)
        return self.tuner(x.flatten(1, -2)).unflatten(1, x.shape[1:-1])

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        start = copy.deepcopy(self.base)
        self.tuner.merge()  # type: ignore[operator]
        tuned: nn.Module = self.tuner.base_layer  # type: ignore[assignment]  # `base`, or the copy of it that PEFT got
        for name, parameter in self.base.named_parameters():
            end = tuned.get_parameter(name).view_as(parameter)
            parameter.copy_(torch.lerp(start.get_parameter(name), end, self.alpha))
        return self.base


def around(
    layers: Sequence[tuple[str, nn.Module]],
    method: str,
    config: str,
    arguments: Mapping[str, Any],
    *,
    rewrites: bool = False,
    sparse: bool = False,
) -> list[Layer]:
    """Every one of `layers` in a `Layer`, with what PEFT makes of them together under its configuration `config`.

    `layers` come with the names of their sites: what a type shares, it shares among the layers of one site and shape.
    `rewrites`: PEFT changes the weights that it gets, so it gets copies. `sparse`: its layers hold sparse matrices.

    Raises
    ------
    InputError
        A layer is not linear in channels. Or PEFT refuses the arguments, or would do something else: in its own words.
    """
    peft = importlib.import_module("peft")  # here and not above: it takes seconds
    if not hasattr(peft, config):
        raise InputError(
            f"{method}: PEFT {peft.__version__} has no {config}; pip install --upgrade 'petl_study[peft]'."
        )
    given = [_linear(layer, copied=rewrites) for _, layer in layers]
    shapes = [f"{linear.in_features}x{linear.out_features}" for linear in given]
    roles = [f"{site}_{shape}".replace(".", "_") for (site, _), shape in zip(layers, shapes, strict=True)]
    bare = nn.ModuleList(nn.ModuleDict({role: linear}) for role, linear in zip(roles, given, strict=True))
    try:
        with warnings.catch_warnings():
            # What PEFT warns of while it makes a layer is that it does not do what it was asked for.
            warnings.filterwarnings("error", category=UserWarning, module=r"peft\.")
            peft.get_peft_model(bare, getattr(peft, config)(target_modules=r"\d+\.\w+", **arguments))
    except (TypeError, ValueError, UserWarning) as error:
        settings = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise InputError(
            f"{method}: PEFT refuses {config}({settings}) on layers {', '.join(sorted(set(shapes)))}: {error}"
        ) from error
    invariants = torch.sparse.check_sparse_tensor_invariants
    if sparse and not invariants.is_enabled():
        invariants.disable()  # as it is by default, but said: else torch warns when the layer first runs
    tuners = [bare.get_submodule(f"{index}.{role}") for index, role in enumerate(roles)]
    return [Layer(layer, tuner) for (_, layer), tuner in zip(layers, tuners, strict=True)]


def _linear(layer: nn.Module, *, copied: bool) -> nn.Linear:
    """`layer` as what PEFT knows: itself or a copy, and of a convolution over channels always a copy."""
    weight, bias = matrix(layer), layer.bias
    if isinstance(layer, nn.Linear):
        return copy.deepcopy(layer) if copied else layer
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, weight.device, weight.dtype)
    linear.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return linear
