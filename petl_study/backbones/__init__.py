"""Pre-trained backbones, by name: what they are, the model itself, and the rows of their own classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from petl_study.backbones import micro
from petl_study.errors import InputError, unknown


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a backbone without building it.

    `image_size` in pixels; `mean` and `std` per channel, of inputs in [0, 1], as it was pre-trained; `weights` is the
    SHA-256 of its weights; `classes` are those its own classifier knows, if it has one.
    """

    name: str
    summary: str
    parameters: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    classes: tuple[str, ...] = ()


def list_backbones() -> list[str]:
    """Names of all backbones, sorted."""
    return ["micro_vit"]


def info(name: str) -> BackboneInfo:
    """What is known of backbone `name`.

    Raises
    ------
    InputError
        No backbone has that name; the message lists those that are.
    """
    if name not in list_backbones():
        raise unknown("backbone", name, list_backbones())
    card = micro.card()
    return BackboneInfo(
        name=name,
        summary="micro ViT, 32x32 in 8x8 patches, pre-trained on rendered glyphs, shapes and textures",
        parameters=card["parameters"],
        image_size=micro.IMAGE_SIZE,
        mean=micro.MEAN,
        std=micro.STD,
        weights=card["sha256"],
        classes=tuple(card["classes"]),
    )


def create(name: str, classes: int, *, drop_path: float = 0.0) -> nn.Module:
    """Backbone `name` with its pre-trained weights and a new classifier of `classes` outputs.

    The classifier's weights are N(0, 0.02), from torch's global generator; its biases are 0.
    """
    info(name)
    model = micro.load(classes, drop_path_rate=drop_path)
    head = model.get_classifier()
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return model


def architecture(name: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments with which timm.create_model makes the modules of backbone `name`, its classifier aside."""
    info(name)
    return micro.ARCHITECTURE, dict(micro.ARGUMENTS)


def require_classes(name: str, classes: Sequence[str], task: str) -> None:
    """Raise unless the backbone's own classifier knows every class of `task`, as a zero-shot start needs."""
    if missing := [c for c in classes if c not in info(name).classes]:
        raise InputError(
            f"task {task!r} cannot start from {name}'s own classifier (head: zero_shot): it has no rows for"
            f" {', '.join(missing[:8])}{' ...' if len(missing) > 8 else ''}. Use `head: new` for this task."
        )


def zero_shot_head(name: str, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Rows of the backbone's own classifier for `classes`: weight (C, d) and bias (C,)."""
    info(name)
    return micro.zero_shot_head(classes)
