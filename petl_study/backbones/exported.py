"""Directories that hold a model whole: what it is in `config.json`, and its weights.

    DIR/config.json                              architecture, model_args, pretrained_cfg (mean, std, input size)
    DIR/model.safetensors or pytorch_model.bin

`petl-study export` writes them, `hf download timm/NAME --local-dir DIR` fetches them, timm calls them `local-dir:`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from pydantic import BaseModel, ValidationError
from timm.models import PretrainedCfg

from petl_study.backbones import checkpoints
from petl_study.errors import DamagedRecord, InputError
from petl_study.strangers import plain_json

PREFIXES = ("file:", "local-dir:")  # records have the first
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# What is ours to say of a model, or would have timm look for weights elsewhere.
_OURS = ("num_classes", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
LARGEST = 16_384  # of the numbers that a model is made with: widths, depths, pixels


class _Inputs(BaseModel):
    """What of timm's `pretrained_cfg` tells how inputs are made; where the weights came from once is passed over."""

    input_size: tuple[int, int, int] | None = None
    fixed_input_size: bool | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None


class _Model(BaseModel):
    architecture: str
    model_args: dict[str, Any] = {}


@dataclass(frozen=True)
class Exported:
    """A directory's model: `arguments` are timm.create_model's beside `architecture`, the classifier aside."""

    architecture: str
    arguments: dict[str, Any]
    config: PretrainedCfg = field(repr=False)
    weights: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model's arguments, mean and std, and the bytes of its weights."""
        said = [self.architecture, self.arguments, self.config.mean, self.config.std, checkpoints.sha256(self.weights)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read(name: str) -> Exported:
    """The model in the directory that `checkpoints.at` finds for `name`.

    Raises
    ------
    InputError
        There is no such directory, it lacks a file, or its configuration names no model of timm.
    DamagedRecord
        Its configuration is no JSON.
    """
    directory = checkpoints.at(name)
    if directory.is_file():
        raise InputError(
            f"file:{name}: weights alone do not say which architecture they are of. Name it, as in"
            f" vit_base_patch16_224@{name}; file: takes a directory with a config.json beside them."
        )
    if not directory.is_dir() and "@" in name:
        raise InputError(f"file:{name}: file: takes a directory. Weights of a file are named without it: {name}.")
    if not directory.is_dir():
        raise InputError(
            f"file:{name}: there is no directory {directory}. Give an existing one, as `petl-study export` or"
            " `hf download timm/NAME --local-dir DIR` writes it; --weights DIR says what names are relative to."
        )
    weights = next((directory / file for file in WEIGHTS if (directory / file).is_file()), None)
    if weights is None or not (directory / "config.json").is_file():
        lacking = "config.json" if weights else " or ".join(WEIGHTS)
        raise InputError(f"{directory} holds no model: it has no {lacking}. Fetch it again, or name ARCHITECTURE@FILE.")
    return _model(directory / "config.json", weights)


def _model(file: Path, weights: Path) -> Exported:
    try:
        said = plain_json.read(file)
        model = _Model.model_validate(said)
        inputs = _Inputs.model_validate(said.get("pretrained_cfg", said))  # older files have no such part
    except (OSError, ValueError) as error:
        raise DamagedRecord(f"{file} describes no model of timm: {_why(error)}. Fetch it again.") from None
    if not timm.is_model(model.architecture):
        raise InputError(
            f"{file} is of {model.architecture!r}, which timm {timm.__version__} does not have: a newer one may."
        )
    if wrong := sorted(set(model.model_args) & set(_OURS)):
        raise InputError(
            f"{file}: model_args are arguments of the model alone, without {', '.join(wrong)}. Remove them."
        )
    if large := sorted(name for name, value in model.model_args.items() if not _plausible(value)):
        raise InputError(
            f"{file}: model_args ask for more than any model of timm has, with {', '.join(large)}: no number is above"
            f" {LARGEST:,}. Fetch it again."
        )
    known = timm.get_pretrained_cfg(model.architecture) or PretrainedCfg()
    config = dataclasses.replace(known, **inputs.model_dump(exclude_none=True))
    return Exported(model.architecture, model.model_args, config, weights)


def _plausible(value: Any) -> bool:
    """Whether a model can be made with it: what is allocated is asked for before weights are looked at."""
    if isinstance(value, list | dict):
        return len(value) <= 100 and all(map(_plausible, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int | float) or abs(value) <= LARGEST


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
    return str(error)
