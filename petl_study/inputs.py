"""What models take, by the index of an example: images on their way to a model, or what a frozen part made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from petl_study.augmentation import Augmentation
from petl_study.tasks import Split

HELD_BYTES = 2 * 2**30  # of a split's images that are held in memory; more are read batch by batch


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of inputs in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> Tensor:  # uint8 (B, 3, H, W) -> float32 (B, 3, H, W)
        mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))


class Inputs(Protocol):
    """N examples in the form that a model takes them in.

    Attributes
    ----------
    labels : Tensor
        (N,), on the device that trains.
    pixels : int
        Of one example: what a model remembers of it for the way back grows with them. 0: next to nothing.
    augment : Augmentation, optional
        What draws how the examples of a batch are changed.
    """

    labels: Tensor
    pixels: int
    augment: Augmentation | None

    def __call__(self, index: Tensor | slice) -> Tensor:
        """The examples at `index`, on the device that trains: (B, ...)."""


class Pixels:
    """The images of a split on their way to a model: (B, 3, H, W), augmented and normalised.

    Parameters
    ----------
    augment : Augmentation, optional
        What happens to them first.
    hold : bool
        Whether they will be asked for again: they stay on `device`, where they are not too many.
    """

    def __init__(
        self,
        split: Split,
        normalise: Normalisation,
        device: torch.device,
        *,
        augment: Augmentation | None = None,
        hold: bool = True,
    ) -> None:
        self._images, self._normalise, self._device, self.augment = split.pixels, normalise, device, augment
        _, height, width, _ = self._images.shape
        self.labels = torch.from_numpy(split.labels).to(device)
        self.pixels = height * width
        self._held = to_tensor(self._images[:], device) if hold and self._images.nbytes <= HELD_BYTES else None

    def __call__(self, index: Tensor | slice) -> Tensor:
        images = self._read(index) if self._held is None else self._held[index]
        return self.augment(images, self._normalise) if self.augment else self._normalise(images)

    def _read(self, index: Tensor | slice) -> Tensor:
        return to_tensor(self._images[index if isinstance(index, slice) else index.cpu().numpy()], self._device)


class Activations:
    """What a frozen part made of N images, (N, ...), for the part that learns."""

    augment: Augmentation | None = None

    def __init__(self, made: Tensor, labels: NDArray[np.int64], pixels: int) -> None:
        self._made, self.labels, self.pixels = made, torch.from_numpy(labels).to(made.device), pixels

    def __call__(self, index: Tensor | slice) -> Tensor:
        return self._made[index]


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as a contiguous uint8 (N, 3, H, W) on `device`."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
