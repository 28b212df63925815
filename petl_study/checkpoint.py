"""Where a training stopped between two epochs, whole: going on from there gives the bits of never having stopped.

One safetensors file. Its tensors are the model's trained parameters and its buffers, the optimiser's state of every
parameter, and torch's generators; its metadata are, as JSON, the curve so far, NumPy's and Python's generators, and
what the training was made with, for whoever goes on to compare. A SHA-256 of all of it tells a damaged file.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from petl_study.augmentation import Augmentation
from petl_study.errors import InputError
from petl_study.store import canonical, write_file
from petl_study.strangers import plain_json

_TOLD = {"curve": list, "chance": dict, "made": dict}


@dataclass(frozen=True)
class Parts:
    """What of a training changes from step to step; of one that goes on, as it is made anew."""

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    shuffle: torch.Generator
    augment: Augmentation | None


@dataclass(frozen=True)
class Checkpoint:
    """A training between two epochs: `curve` has a row for every epoch so far, `made` is what its maker noted."""

    curve: list[dict[str, float]]
    tensors: dict[str, Tensor]
    chance: dict[str, Any]
    made: dict[str, Any]

    @classmethod
    def of(cls, parts: Parts, curve: list[dict[str, float]]) -> Checkpoint:
        """A copy of what `parts` are now."""
        generators = {"shuffle": parts.shuffle.get_state(), "torch": torch.get_rng_state()}
        if (device := _device(parts.model)).type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        kept = {
            "parameter": parts.parameters,
            "buffer": dict(parts.model.named_buffers()),
            "optimizer": {
                f"{key}/{name}": value
                for name, parameter in parts.parameters.items()
                for key, value in parts.optimizer.state.get(parameter, {}).items()
            },
            "generator": generators,
        }
        kind, keys, *position = np.random.get_state()  # noqa: NPY002 (third-party code draws from it)
        chance = {
            "augmentation": parts.augment.state if parts.augment else None,
            "numpy": [kind, np.asarray(keys).tolist(), *position],
            "python": random.getstate(),
        }
        tensors = {
            f"{part}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for part, named in kept.items()
            for name, tensor in named.items()
        }
        return cls([*curve], tensors, chance, {})

    def restore(self, parts: Parts) -> None:
        """Make `parts` what they were, in place.

        Raises
        ------
        InputError
            It is not of these parts, though its maker noted what is noted of them.
        """
        try:
            self._restore(parts)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(
                f"a checkpoint in the study's checkpoints/ is not of the training that goes on from it"
                f" ({type(error).__name__}: {error}). Remove that directory: what was stopped is trained anew."
            ) from None

    @torch.no_grad()
    def _restore(self, parts: Parts) -> None:
        for name, parameter in parts.parameters.items():
            parameter.copy_(self.tensors[f"parameter/{name}"])
        for name, buffer in parts.model.named_buffers():
            buffer.copy_(self.tensors[f"buffer/{name}"])
        device = _device(parts.model)
        for place, tensor in self.tensors.items():
            part, _, rest = place.partition("/")
            if part == "optimizer":
                key, _, name = rest.partition("/")
                parts.optimizer.state[parts.parameters[name]][key] = tensor.to(device, copy=True)
        parts.shuffle.set_state(self.tensors["generator/shuffle"])
        if parts.augment:
            parts.augment.state = self.chance["augmentation"]
        torch.set_rng_state(self.tensors["generator/torch"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(self.tensors["generator/cuda"], device)
        kind, keys, *position = self.chance["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), *position))  # noqa: NPY002
        version, numbers, gauss = self.chance["python"]
        random.setstate((version, tuple(numbers), gauss))

    def save(self, path: Path, **made: Any) -> None:
        """Write it to `path`, whole or not at all; `made` is kept with it."""
        told = canonical({"curve": self.curve, "chance": self.chance, "made": made})
        metadata = {"training": told.decode(), "sha256": _digest(self.tensors, told)}
        write_file(path, safetensors.torch.save(self.tensors, metadata))


def load(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None where there is none, or one that is not as it was written."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        told = metadata["training"].encode()
        if metadata["sha256"] != _digest(tensors, told):
            return None
        content = plain_json.parse(told)
        if not all(isinstance(content[name], kind) for name, kind in _TOLD.items()):
            return None
        if not isinstance(content["made"]["seconds"], int | float):
            return None
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None  # not as `save` writes it, which could be anything
    return Checkpoint(content["curve"], tensors, content["chance"], content["made"])


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _digest(tensors: Mapping[str, Tensor], told: bytes) -> str:
    digest = hashlib.sha256(told)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
