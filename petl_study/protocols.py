"""Training protocols: everything about a training that is neither the task, the backbone, the method nor searched.

A protocol goes whole into every record. Two results under different protocols are not comparable, and nothing in this
project averages or ranks them together. docs/protocols.md says where each of those below comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from petl_study.errors import InputError, unknown
from petl_study.images import Resize, View

Precision = Literal["fp32", "bf16"]
Augmented = Literal["none", "flip", "crop-flip", "randaugment"]  # what each does: `augmentation`
AUGMENTATIONS: tuple[Augmented, ...] = get_args(Augmented)
CROPS: tuple[Augmented, ...] = ("crop-flip", "randaugment")  # train on parts of images


class Protocol(BaseModel):
    """How a model is trained and how a trial is selected. Epochs are passes over the split that is trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    epochs: int = Field(ge=1)
    warmup_epochs: int = Field(ge=0)  # linear, from warmup_lr to the searched learning rate
    warmup_lr: float = Field(ge=0)
    min_lr: float = Field(ge=0)  # where the cosine ends
    batch_size: int = Field(ge=1)
    drop_path: float = Field(ge=0, lt=1)
    # tuned: from the first block that learns on, so that what is frozen before it can be computed once
    drop_path_in: Literal["all", "tuned"] = "all"
    label_smoothing: float = Field(ge=0, lt=1)
    optimizer: Literal["adamw"] = "adamw"
    decay: Literal["matrices", "all"] = "matrices"  # vectors (biases, norms, scales) decay only under "all"
    resize: Resize = "none"
    image_size: int | None = Field(default=None, ge=8)  # pixels of a side, of images that are resized
    normalisation: Literal["backbone", "imagenet", "none"] = "backbone"  # whose mean and std; none: inputs in [0, 1]
    augmentation: Augmented = "none"  # of images that are trained on
    precision: Precision = "fp32"  # of a model's matrix products; bf16: torch's autocast
    selection: Literal["val_accuracy_last_epoch"] = "val_accuracy_last_epoch"  # ties go to the lower validation loss
    final_fit: Literal["trainval"] = "trainval"

    @property
    def view(self) -> View:
        """What images go through before they are normalised."""
        return View(self.resize, self.image_size)

    @model_validator(mode="after")
    def _has_a_view(self) -> Protocol:
        assert self.view  # refuses a size without a way to it
        if self.augmentation in CROPS and self.resize == "direct":
            raise InputError(
                f"augmentation {self.augmentation!r} cuts squares out of training images, and resize 'direct' squeezes"
                " those that are tested on: use `resize: crop`, or `augmentation: flip`."
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Records have no word for the size of images that are not resized, nor for what was not always a choice."""
        kept = {key: value for key, value in handler(self).items() if value is not None}
        return {key: value for key, value in kept.items() if (key, value) != ("drop_path_in", "all")}

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: Any) -> Any:
        """A name stands for that protocol; a mapping with `base` for that protocol with changes."""
        if isinstance(given, str):
            given = {"base": given}
        if not isinstance(given, dict) or "base" not in given:
            return given
        changes = {key: value for key, value in given.items() if key != "base"}
        if not isinstance(given["base"], str) or given["base"] not in PROTOCOLS:
            raise unknown("protocol", given["base"], PROTOCOLS)
        base = PROTOCOLS[given["base"]].settings
        plain = {key: field.default for key, field in cls.model_fields.items()} | base
        changed = {key: value for key, value in changes.items() if plain.get(key) != value}
        # A changed protocol must not pass under the name of the one it was made from.
        name = f"{given['base']}*" if changed and "name" not in changes else given["base"]
        return {**base, "name": name, **changes}


@dataclass(frozen=True)
class Recipe:
    """A protocol that has a name.

    Attributes
    ----------
    summary : str
        In a few words, for tables.
    settings : dict
        What of `Protocol` is not as it is by default.
    source : str
        Where it was published.
    searched : str
        Learning rates and weight decays that its source tried. A study file chooses its own (`search`).
    """

    summary: str
    settings: dict[str, Any]
    source: str = "this project"
    searched: str = ""


_VTAB: dict[str, Any] = {
    "epochs": 100,
    "warmup_epochs": 10,
    "warmup_lr": 1e-6,
    "min_lr": 1e-5,
    "batch_size": 64,
    "drop_path": 0.1,
    "label_smoothing": 0.0,
    "decay": "all",
    "resize": "direct",
    "image_size": 224,
    "normalisation": "none",
}
_STUDY = "arXiv 2409.16434, OSU-MLB/ViT_PEFT_Vision"
_STUDY_SEARCH = "lr {1e-3, 1e-2} x wd {1e-4, 1e-3}"

PROTOCOLS: dict[str, Recipe] = {
    "embedded": Recipe(
        "the embedded 32x32 tasks with micro_vit; images and backbone are of one size, so nothing is resized",
        {
            "epochs": 40,
            "warmup_epochs": 4,
            "warmup_lr": 1e-6,
            "min_lr": 1e-5,
            "batch_size": 64,
            "drop_path": 0.0,
            "label_smoothing": 0.0,
        },
    ),
    "study": Recipe("VTAB-1K as the study ran it: inputs in [0, 1]", _VTAB, _STUDY, _STUDY_SEARCH),
    "imagenet-norm": Recipe(
        "`study` with ImageNet's mean and std", {**_VTAB, "normalisation": "imagenet"}, searched=_STUDY_SEARCH
    ),
    "backbone-norm": Recipe(
        "`study` with the checkpoint's own mean and std", {**_VTAB, "normalisation": "backbone"}, searched=_STUDY_SEARCH
    ),
    "ssf": Recipe(
        "VTAB-1K as SSF ran it; drop path is one value here, by task there",
        {
            **_VTAB,
            "normalisation": "backbone",
            "batch_size": 32,
            "warmup_lr": 1e-7,
            "min_lr": 1e-8,
            "decay": "matrices",
        },
        "arXiv 2210.08823, dongzelian/SSF",
        "by task: lr 1e-3 to 5e-2, wd {5e-5, 5e-2}",
    ),
    "sct": Recipe(
        "VTAB-1K as SCT ran it; smoothing and augmentation are one value here, by task there",
        {**_VTAB, "normalisation": "imagenet", "label_smoothing": 0.1},
        "arXiv 2309.08513, zhaohengyuan1/SCT",
        "by task: lr 7e-4 to 7.5e-2, wd 1e-4 to 1 (by default 1e-3, 1e-4)",
    ),
    "rlrr": Recipe(
        "VTAB-1K as RLRR ran it; drop path and flips are one value here, by task there",
        {**_VTAB, "normalisation": "backbone", "batch_size": 32, "warmup_lr": 1e-7, "min_lr": 1e-8},
        "arXiv 2403.19067, zstarN70/RLRR",
        "by task: lr 1e-3 to 1e-2, wd {5e-5, 5e-2}",
    ),
    "many-shot": Recipe(
        "the study's many-shot CIFAR-100: random crops and flips",
        {
            **_VTAB,
            "epochs": 40,
            "warmup_epochs": 4,
            "resize": "crop",
            "normalisation": "backbone",
            "augmentation": "crop-flip",
        },
        _STUDY,
        "lr {5e-4, 1e-3} x wd {1e-4, 1e-3} x drop path {0, 0.1, 0.2}",
    ),
    "clip": Recipe(
        "the study's CLIP on 100-shot ImageNet: RandAugment and random erasing",
        {
            **_VTAB,
            "warmup_lr": 1e-7,
            "min_lr": 1e-6,
            "batch_size": 256,
            "drop_path": 0.0,
            "resize": "crop",
            "normalisation": "backbone",
            "augmentation": "randaugment",
        },
        _STUDY,
        "lr 3e-5, wd 5e-3, drop path {0, 0.1}",
    ),
}
