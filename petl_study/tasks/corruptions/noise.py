"""Noise of a sensor: Gaussian, shot and impulse noise, drawn anew in every pixel and channel at any image size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

from petl_study.render.canvas import Field, Image, to_bytes
from petl_study.render.dice import Dice
from petl_study.tasks.corruptions._pixels import normals


def gaussian_noise(image: Image, sigma: float, dice: Dice) -> Image:
    """Low light: normal noise of deviation `sigma`. As published."""
    return image + sigma * normals(dice, image.shape)


def shot_noise(image: Image, photons: float, dice: Dice) -> Image:
    """Photons come one by one: each value is a Poisson count over `photons`, the mean count of white. As published."""
    steps = int(photons)
    value = to_bytes(image)
    draws = dice.uniforms(image.shape)
    below = np.searchsorted(_poisson_steps(steps), value + draws, side="right") - steps * value.astype(np.int64)
    return np.clip(below, 0, steps) / steps


def impulse_noise(image: Image, share: float, dice: Dice) -> Image:
    """Dead and hot pixels: the fraction `share` of all values becomes 0 or 1, either half the time. As published."""
    draws = dice.uniforms(image.shape)
    return np.where(draws < share / 2, 0.0, np.where(draws >= 1 - share / 2, 1.0, image))


@lru_cache(maxsize=8)
def _poisson_steps(white: int) -> Field:
    """Where the distribution functions of the counts of bytes 0..255 step, one byte after the other: (256 `white`,).

    Byte v fills v to v + 1, so one sorted search inverts all 256. Counts above `white` are white too: no step needed.
    """
    value = np.arange(256)[:, None]
    return np.asarray(value + special.pdtr(np.arange(white), value / 255.0 * white)).ravel()
