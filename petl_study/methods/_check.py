"""What every method promises, as functions that try it: on a small ViT, in about a second, without a test runner."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.errors import InputError, NotMergeable
from petl_study.methods import _specimens as specimens
from petl_study.methods._base import Method, create
from petl_study.methods._state import load_state_dict, merge, scale, state_dict, trainable_parameters


def check(method: str | Method, **hyperparameters: Any) -> None:
    """Raise unless `method` keeps what every method promises.

    Parameters
    ----------
    method : str or Method
        A registered name, or a method as `create` makes it.
    hyperparameters
        For a name: those that are not to be at their defaults.

    Raises
    ------
    InputError
        A promise is broken: which, with the tensors or figures that show it.
    """
    made = create(method, **hyperparameters) if isinstance(method, str) else method
    for promise in PROMISES:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            promise(made)


# ------------------------------------------------------------------------------------------------------------ promises


def freezes_the_rest(method: Method) -> None:
    """Exactly the parameters that `trainable_parameters` lists, the classifier's among them, can learn."""
    model = _carrying(method)
    listed = set(trainable_parameters(model, classifier=True))
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if differing := listed ^ learning:
        raise _broken(method, "what can learn is not what trainable_parameters lists", _some(differing))


def learns_what_it_lists(method: Method) -> None:
    """The start can be left, and a step changes every listed tensor and no other."""
    model = _carrying(method)
    own = trainable_parameters(model)
    _loss(model).backward()
    if own and not any(p.grad is not None and p.grad.any() for p in own.values()):
        raise _broken(method, "at its start every gradient is zero, so it cannot learn", _some(own))
    listed = trainable_parameters(model, classifier=True)
    tune(listed)  # a factor that starts at zero hides the gradient of what it multiplies
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(listed.values(), lr=1.0)
    optimizer.zero_grad()
    _loss(model).backward()
    optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    if differing := changed ^ set(listed):
        raise _broken(method, "a step does not change what trainable_parameters lists", _some(differing))


def follows_the_backbones_precision(method: Method) -> None:
    """On a float64 backbone it trains and computes in float64, or it is refused."""
    [(images, labels)] = specimens.batches()
    try:
        model = method.apply(specimens.small_vit().double(), [(images.double(), labels)])
    except InputError:
        return
    if alien := {name: p for name, p in trainable_parameters(model).items() if p.dtype != torch.float64}:
        dtypes = sorted({str(p.dtype) for p in alien.values()})
        raise _broken(method, f"on a float64 backbone it trains {', '.join(dtypes)}", _some(alien))
    try:
        model(images.double())
    except RuntimeError as error:
        raise _broken(method, "on a float64 backbone it does not run", str(error)) from error


def scales_from_pretrained_to_tuned(method: Method) -> None:
    """`scale` 0 is the pre-trained model, 1 the tuned one bit for bit, and between them lies something else."""
    pretrained, model = _logits(specimens.small_vit()), _carrying(method)
    own = trainable_parameters(model)
    tune(own)  # without the classifier: it would move on the path whatever the method does
    tuned = _logits(model)
    scale(model, 0.0)
    _require_close(method, "scale 0 is not the pre-trained model", _logits(model), pretrained)
    scale(model, 0.3)
    if own and _distance(_logits(model), tuned) < specimens.TOLERANCE:
        raise _broken(method, "scale 0.3 is still the tuned model", "does its wrapper use alpha?")
    scale(model, 1.0)
    if not torch.equal(_logits(model), tuned):
        away = _distance(_logits(model), tuned)
        raise _broken(method, "scale 0 and back to 1 is not the tuned model", f"logits are {away:.1e} away")


def restores_from_its_state(method: Method) -> None:
    """`state_dict` holds all that brings back the logits in another model with the method."""
    model, other = _carrying(method), _carrying(method)  # two draws of what is random
    tune(trainable_parameters(model, classifier=True))
    tuned = _logits(model)
    load_state_dict(other, state_dict(model))
    if not torch.equal(_logits(other), tuned):
        away = _distance(_logits(other), tuned)
        raise _broken(method, "its state does not bring back its logits", f"they are {away:.1e} away")


def merges_or_says_why_not(method: Method) -> None:
    """Merged, it is the plain model with the tuned logits; what cannot be merged is left as it was."""
    plain, model = specimens.small_vit(), _carrying(method)
    tune(trainable_parameters(model, classifier=True))
    tuned = _logits(model)
    half = copy.deepcopy(model)
    try:
        merge(model)
    except NotMergeable:
        if not torch.equal(_logits(model), tuned):
            raise _broken(method, "it cannot be merged, and trying to changed its logits", "") from None
        return
    if [(n, type(m)) for n, m in model.named_modules()] != [(n, type(m)) for n, m in plain.named_modules()]:
        extra = {name for name, _ in model.named_modules()} ^ {name for name, _ in plain.named_modules()}
        raise _broken(method, "merged, it is not made of the plain model's modules", _some(extra))
    _require_close(method, "merged, it says something else", _logits(model), tuned)
    scale(half, 0.3)
    between = _logits(half)
    _require_close(method, "merged at scale 0.3, it says something else", _logits(merge(half)), between)
    folded, start = model.state_dict(), plain.state_dict()
    for name, tensor in half.state_dict().items():
        line = torch.lerp(start[name], folded[name], 0.3)
        what = f"its path is not the straight line between the pre-trained and the merged {name}"
        _require_close(method, what, tensor, line)


PROMISES: tuple[Callable[[Method], None], ...] = (
    freezes_the_rest,
    learns_what_it_lists,
    follows_the_backbones_precision,
    scales_from_pretrained_to_tuned,
    restores_from_its_state,
    merges_or_says_why_not,
)


# --------------------------------------------------------------------------------------------------------------- tools


def tune(parameters: Mapping[str, nn.Parameter], std: float = 0.1) -> None:
    """Random tuning: at a start that is the pre-trained function, a merge or scale that does nothing would pass."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=std)


def _carrying(method: Method) -> nn.Module:
    return method.apply(specimens.small_vit(), specimens.batches()).eval()


@torch.no_grad()
def _logits(model: nn.Module) -> Tensor:
    return model(specimens.images())


def _loss(model: nn.Module) -> Tensor:
    [(images, labels)] = specimens.batches()
    return F.cross_entropy(model(images), labels)


def _distance(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a fraction of the largest number in `other`."""
    return ((one - other).abs().max() / other.abs().max().clamp(min=1e-12)).item()


def _require_close(method: Method, what: str, one: Tensor, other: Tensor) -> None:
    away = _distance(one, other)
    if not away <= specimens.TOLERANCE:
        raise _broken(method, what, f"the largest difference is {away:.1e} of the largest value")


def _broken(method: Method, promise: str, figures: str) -> InputError:
    return InputError(f"{method} breaks a promise of methods: {promise}{': ' if figures else ''}{figures}.")


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
