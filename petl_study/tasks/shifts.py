"""Shift sets: a test split seen under worse conditions, kind by kind and severity by severity.

A shift set is named ``kind:severity``. It keeps the test split's examples, labels, ids and order; only pixels change.
What happens to an example is drawn from its id and the kind, never from its place in the split, and the three
severities share that draw: the same patch grows, the same noise gets louder. Severities therefore differ in strength
and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from petl_study.errors import unknown
from petl_study.render.canvas import Field, Image, blur, to_bytes
from petl_study.render.dice import Dice
from petl_study.tasks._base import Split

Shift = Callable[[Image, float, Dice], Image]  # (image (H, W, 3) from 0 to 1, amount, chance) -> image


def noise(image: Image, sigma: float, dice: Dice) -> Image:
    """Gaussian noise in every pixel and channel."""
    return image + sigma * dice.gaussians(image.shape)


def out_of_focus(image: Image, sigma: float, dice: Dice) -> Image:
    """Gaussian blur, `sigma` in pixels."""
    return blur(image, sigma)


def contrast(image: Image, loss: float, dice: Dice) -> Image:
    """Every pixel moved towards the image's mean brightness by the fraction `loss`."""
    return image + (float(image.mean()) - image) * loss


def polarity(image: Image, channels: float, dice: Dice) -> Image:
    """One, two or all three colour channels inverted: dark becomes bright, by way of odd colours."""
    inverted = dice.permutation(3)[: int(channels)]
    image = image.copy()
    image[..., inverted] = 1.0 - image[..., inverted]
    return image


def rotation(image: Image, degrees: float, dice: Dice) -> Image:
    """Turned about the centre, to the left or to the right."""
    angle = np.deg2rad(degrees if dice.chance(0.5) else -degrees)
    y, x = _pixel_indices(image)
    cy, cx = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return _sample(image, cy + (y - cy) * c - (x - cx) * s, cx + (y - cy) * s + (x - cx) * c)


def elastic(image: Image, pixels: float, dice: Dice) -> Image:
    """Rubber: each pixel displaced by a smooth random field, `pixels` in root mean square along each axis."""
    height, width, _ = image.shape
    field = ndimage.gaussian_filter(dice.uniforms((2, height, width), -1.0, 1.0), (0.0, 4.0, 4.0), mode="wrap")
    field *= pixels / np.sqrt((field * field).mean(axis=(1, 2), keepdims=True))
    y, x = _pixel_indices(image)
    return _sample(image, y + field[0], x + field[1])


def pixelate(image: Image, block: float, dice: Dice) -> Image:
    """Averaged over squares of `block` pixels, as a poor sensor or codec would."""
    height, width, _ = image.shape
    rows, columns = np.arange(height) // int(block), np.arange(width) // int(block)
    total = np.add.reduceat(image, np.flatnonzero(np.diff(rows, prepend=-1)), axis=0)
    total = np.add.reduceat(total, np.flatnonzero(np.diff(columns, prepend=-1)), axis=1)
    area = np.bincount(rows)[:, None] * np.bincount(columns)
    return np.asarray(total / area[..., None])[rows[:, None], columns]


def occlusion(image: Image, area: float, dice: Dice) -> Image:
    """A rectangle in one colour over the fraction `area` of the image; a larger one holds the smaller."""
    height, width, _ = image.shape
    ratio, colour = dice.uniform(0.6, 1.6), dice.uniforms(3)

    def sides(area: float) -> tuple[float, float]:
        return height * (area / ratio) ** 0.5, width * (area * ratio) ** 0.5

    (h, w), (room_h, room_w) = sides(area), sides(SHIFTS["occlusion"][1][-1])
    cy = dice.uniform(room_h / 2, height - room_h / 2)  # where the largest patch would still lie inside the image
    cx = dice.uniform(room_w / 2, width - room_w / 2)
    y, x = _pixel_indices(image)
    inside = (np.abs(y + 0.5 - cy) < h / 2) & (np.abs(x + 0.5 - cx) < w / 2)
    return np.where(inside[..., None], colour, image)


SHIFTS: dict[str, tuple[Shift, tuple[float, float, float]]] = {
    "noise": (noise, (0.12, 0.24, 0.40)),
    "blur": (out_of_focus, (1.0, 1.8, 2.8)),
    "contrast": (contrast, (0.5, 0.75, 0.9)),
    "polarity": (polarity, (1, 2, 3)),
    "rotation": (rotation, (15, 30, 45)),
    "elastic": (elastic, (0.8, 1.4, 2.0)),
    "pixelate": (pixelate, (2, 4, 6)),
    "occlusion": (occlusion, (0.08, 0.18, 0.32)),
}
SEVERITIES = (1, 2, 3)
SHIFT_SETS = tuple(f"{kind}:{severity}" for kind in SHIFTS for severity in SEVERITIES)


def shift(name: str, split: Split) -> Split:
    """The split's examples under the shift called `name`, such as ``"blur:2"``.

    Raises
    ------
    InputError
        There is no such kind or severity; the message lists those there are.
    """
    if name not in SHIFT_SETS:
        raise unknown("shift set", name, SHIFT_SETS)
    kind, _, severity = name.partition(":")
    apply, amounts = SHIFTS[kind]
    amount = amounts[int(severity) - 1]
    images = [
        to_bytes(apply(image / 255.0, amount, Dice("shift", kind, str(example))))
        for image, example in zip(split.pixels[:], split.ids, strict=True)
    ]
    return Split(np.stack(images), split.labels, split.ids)


def _pixel_indices(image: Image) -> tuple[Field, Field]:
    """Row and column numbers, both (H, W)."""
    height, width, _ = image.shape
    y, x = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
    return np.repeat(y[:, None], width, axis=1), np.repeat(x[None, :], height, axis=0)


def _sample(image: Image, y: Field, x: Field) -> Image:
    """The image read at fractional rows and columns (H, W), bilinear, its border going on outside."""
    channels = np.moveaxis(image, -1, 0)
    return np.stack([ndimage.map_coordinates(c, [y, x], order=1, mode="nearest") for c in channels], axis=-1)
