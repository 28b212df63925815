"""Small pictures as arrays of light: compositing, colour, illumination, noise.

Everywhere below an image is float64 (H, W, 3) from 0 to 1 and a field is float64 (H, W). Only elementwise arithmetic
and short sums are used, and the last step rounds to bytes, so that a picture is the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from petl_study.render.dice import Dice

Image = NDArray[np.float64]
Field = NDArray[np.float64]
Colour = NDArray[np.float64]

LUMA = (0.299, 0.587, 0.114)


@lru_cache
def pixel_centres(size: int) -> tuple[Field, Field]:
    """The x and y of every pixel's centre, in pixels from the image's centre, both (size, size)."""
    steps = np.arange(size) + 0.5 - size / 2
    x, y = (np.ascontiguousarray(a) for a in np.broadcast_arrays(steps[None, :], steps[:, None]))
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def fill(size: int, colour: ArrayLike) -> Image:
    """An image of one colour."""
    return np.broadcast_to(np.asarray(colour, dtype=np.float64), (size, size, 3)).copy()


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """How much of each pixel a shape covers, 0 to 1, from its signed distance in pixels (positive inside)."""
    return np.clip(0.5 + distance / softness, 0.0, 1.0)


def over(image: Image, colour: ArrayLike, alpha: Field) -> Image:
    """`colour` (3,) or (H, W, 3) laid over the image where `alpha` (H, W) says so."""
    return image + alpha[..., None] * (np.asarray(colour) - image)


def luma(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Perceived brightness of (..., 3), 0 to 1."""
    return np.asarray(LUMA[0] * colour[..., 0] + LUMA[1] * colour[..., 1] + LUMA[2] * colour[..., 2])


def random_colour(dice: Dice, low: float = 0.0, high: float = 1.0) -> Colour:
    return dice.uniforms(3, low, high)


def contrasting_colour(dice: Dice, against: Colour, difference: float) -> Colour:
    """A random colour whose brightness differs from that of `against` by at least `difference`.

    Drawn until one fits; after 50 misses black or white, whichever is further, ends the search.
    """
    for _ in range(50):
        colour = random_colour(dice)
        if abs(float(luma(colour) - luma(against))) >= difference:
            return colour
    return np.full(3, 0.0 if float(luma(against)) > 0.5 else 1.0)


def ramp(dice: Dice, size: int, strength: float) -> Field:
    """A linear field in a random direction, from 1 - strength to 1 + strength between the furthest corners at most."""
    x, y = pixel_centres(size)
    dx, dy = dice.uniform(-strength, strength), dice.uniform(-strength, strength)
    return 1.0 + (x * dx + y * dy) / size


def illuminate(image: Image, dice: Dice, strength: float) -> Image:
    """Light that falls unevenly across the scene."""
    return image * ramp(dice, image.shape[0], strength)[..., None]


def add_noise(image: Image, dice: Dice, sigma: float) -> Image:
    """Sensor noise: independent in every pixel and channel."""
    return image + sigma * dice.gaussians(image.shape)


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur, `sigma` in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0.0), mode="nearest"))


def to_bytes(image: Image) -> NDArray[np.uint8]:
    """0 to 1 as 0 to 255, rounded, clipped."""
    return np.clip(np.floor(image * 255.0 + 0.5), 0, 255).astype(np.uint8)
