"""What is measured: models with random weights, drawn images, and one step of training or prediction with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from petl_study import backbones, methods, places, training
from petl_study.augmentation import Augmentation
from petl_study.errors import InputError
from petl_study.protocols import Precision, Protocol

CLASSES = 100
PEFT = "peft:lora"  # how rows call Hugging Face PEFT's own LoRA
_STILL = 1e-6  # learning rate: weights stay where numbers are neither next to zero nor infinite


@dataclass(frozen=True)
class Setting:
    """How steps are measured: everything but the method.

    Attributes
    ----------
    batch : int
        Images a step.
    drop_path : float
        While training; the backbone's rate, as a protocol sets it.
    compile : bool
        Whether blocks are compiled, as by ``run --compile``.
    """

    backbone: str
    batch: int
    precision: Precision
    device: str
    drop_path: float = 0.0
    compile: bool = False

    @property
    def protocol(self) -> Protocol:
        made = {"base": "study", "name": "bench", "batch_size": self.batch, "precision": self.precision}
        return Protocol.model_validate({**made, "drop_path": self.drop_path})

    @property
    def image_size(self) -> int:
        return backbones.info(self.backbone).image_size

    @property
    def at_once(self) -> int:
        """Images that go through a model at once while it is trained."""
        return training.micro_batch(self.image_size**2, self.protocol, self.device)


@dataclass
class Drawn:
    """Images (B, 3, H, W) and their labels, as `training.ask` takes them."""

    images: Tensor
    labels: Tensor
    pixels: int
    augment: Augmentation | None = None

    def __call__(self, index: Tensor | slice) -> Tensor:
        return self.images[index]


def plain(backbone: str, drop_path: float = 0.0, *, classes: int = CLASSES, image_size: int | None = None) -> nn.Module:
    """The backbone with random weights, for no weights take longer than others, in evaluation mode."""
    name, arguments = backbones.architecture(backbone, image_size)
    model = timm.create_model(name, **{"num_classes": classes, "drop_path_rate": drop_path, **arguments}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.02)  # numbers next to zero are slow
    return model


def drawn(setting: Setting) -> Drawn:
    size = setting.image_size
    images = torch.randn(setting.batch, 3, size, size).to(setting.device)
    return Drawn(images, (torch.arange(setting.batch) % CLASSES).to(setting.device), size**2)


@dataclass(frozen=True)
class Subject:
    """A method on a backbone, ours or Hugging Face PEFT's.

    Attributes
    ----------
    rank : int, optional
        Other than the method's default, of a method that has one.
    """

    method: str
    rank: int | None = None
    way: Literal["beside", "merged"] = "beside"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        if self.method == PEFT:
            return {"rank": self.rank}
        return dataclasses.asdict(self._method)

    @property
    def _method(self) -> methods.Method:
        return methods.create(self.method, **({} if self.rank is None else {"rank": self.rank}))

    def on(self, model: nn.Module, examples: Drawn) -> nn.Module:
        """`model`, changed in place so that it carries the method."""
        if self.method == "plain":
            return model
        if self.method == PEFT:
            return _peft_lora(model, self.rank or 8)
        carrying = self._method.apply(model, [(examples.images, examples.labels)])
        methods.forget_start(carrying)  # as a trial does
        return methods.merge(carrying) if self.way == "merged" else carrying


def training_step(model: nn.Module, examples: Drawn, setting: Setting) -> Callable[[], object]:
    """One step of petl_study's own training of what learns in `model`: forward, back, AdamW."""
    protocol = setting.protocol
    learns = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = training.parameter_groups(learns, weight_decay=1e-4, protocol=protocol)
    optimizer = torch.optim.AdamW(groups, lr=_STILL, fused=True)
    model.train()
    return lambda: training.step(model, optimizer, examples.images, examples.labels, protocol, setting.at_once)


def prediction(model: nn.Module, examples: Drawn, setting: Setting) -> Callable[[], object]:
    """Logits of all examples, as petl_study asks for them."""
    return lambda: training.ask(model, examples, setting.precision)


@contextmanager
def placed(**changes: Any) -> Iterator[None]:
    """`places.Places` changed so while the block runs."""
    before = places.here()
    places.use(replace(before, **changes))
    try:
        yield
    finally:
        places.use(before)


def _peft_lora(model: nn.Module, rank: int) -> nn.Module:
    """Hugging Face PEFT's LoRA where ours is: at qkv, not divided by the rank, with the classifier trained."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError(
            "--beside peft needs the package peft, which is not installed; pip install 'petl_study[peft]'."
        ) from None
    found = [name for name, module in model.named_modules() if module is model.get_classifier()]  # type: ignore[operator]
    if not any(name.endswith("qkv") for name, _ in model.named_modules()):
        raise InputError(f"PEFT's LoRA is set beside at the fused qkv, which a {type(model).__name__} has not.")
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["qkv"], modules_to_save=found)
    carrying: nn.Module = get_peft_model(model, config)
    return carrying
