"""A model that carries a method: which of its tensors are tuned, saving and loading them, and the path to the start.

What `apply` found out travels with the model as the plain attribute `petl`, so a deep copy carries it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from petl_study.errors import InputError, NotMergeable
from petl_study.methods._wrapper import Wrapper, added

if TYPE_CHECKING:
    from petl_study.methods._base import Method


@dataclass
class Applied:
    """What `Method.apply` left on a model.

    `start` holds the values, at apply, of the tensors that the plain model has too: the pre-trained end of the path; on
    the meta device, where they were forgotten.
    `tuned` holds their trained values while the model stands elsewhere on it.
    """

    method: Method
    added: tuple[str, ...]
    direct: tuple[str, ...]
    classifier: tuple[str, ...]
    start: dict[str, Tensor]
    alpha: float = 1.0
    tuned: dict[str, Tensor] = field(default_factory=dict)


def adopt(
    model: nn.Module, method: Method, *, plain: Mapping[str, Tensor], tuned: list[str], classifier: set[str]
) -> None:
    """Note on `model` what `method` did to it, and let exactly that learn. `plain`: the parameters it had before."""
    path_of = {id(parameter): name for name, parameter in model.named_parameters()}
    direct = tuple(path_of[id(plain[name])] for name in tuned)  # a wrapper around its module may have moved it
    head = tuple(path_of[id(plain[name])] for name in sorted(classifier))
    own = tuple(f"{path}.{name}" for path, w in _wrappers(model).items() for name in added(w))
    parameters = dict(model.named_parameters())
    learns = {*direct, *own, *head}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in learns)
    start = {name: parameters[name].detach().clone() for name in (*direct, *head)}
    model.petl = Applied(method, own, direct, head, start)  # type: ignore[assignment]


@contextmanager
def unchanged_on_error(model: nn.Module) -> Iterator[None]:
    """Put every module back where it hung if the block raises: a refusal in the middle must not leave half a method."""
    before = {module: dict(module.named_children()) for module in model.modules()}
    try:
        yield
    except Exception:
        for module, children in before.items():
            for name, child in children.items():
                setattr(module, name, child)
        raise


def require_plain(model: nn.Module) -> None:
    """Raise unless `model` is one that no method was applied to."""
    if carried := getattr(model, "petl", None):
        raise InputError(
            f"the model carries method {carried.method.name!r} already; merge it first, or make a new model."
        )


def applied(model: nn.Module) -> Applied:
    """What the applied method left on `model`; InputError where none was applied."""
    carried = getattr(model, "petl", None)
    if carried is None:
        raise InputError("no method was applied to this model; call methods.create(name).apply(model) first.")
    state = cast("Applied", carried)
    _require_same_classifier(model, state)
    return state


def _require_same_classifier(model: nn.Module, state: Applied) -> None:
    """Raise where `reset_classifier` came after `apply`: the new one would be neither trained and kept, nor scaled."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    replaced = any(shapes.get(name) != state.start[name].shape for name in state.classifier)
    if replaced or (not state.classifier and classifier_names(model)):
        raise InputError(
            f"the classifier was replaced after {state.method.name!r} was applied; replace it first, then apply the"
            " method, or merge before it is replaced."
        )


def classifier_names(model: nn.Module) -> set[str]:
    """Names of the classifier's parameters, as timm's `get_classifier` finds it; a distilled model has two heads."""
    found = model.get_classifier()  # type: ignore[operator]
    heads = found if isinstance(found, tuple) else (found,)
    own = {id(parameter) for head in heads for parameter in head.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


# ------------------------------------------------------------------------------------------------------------- contract


def trainable_parameters(model: nn.Module, classifier: bool = False) -> dict[str, nn.Parameter]:
    """The parameters that the applied method trains, by name; with the classifier's where `classifier` is true."""
    state = applied(model)
    names = {*state.direct, *state.added, *(state.classifier if classifier else ())}
    return {name: parameter for name, parameter in model.named_parameters() if name in names}


def state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The tuned tensors and the classifier, and nothing else: what a run has to keep. Copies, by name."""
    state = applied(model)
    names = {*state.direct, *state.added, *state.classifier}
    present = {name: t for name, t in (*model.named_parameters(), *model.named_buffers()) if name in names}
    return {name: state.tuned.get(name, tensor).detach().clone() for name, tensor in present.items()}


@torch.no_grad()
def load_state_dict(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors from `state_dict` back into a model to which the same method was applied.

    Raises
    ------
    InputError
        The names or shapes are not this method's on this backbone; both sides are shown.
    """
    state = applied(model)
    mine = state_dict(model)
    if differing := [name for name in {*mine, *tensors} if _shape(mine, name) != _shape(tensors, name)]:
        shown = [f"{n}: model {_shape(mine, n)}, file {_shape(tensors, n)}" for n in sorted(differing)[:5]]
        raise InputError(
            f"these tensors are not those of {state.method} on this backbone;"
            f" {len(differing)} of {len({*mine, *tensors})} differ: {'; '.join(shown)}."
            " Apply the method that they were trained with."
        )
    alpha = state.alpha
    scale(model, 1.0)
    present = dict((*model.named_parameters(), *model.named_buffers()))
    for name, tensor in tensors.items():
        present[name].copy_(tensor)
    scale(model, alpha)


@torch.no_grad()
def scale(model: nn.Module, alpha: float) -> None:
    """Move the model along its weight-space path: 0 is the pre-trained model, 1 the tuned one.

    The backbone's own tuned tensors and the classifier are interpolated with their values at `apply` (with a zero-shot
    classifier, WiSE-FT: arXiv 2109.01903, eq. 1); what a method added is weighted by `alpha` inside its wrapper. Moving
    there and back changes nothing, bit for bit.
    """
    if not math.isfinite(alpha):
        raise InputError(
            f"alpha must be a finite number, 0 for the pre-trained model and 1 for the tuned, got {alpha}."
        )
    state = applied(model)
    if alpha == state.alpha:
        return
    if any(tensor.is_meta for tensor in state.start.values()):
        raise InputError(
            "the model's pre-trained end was forgotten to save memory (methods.forget_start); to scale it, make it"
            " anew, apply the method, and load the tuned tensors."
        )
    parameters = dict(model.named_parameters())
    if state.alpha == 1.0:
        state.tuned = {name: parameters[name].detach().clone() for name in state.start}
    for name in state.start:  # the model may have moved to another device or precision since
        start, tuned = (end[name].to(parameters[name]) for end in (state.start, state.tuned))
        # lerp is exact at neither end for all floats; the ends must be
        parameters[name].copy_(start if alpha == 0.0 else tuned if alpha == 1.0 else torch.lerp(start, tuned, alpha))
    for wrapper in _wrappers(model).values():
        wrapper.alpha = alpha
    state.alpha = alpha
    if alpha == 1.0:
        state.tuned = {}


def forget_start(model: nn.Module) -> None:
    """Free what only `scale` needs: with full fine-tuning, a copy of the model. From then on `scale` refuses."""
    state = applied(model)
    state.start = {name: tensor.to("meta") for name, tensor in state.start.items()}


@torch.no_grad()
def merge(model: nn.Module) -> nn.Module:
    """Fold the method into the backbone, in place: the plain timm model's modules and names, the same function.

    Raises
    ------
    NotMergeable
        Something the method added has no place in the plain model's weights; the model is left as it was.
    """
    state = applied(model)
    wrappers = _wrappers(model)
    for path, wrapper in wrappers.items():
        if reason := wrapper.unfoldable():
            raise NotMergeable(f"{state.method.name} cannot be merged at {path}: {reason}.")
    for path, wrapper in wrappers.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrapper.fold())
    del model.petl
    return model


def _wrappers(model: nn.Module) -> dict[str, Wrapper]:
    return {path: module for path, module in model.named_modules() if isinstance(module, Wrapper)}


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(tensors[name].shape) if name in tensors else "absent"
