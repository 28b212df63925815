"""How an image of any size becomes one that a model takes: a part of every protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from petl_study.errors import InputError

Resize = Literal["none", "direct", "crop"]

MARGIN = 256 / 224  # of the shorter side over the crop's, under "crop"
MOST_PIXELS = 89_000_000  # of an image, as stored or on its way to a size; Pillow warns of more


@dataclass(frozen=True)
class View:
    """A size, and how to get there; bicubic and antialiased, as Pillow resizes.

    Attributes
    ----------
    resize : str
        ``none``: images are taken as they are. ``direct``: both sides to `size`, whatever the shape was (the habit on
        VTAB-1K). ``crop``: the shorter side to 256/224 of `size`, then the square in the middle (that on ImageNet).
    size : int, optional
        Pixels of a side of the square that comes out.
    """

    resize: Resize = "none"
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.resize == "none") != (self.size is None):
            raise InputError(
                f"resize {self.resize!r} with image_size {self.size!r}: images that are resized need a size, such as"
                " 224, and those taken as they are have none."
            )

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.size is None or (self.resize == "direct" and image.size == (self.size, self.size)):
            return image
        side = (self.size, self.size)
        if self.resize == "direct":
            return image.resize(side, Image.Resampling.BICUBIC)
        larger = self._larger(*image.size, round(self.size * MARGIN))
        left, top = round((larger[0] - self.size) / 2), round((larger[1] - self.size) / 2)
        box = (left, top, left + self.size, top + self.size)
        return image.resize(larger, Image.Resampling.BICUBIC).crop(box)

    @staticmethod
    def _larger(width: int, height: int, shorter: int) -> tuple[int, int]:
        """Width and height once the shorter of them is `shorter`."""
        longer = int(shorter * max(width, height) / min(width, height))  # cut off, as torchvision's Resize does
        if shorter * longer > MOST_PIXELS:
            raise ValueError(f"{width} x {height} pixels are too oblong: cut out of {longer:,} x {shorter}")
        return (shorter, longer) if width <= height else (longer, shorter)

    def __str__(self) -> str:
        return self.resize if self.size is None else f"{self.resize}-{self.size}"


AS_IS = View()
