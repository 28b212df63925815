"""The embedded backbone: a vision transformer of 0.7 M parameters, pre-trained by ``petl-study pretrain``.

The weights, their card as data (`micro_vit.json`) and as text (`MODEL_CARD.md`) lie in `weights/`. Inputs are 32 x 32
RGB in [0, 1], normalised as (x - 0.5) / 0.5.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from timm.models import VisionTransformer
from torch import Tensor, nn

from petl_study.errors import DamagedRecord, InputError

IMAGE_SIZE = 32
# 4 x 4 patches and a class token, 6 blocks of width 96 with 3 heads: a timm architecture, but for these arguments.
ARCHITECTURE = "vit_tiny_patch16_224"
ARGUMENTS: dict[str, Any] = {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3}
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
WEIGHTS = Path(__file__).parent / "weights" / "micro_vit.safetensors"
CARD = WEIGHTS.with_suffix(".json")
REMEDY = "Install petl_study again, or train new weights: petl-study pretrain --install"


def build(num_classes: int, **kwargs: Any) -> VisionTransformer:
    """The architecture with fresh weights; `kwargs` go to `timm.models.VisionTransformer`: ``drop_path_rate``, say."""
    model = VisionTransformer(**ARGUMENTS, num_classes=num_classes, **kwargs)
    model.pretrained_cfg = {  # type: ignore[assignment]  # what timm.data.resolve_model_data_config reads
        "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": num_classes,
    }
    return model


def load(num_classes: int | None = None, *, weights: Path = WEIGHTS, **kwargs: Any) -> VisionTransformer:
    """The pre-trained model, in evaluation mode.

    Parameters
    ----------
    num_classes : int, optional
        Outputs of a new head, all zeros (so the result does not depend on any random state); None keeps the source's.
    weights : Path
        Another file written by ``petl-study pretrain``, with its card beside it.
    kwargs
        To `build`.

    Raises
    ------
    InputError
        The weights or their card are missing, damaged, or of another architecture.
    """
    tensors = _read_weights(weights)
    model = build(len(tensors["head.bias"]), **kwargs)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{weights} holds the weights of another architecture: {error}. {REMEDY}") from None
    if num_classes is not None:
        model.reset_classifier(num_classes)
        head = model.get_classifier()
        if isinstance(head, nn.Linear):  # an Identity for 0 classes
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
    return model.eval()


def card(path: Path = CARD) -> dict[str, Any]:
    """What is known of the shipped weights: classes, how they were trained, figures, SHA-256."""
    return dict(_read_card(path))


def source_classes() -> tuple[str, ...]:
    """Names of the classes the source head knows, in the order of its rows."""
    return tuple(_read_card(CARD)["classes"])


def zero_shot_head(classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Rows of the source head for the named classes: weight (C, 96) and bias (C,).

    Raises
    ------
    InputError
        The source has no class of some name; the message lists them and those it has.
    """
    known = source_classes()
    if missing := [name for name in classes if name not in known]:
        raise InputError(
            f"the micro ViT's source has no class {', '.join(map(repr, missing))}; it has {', '.join(known)}."
            " Start these tasks from a new head instead."
        )
    tensors = _read_weights(WEIGHTS)
    rows = [known.index(name) for name in classes]
    return tensors["head.weight"][rows], tensors["head.bias"][rows]


@cache
def _read_card(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if missing := {"classes", "parameters", "sha256"} - found.keys():
            raise DamagedRecord(f"{path} has no {', '.join(sorted(missing))}. {REMEDY}")
    except FileNotFoundError:
        raise InputError(f"the weights' card {path} is missing. {REMEDY}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise DamagedRecord(f"{path} is no model card: {error}. {REMEDY}") from None
    return dict(found)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, after comparing it with the checksum in the card beside it."""
    expected = _read_card(path.with_suffix(".json"))["sha256"]
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"the weights {path} are missing. {REMEDY}") from None
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise DamagedRecord(f"{path} is damaged: its SHA-256 is {actual}, its card says {expected}. {REMEDY}")
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise DamagedRecord(f"{path} is no safetensors file: {error}. {REMEDY}") from None
