"""Training protocols: everything about a training that is neither the task, the backbone, the method nor searched.

A protocol goes whole into every record. Two results under different protocols are not comparable, and nothing in this
project averages or ranks them together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from petl_study.errors import unknown
from petl_study.images import Resize, View


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
    label_smoothing: float = Field(ge=0, lt=1)
    optimizer: Literal["adamw"] = "adamw"
    decay: Literal["matrices", "all"] = "matrices"  # vectors (biases, norms, scales) decay only under "all"
    resize: Resize = "none"
    image_size: int | None = Field(default=None, ge=8)  # pixels of a side, of images that are resized
    normalisation: Literal["backbone", "none"] = "backbone"  # the checkpoint's own mean and std, or inputs in [0, 1]
    augmentation: Literal["none"] = "none"
    precision: Literal["fp32"] = "fp32"
    selection: Literal["val_accuracy_last_epoch"] = "val_accuracy_last_epoch"  # ties go to the lower validation loss
    final_fit: Literal["trainval"] = "trainval"

    @property
    def view(self) -> View:
        """What images go through before they are normalised."""
        return View(self.resize, self.image_size)

    @model_validator(mode="after")
    def _has_a_view(self) -> Protocol:
        assert self.view  # refuses a size without a way to it
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Images that are not resized have no size, and records have no word for it."""
        return {key: value for key, value in handler(self).items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: Any) -> Any:
        """A name stands for that protocol; a mapping with `base` for that protocol with changes."""
        if isinstance(given, str):
            given = {"base": given}
        if not isinstance(given, dict) or "base" not in given:
            return given
        changes = {key: value for key, value in given.items() if key != "base"}
        if given["base"] not in PROTOCOLS:
            raise unknown("protocol", given["base"], PROTOCOLS)
        base = PROTOCOLS[given["base"]]
        changed = {key: value for key, value in changes.items() if base.get(key) != value}
        # A changed protocol must not pass under the name of the one it was made from.
        name = f"{given['base']}*" if changed and "name" not in changes else given["base"]
        return {**base, "name": name, **changes}


PROTOCOLS: dict[str, dict[str, Any]] = {
    # For the embedded 32x32 tasks and micro_vit. Images and backbone are of one size, so nothing is resized.
    "embedded": {
        "epochs": 40,
        "warmup_epochs": 4,
        "warmup_lr": 1e-6,
        "min_lr": 1e-5,
        "batch_size": 64,
        "drop_path": 0.0,
        "label_smoothing": 0.0,
    },
}
