"""Random changes to training images, made on batches, on the device that trains.

    flip         left and right change places in half of the images
    crop-flip    a random part, 8 % to 100 % of the area in a shape between 3:4 and 4:3, resized to the whole; then flip
    randaugment  crop-flip; twice, each time for half of the images, one operation of RandAugment (arXiv 1909.13719) at
                 strength 9 of 10; after normalisation, noise over 2 % to 33 % of a quarter of them (arXiv 1708.04896)

Parts are cut out of images as the protocol's view gives them, not of files, which have more pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from petl_study.protocols import Augmented

_STREAM = 1  # sets these draws apart from those of the order of examples, whose seed they share
_GREY = [128.0, 128.0, 128.0]  # where an operation moves an image away from its border
_STRENGTH, _STRENGTHS = 27, 31  # torchvision counts 0 to 30: nine tenths of the most


class Augmentation:
    """Augments batches, one after the other; a `seed` gives the same changes again, whatever else draws numbers."""

    def __init__(self, kind: Augmented, seed: int) -> None:
        self.kind = kind
        self._chance = np.random.default_rng([seed, _STREAM])

    @property
    def state(self) -> dict[str, Any]:
        """Where its generator is: numbers and text."""
        return dict(self._chance.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._chance.bit_generator.state = state

    def __call__(self, images: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
        """`images`, uint8 (B, 3, H, W), changed and normalised: float32 (B, 3, H, W)."""
        if self.kind == "none":
            return normalise(images)
        before, after = _transforms(self.kind, (images.shape[-2], images.shape[-1]))
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator, as dropout does
            torch.default_generator.manual_seed(int(self._chance.integers(2**63)))
            changed = normalise(torch.stack([before(image) for image in images]))
            return changed if after is None else torch.stack([after(image) for image in changed])


Transform = Callable[[Tensor], Tensor]  # of one image (3, H, W)


def _transforms(kind: Augmented, size: tuple[int, int]) -> tuple[Transform, Transform | None]:
    """What happens to an image before it is normalised, and what after."""
    flip = v2.RandomHorizontalFlip()
    if kind == "flip":
        return flip, None
    crop = v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    if kind == "crop-flip":
        return v2.Compose([crop, flip]), None
    operation = v2.RandAugment(num_ops=1, magnitude=_STRENGTH, num_magnitude_bins=_STRENGTHS, fill=_GREY)
    half = v2.RandomApply([operation], p=0.5)
    # A value of "random" is noise N(0, 1), which is what normalised pixels are like.
    erase = v2.RandomErasing(p=0.25, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value="random")
    return v2.Compose([crop, flip, half, half]), erase
