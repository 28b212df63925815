"""Sums of models: named tensors, averaged one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from petl_study.errors import InputError

Tensors = Mapping[str, Tensor]


@torch.no_grad()
def average(models: Sequence[Tensors], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """The sum of `models`, each times its share (by default all the same, together 1).

    Summed in float64, so that the average of a model with itself is that model, bit for bit. What is not a float (the
    numbers of selected channels) has no average: it must be the same in all.

    Raises
    ------
    InputError
        The models differ in names, in shapes, or in something that cannot be averaged; the message says in what.
    """
    if not models:
        raise InputError("an average needs at least one model; got none")
    shares = [1 / len(models)] * len(models) if shares is None else shares
    first = models[0]
    for other in models[1:]:
        if differing := sorted(n for n in {*first, *other} if _form(first, n) != _form(other, n)):
            name = differing[0]
            raise InputError(
                f"these models cannot be averaged: {len(differing)} of their {len({*first, *other})} tensors differ in"
                f" shape or are not in both, such as {name}: {_form(first, name)} and {_form(other, name)}. Tuned"
                " tensors average only over one method with the same hyperparameters; folded weights over all that"
                " fold."
            )
    return {name: _average(name, [model[name] for model in models], shares) for name in first}


def between(a: Tensors, b: Tensors, t: float) -> dict[str, Tensor]:
    """The model at `t` of the straight line from `a` (0) to `b` (1)."""
    return average([a, b], [1 - t, t])


def _average(name: str, tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if tensors[0].is_floating_point():
        total = sum(share * tensor.double() for share, tensor in zip(shares, tensors, strict=True))
        return total.to(tensors[0].dtype)  # type: ignore[union-attr]
    if any(not torch.equal(tensors[0], other) for other in tensors[1:]):
        raise InputError(f"these models cannot be averaged: they differ in {name}, which holds no real numbers.")
    return tensors[0].clone()


def _form(tensors: Tensors, name: str) -> tuple[int, ...] | str:
    return tuple(tensors[name].shape) if name in tensors else "absent"
