"""What there is to know of a method before using it, found by applying it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn

from petl_study.errors import InputError, NotMergeable
from petl_study.methods import _specimens as specimens
from petl_study.methods._base import Method
from petl_study.methods._state import classifier_names, merge, trainable_parameters


def docstring(method: type[Method]) -> str:
    """What the method's author says of it: the class's docstring, or else its module's."""
    own = inspect.cleandoc(method.__doc__ or "")
    signature = own.startswith(f"{method.__name__}(")  # what a dataclass without a docstring is given
    return own if own and not signature else inspect.getdoc(inspect.getmodule(method)) or ""


def looks_at_data(method: Method) -> bool:
    """Whether `apply` needs batches of the task."""
    try:
        method.apply(specimens.small_vit(), _Curtain())
    except _Looked:
        return True
    return False


def trained(method: Method) -> tuple[int, int]:
    """How many of a ViT-B/16's numbers are trained beside the classifier, and how many it has itself.

    Where values have to be looked at, small images do: they cost less, and no method's count depends on their size.
    """
    plain = specimens.vit_b16()
    classifier = classifier_names(plain)
    size = sum(p.numel() for name, p in plain.named_parameters() if name not in classifier)
    try:
        with torch.device("meta"):
            model = method.apply(plain, _Curtain())
    except (_Looked, RuntimeError):  # it looks at the task, or at the weights: on the meta device they have no values
        model = method.apply(specimens.vit_b16(image_size=32, device="cpu"), specimens.batches())
    return sum(p.numel() for p in trainable_parameters(model).values()), size


def unmergeable(method: Method) -> str | None:
    """Why the method cannot be folded into a ViT; None where it can."""
    model = method.apply(specimens.small_vit(), specimens.batches())
    try:
        merge(model)
    except NotMergeable as error:
        return str(error).partition(": ")[2] or str(error)
    return None


def families(method: Method) -> list[str]:
    """The families of backbones on which the method works as it is."""
    found = []
    for family, make in specimens.FAMILIES.items():
        with suppress(InputError), torch.random.fork_rng(devices=[]):
            method.apply(make(), specimens.batches())
            found.append(family)
    return found


@torch.no_grad()
def start(method: Method) -> float:
    """How far the untrained method moves the logits of a small random ViT: the change's RMS over theirs."""
    model, x = specimens.small_vit(), specimens.images()
    before: Tensor = model(x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        changed: nn.Module = method.apply(model, specimens.batches()).eval()
    return ((changed(x) - before).norm() / before.norm()).item()


class _Looked(Exception):
    """Raised through `apply` by data that is looked at."""


class _Curtain:
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        raise _Looked
