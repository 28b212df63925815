"""What a training cannot change is computed once: a model is cut in front of the first stage that learns.

    logits = rest(before(images))       before: the same for an image in every epoch, under every learning rate and seed

`before` is the backbone as it was pre-trained, so what it makes of a split serves every trial of a process whose method
leaves that part alone: for linear probing all of the backbone. Stages are a ViT's or an MLP-Mixer's blocks, and what
Swin and ConvNeXt call stages. Drop path, dropout and augmentation draw anew in every epoch: where `before` would draw,
or would be shown other images, there is no cut.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from petl_study.inputs import Inputs
from petl_study.methods import Wrapper, trunk

KEPT_BYTES = 2 * 2**30  # of activations that a process keeps for its next trials, those used last
_AT_THE_END = ("attn_pool", "fc_norm", "head", "head_drop")  # what timm's `forward_head` uses, by its first name
_CHANCES = ("p", "prob", "drop_prob")  # how torch and timm call the share that a layer drops


class Rest(nn.Module):
    """A model without its first `place` stages: activations (B, ...) in, logits (B, C) out."""

    def __init__(self, model: nn.Module, place: int) -> None:
        super().__init__()
        self.model, self.place = model, place

    def forward(self, x: Tensor) -> Tensor:
        stages, norm = _parts(self.model)
        for stage in list(stages)[self.place :]:
            x = stage(x)
        return self.model.forward_head(norm(x))  # type: ignore[operator]


class Classifier(nn.Module):
    """The classifier of a model alone: features (B, d) in, logits (B, C) out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head: nn.Module = model.get_classifier()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.head(x)
        return said


@dataclass(frozen=True)
class Cut:
    """A model in two parts that share its weights.

    Attributes
    ----------
    place : int
        Stages before the cut; one more than the model has where the classifier alone comes after it.
    before : callable
        Images (B, 3, H, W) to activations (B, ...).
    rest : nn.Module
        Activations to logits.
    """

    place: int
    before: Callable[[Tensor], Tensor]
    rest: nn.Module


@dataclass(frozen=True)
class Made:
    """What `before` made of a split, (N, ...), and the seconds that this took if it was made earlier, for another."""

    activations: Tensor
    reused_seconds: float = 0.0


def cut(model: nn.Module, learns: Collection[str], images: Tensor) -> Cut | None:
    """`model` in two parts, of which the first trains nothing of `learns` and draws nothing; None where it has none.

    Parameters
    ----------
    images : Tensor
        (B, 3, H, W). Both parts must say of them, one after the other, what the model says, bit for bit: a model that
        goes other ways than its family is not cut.
    """
    if trunk(model) is None:
        return None
    stages, _ = _parts(model)
    place = min((position for position, _ in _changing(model, set(learns))), default=len(stages) + 1)
    if place < 1:
        return None
    found = Cut(place, _features(model), Classifier(model))
    if place <= len(stages):
        found = Cut(place, _up_to(model, place), Rest(model, place))
    return found if _says_the_same(found, model, images) else None


def still(model: nn.Module, learns: Collection[str]) -> None:
    """Have the stages before the first that learns drop no paths, in place."""
    changing = list(_changing(model, set(learns)))
    first = min((position for position, module in changing if not _draws(module)), default=None)
    for position, module in changing:
        if _draws(module) and (first is None or position < first) and hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # type: ignore[assignment]


_kept: OrderedDict[Hashable, Made] = OrderedDict()


def made(parts: Cut, examples: Inputs, key: Hashable, at_once: int) -> Made | None:
    """What the first part makes of all `examples`; None where that is too much to be kept.

    Parameters
    ----------
    key : hashable
        All that determines it: weights, examples, what they go through, the place of the cut.
    at_once : int
        Examples through the first part at a time.
    """
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    count, started = len(examples.labels), time.perf_counter()
    activations: Tensor | None = None
    with torch.no_grad():
        for start in range(0, count, at_once):
            batch = parts.before(examples(slice(start, start + at_once)))
            if activations is None:
                if batch[0].nbytes * count > KEPT_BYTES:
                    return None
                activations = batch.new_empty(count, *batch.shape[1:])
            activations[start : start + len(batch)] = batch
    assert activations is not None  # no split is empty
    _kept[key] = Made(activations, time.perf_counter() - started)
    while sum(one.activations.nbytes for one in _kept.values()) > KEPT_BYTES:
        _kept.popitem(last=False)
    return Made(activations)


# --------------------------------------------------------------------------------------------------------------- parts


def _parts(model: nn.Module) -> tuple[nn.Sequential, nn.Module]:
    names = trunk(model)
    assert names is not None
    return cast(nn.Sequential, model.get_submodule(names[0])), model.get_submodule(names[1])


def _changing(model: nn.Module, learns: set[str]) -> Iterator[tuple[int, nn.Module]]:
    """Every module that an epoch changes or that draws, and how many stages lie before it; -1 is before all of them."""
    names = trunk(model)
    assert names is not None
    stages, norm = names
    depth, classifier = len(model.get_submodule(stages)), model.get_classifier()  # type: ignore[arg-type, operator]

    def position(path: str) -> int:
        first, _, rest = path.partition(".")
        if first == stages and rest:
            return int(rest.partition(".")[0])
        return depth if first == norm or first in _AT_THE_END else -1

    for path, module in model.named_modules():
        if module is classifier:
            continue
        own = {f"{path}.{name}".removeprefix(".") for name, _ in module.named_parameters(recurse=False)}
        if own & learns or isinstance(module, Wrapper | _BatchNorm) or _draws(module):
            yield position(path), module


def _draws(module: nn.Module) -> bool:
    """Whether it drops something at random while it is trained."""
    return any(isinstance(share := getattr(module, name, None), float) and share > 0 for name in _CHANCES)


def _features(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def before(images: Tensor) -> Tensor:
        features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]
        return features

    return before


class _Reached(Exception):
    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


def _up_to(model: nn.Module, place: int) -> Callable[[Tensor], Tensor]:
    stages, norm = _parts(model)
    following = stages[place] if place < len(stages) else norm

    def leave(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _Reached(inputs[0])

    def before(images: Tensor) -> Tensor:
        handle = following.register_forward_pre_hook(leave)
        try:
            model(images)
        except _Reached as reached:
            return reached.activations
        finally:
            handle.remove()
        raise AssertionError("a model that does not pass its own stages was cut")

    return before


@torch.no_grad()
def _says_the_same(parts: Cut, model: nn.Module, images: Tensor) -> bool:
    training = model.training
    model.eval()
    try:
        return torch.equal(parts.rest(parts.before(images)), model(images))
    finally:
        model.train(training)
