"""Random scalar fields, the raw material of textures and backgrounds. Mean 0 and deviation 1 unless said otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from petl_study.render.canvas import Field
from petl_study.render.dice import Dice


def standardise(field: Field) -> Field:
    """Mean 0, deviation 1."""
    centred = field - float(field.mean())
    return np.asarray(centred / max(float((centred * centred).mean()) ** 0.5, 1e-12))


def smooth_noise(dice: Dice, size: int, sigma: float) -> Field:
    """White noise blurred by `sigma` pixels: lumps about 4 sigma across."""
    return standardise(ndimage.gaussian_filter(dice.uniforms((size, size)), sigma, mode="wrap"))


def band_noise(dice: Dice, size: int, sigma: float) -> Field:
    """Noise of one scale without direction, as in Turing patterns: lumps and gaps about 4 sigma apart."""
    noise = dice.uniforms((size, size))
    fine = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return standardise(fine - ndimage.gaussian_filter(noise, 1.6 * sigma, mode="wrap"))


def cloud_noise(dice: Dice, size: int, coarsest: float, persistence: float = 0.6) -> Field:
    """Octaves of smooth noise, each half as wide and `persistence` times as strong as the last: about 1/f."""
    field = np.zeros((size, size))
    sigma, strength = coarsest, 1.0
    while sigma >= 0.4:
        field += strength * smooth_noise(dice, size, sigma)
        sigma, strength = sigma / 2, strength * persistence
    return standardise(field)


def streak_noise(dice: Dice, size: int, length: float, width: float, angle: float) -> Field:
    """Noise drawn out along `angle` (radians): lumps about 4 `length` by 4 `width` pixels."""
    noise = ndimage.gaussian_filter(dice.uniforms((2 * size, 2 * size)), (width, length), mode="wrap")
    steps = np.arange(size) - (size - 1) / 2
    c, s = float(np.cos(angle)), float(np.sin(angle))
    rows, columns = steps[:, None] * c - steps[None, :] * s, steps[:, None] * s + steps[None, :] * c
    centre = size - 0.5
    return standardise(ndimage.map_coordinates(noise, [rows + centre, columns + centre], order=1, mode="grid-wrap"))


def scattered(dice: Dice, size: int, spacing: float) -> tuple[Field, Field]:
    """Points about `spacing` pixels apart without forming rows, around the image's centre: x and y, both (P,)."""
    n = int(size / spacing) + 3
    cells = (np.arange(n) - (n - 1) / 2) * spacing
    shift = dice.uniforms((2, 1, 1), -spacing / 2, spacing / 2)
    jitter = dice.uniforms((2, n, n), -0.5 * spacing, 0.5 * spacing)
    # every other row is moved by half a step: neighbours then surround a point on six sides instead of four
    stagger = np.where(np.arange(n) % 2 == 0, 0.25, -0.25)[:, None] * spacing
    x, y = cells[None, :] + stagger + shift[0] + jitter[0], cells[:, None] + shift[1] + jitter[1]
    return x.ravel(), y.ravel()


def nearest_points(x: Field, y: Field, px: Field, py: Field) -> tuple[Field, Field, NDArray[np.intp]]:
    """Distances from every pixel (H, W) to the nearest and second nearest of P points, and which is nearest."""
    squared = (x[..., None] - px) ** 2 + (y[..., None] - py) ** 2  # (H, W, P)
    which = np.argmin(squared, axis=-1)  # (H, W)
    two = np.sqrt(np.partition(squared, 1, axis=-1)[..., :2])
    return two[..., 0], two[..., 1], which
