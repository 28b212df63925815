"""Pre-trained backbones, by name: what they are, the model itself, and the rows of their own classifier."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from petl_study.backbones import checkpoints, clip, exported, micro, timm_models
from petl_study.backbones._info import BackboneInfo
from petl_study.errors import InputError

__all__ = [
    "BackboneInfo",
    "architecture",
    "create",
    "info",
    "known_here",
    "list_backbones",
    "require_classes",
    "require_size",
    "zero_shot_head",
]

NAMELESS = re.compile(r"class \d+")  # what a class is called of which only the number is known


def list_backbones() -> list[str]:
    """Names of the backbones that are known to work, sorted; every model of timm, and a file of weights, is one too."""
    return sorted(["micro_vit", *timm_models.KNOWN])


def known_here(name: str) -> str:
    """What records call backbone `name`: without the path of a file in it, which is noted (see `places`).

    Raises
    ------
    InputError
        No backbone has that name. That a file is here is not asked: whoever reads a study need not have it.
    """
    for prefix in exported.PREFIXES:
        if name.startswith(prefix):
            return exported.PREFIXES[0] + checkpoints.noted(name.removeprefix(prefix))
    model, at, path = name.partition("@")
    if at:
        return f"{model}@{checkpoints.noted(path)}"
    info(name)
    return name


def info(name: str) -> BackboneInfo:
    """What is known of backbone `name`: one of `list_backbones`, or as the modules `timm_models` and `clip` say.

    Raises
    ------
    InputError
        No backbone has that name, or the file in it does not exist; the message lists those that are.
    """
    if name.startswith(clip.PREFIX):
        return clip.info(clip.parse(name))
    if name != "micro_vit":
        return timm_models.info(_parse(name))
    card = micro.card()
    return BackboneInfo(
        name=name,
        summary="ViT: micro, 32x32 in 8x8 patches, pre-trained on rendered glyphs, shapes and textures",
        parameters=card["parameters"],
        image_size=micro.IMAGE_SIZE,
        mean=micro.MEAN,
        std=micro.STD,
        source="embedded",
        fingerprint=lambda: str(card["sha256"]),
        classes=tuple(card["classes"]),
    )


def create(
    name: str, classes: int, *, drop_path: float = 0.0, image_size: int | None = None, keep: bool = False
) -> nn.Module:
    """Backbone `name` with its pre-trained weights and a new classifier of `classes` outputs.

    The classifier's weights are N(0, 0.02), from torch's global generator; its biases are 0.

    Parameters
    ----------
    image_size : int, optional
        Pixels of the images it will see, to which its position embeddings are resized; by default its own.
    keep : bool
        Whether others like it will be asked for: they are then copies of one that stays in memory.

    Raises
    ------
    InputError
        The weights are missing, damaged or another model's, or the backbone takes no images of that size.
    """
    if name == "micro_vit":
        _require_own_size(name, image_size)
        model: nn.Module = micro.load(classes, drop_path_rate=drop_path)
    else:
        how = (classes, drop_path, image_size)
        model = copy.deepcopy(_kept(name, info(name).weights, *how)) if keep else _read(name, *how)
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise InputError(f"{name} has no linear layer as its classifier ({type(head).__name__}), as methods need it.")
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return model


def _read(name: str, classes: int, drop_path: float, image_size: int | None) -> nn.Module:
    if name.startswith(clip.PREFIX):
        return clip.create(clip.parse(name), classes, drop_path=drop_path, image_size=image_size)
    return timm_models.create(_parse(name), classes, drop_path=drop_path, image_size=image_size)


@lru_cache(maxsize=1)
def _kept(name: str, weights: str, classes: int, drop_path: float, image_size: int | None) -> nn.Module:
    """Backbone `name` with the weights of that fingerprint. To copy it takes a quarter of the time of making it.

    Neither draws from torch's global generator: the classifiers of two copies differ as those of two models do.
    """
    return _read(name, classes, drop_path, image_size)


def architecture(name: str, image_size: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and arguments with which timm.create_model makes the modules of backbone `name`, its classifier aside."""
    if name == "micro_vit":
        _require_own_size(name, image_size)
        return micro.ARCHITECTURE, dict(micro.ARGUMENTS)
    if name.startswith(clip.PREFIX):
        raise InputError(
            f"{name} is no timm model alone: its features are projected and scaled to length 1 at the end."
        )
    return timm_models.architecture(_parse(name), image_size)


def require_size(name: str, image_size: int) -> None:
    """Raise InputError unless backbone `name` takes images of `image_size` pixels; no weights are fetched for it."""
    if name == "micro_vit":
        _require_own_size(name, image_size)
        return
    if name.startswith(clip.PREFIX):
        made, arguments = clip._architecture(clip.parse(name))
        arguments["img_size"] = image_size
    else:
        made, arguments = timm_models.architecture(_parse(name), image_size)
    timm_models.require_size(name, made, arguments, image_size, info(name).image_size)


def require_classes(name: str, classes: Sequence[str], task: str, *, wanted: str = "head: zero_shot") -> None:
    """Raise unless the backbone's own classifier has, or can make, a row for every class of `task`.

    Parameters
    ----------
    wanted : str
        What of a study file asks for it, ``head: zero_shot`` or ``zero_shot``, for the message.
    """
    known = info(name)
    missing = [c for c in classes if (NAMELESS.fullmatch(c) if known.open_vocabulary else c not in known.classes)]
    if not missing:
        return
    listed = f"{', '.join(missing[:8])}{' ...' if len(missing) > 8 else ''}"
    instead = "Leave it out of `zero_shot`" if wanted == "zero_shot" else "Use `head: new` for this task"
    if known.open_vocabulary:
        raise InputError(
            f"task {task!r} cannot start from a classifier that {name} makes of names ({wanted}): its classes have"
            f" none ({listed}). A folder with lists of images may have them in a classes.txt, a line a class."
            f" {instead} otherwise."
        )
    raise InputError(
        f"task {task!r} cannot start from {name}'s own classifier ({wanted}): it has no rows for {listed}. {instead}."
    )


def zero_shot_head(name: str, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Rows of the backbone's own classifier for `classes`: weight (C, d) and bias (C,)."""
    if name.startswith(clip.PREFIX):
        return clip.zero_shot_head(clip.parse(name), classes)
    if name != "micro_vit":
        raise InputError(
            f"{name} has no classifier whose classes are known; micro_vit has one, and clip:ViT-B-16/openai makes one."
        )
    return micro.zero_shot_head(classes)


def _parse(name: str) -> timm_models.Named:
    return timm_models.parse(name, list_backbones())


def _require_own_size(name: str, image_size: int | None) -> None:
    if image_size not in (None, micro.IMAGE_SIZE):
        raise InputError(
            f"{name} takes images of {micro.IMAGE_SIZE} pixels, not of {image_size}. Choose another image_size, as in"
            f" `protocol: {{base: study, image_size: {micro.IMAGE_SIZE}}}`, or another backbone, such as"
            " vit_base_patch16_224.augreg_in21k."
        )
