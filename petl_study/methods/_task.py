"""A task's training batches, for methods that look at the task before they tune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._base import Data


def batches(model: nn.Module, method: str, data: Data | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The images, in `model`'s precision, and labels of each batch of `data`, where `model` is.

    Raises
    ------
    InputError
        There is no data, or no batch in it.
    """
    if data is None:
        raise InputError(f"{method} looks at the task first: give apply the training batches, apply(model, data=...).")
    like, empty = next(model.parameters()), True
    for images, labels in data:
        empty = False
        yield images.to(like), labels.to(like.device)
    if empty:
        raise InputError(f"{method}: data holds no batch, so there is nothing to choose by.")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode; afterwards each of its modules is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training
