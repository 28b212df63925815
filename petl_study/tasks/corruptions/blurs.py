"""Blur: out of focus, through frosted glass, in motion, while zooming. Lengths follow the image's size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from petl_study.render.canvas import Field, Image, blur
from petl_study.render.dice import Dice
from petl_study.tasks.corruptions._pixels import (
    correlated,
    motion_kernel,
    pixel_indices,
    point_spread,
    resampled,
    sampled,
    scale_of,
)


def defocus_blur(image: Image, disc: tuple[float, float], dice: Dice) -> Image:
    """Out of focus: averaged over a disc of `radius` pixels whose rim is softened by `sigma`.

    The published kernel lies in a window of 17 or 21 pixels that mirrors the softened rim of the widest discs: at
    severities 4 and 5 it sums to 1.013 and 1.011 and brightens the image. Here every kernel sums to 1.
    """
    return correlated(image, _disc_kernel(*disc, scale_of(image)), border="reflect")


def glass_blur(image: Image, glass: tuple[float, int, int], dice: Dice) -> Image:
    """Frosted glass: blurred by `sigma`, pixels scattered up to `reach` away, `rounds` times, and blurred again.

    In a round every pixel takes the value of a random neighbour, -reach to reach - 1 away in either direction, all at
    once. The published loop visits pixels one after the other, meaning to swap two of them, and leaves a rim as it is.
    Between, the published image is cut to bytes.
    """
    sigma, reach, rounds = glass
    scale = scale_of(image)
    height, width, _ = image.shape
    y, x = pixel_indices(height, width)
    image = blur(image, sigma * scale)
    for _ in range(rounds):
        dy, dx = np.floor(dice.uniforms((2, height, width), -reach, reach)) * scale
        image = sampled(image, y + dy, x + dx, mode="nearest")
    return blur(image, sigma * scale)


def motion_blur(image: Image, motion: tuple[float, float], dice: Dice) -> Image:
    """The camera moves along a line within 45 degrees of the horizontal: `radius` and `sigma` as ImageMagick has them.

    Taps lie at fractional pixels along the line, where ImageMagick rounds them to whole ones.
    """
    radius, sigma = motion
    kernel = motion_kernel(radius, sigma, dice.uniform(-45.0, 45.0), scale_of(image))
    return correlated(image, kernel, border="edge")


def zoom_blur(image: Image, zoom: tuple[float, int], dice: Dice) -> Image:
    """The camera moves closer: the mean of the image and of `steps` enlargements by equal steps from 1 to `largest`.

    Enlarged about the exact centre, where the published crop is of whole pixels and strays by up to one.
    """
    largest, steps = zoom
    total = image.copy()
    middles = [(n - 1) / 2 for n in image.shape[:2]]
    for factor in np.linspace(1.0, largest, steps):
        rows, columns = (m + (np.arange(n) - m) / factor for n, m in zip(image.shape[:2], middles, strict=True))
        total += resampled(image, rows, columns)
    return total / (steps + 1)


@lru_cache(maxsize=32)
def _disc_kernel(radius: float, sigma: float, scale: float) -> Field:
    soft = 1 if radius <= 8 else 2  # how far the published softening of the rim reaches
    reach = int(radius) + soft
    y, x = pixel_indices(2 * reach + 1, 2 * reach + 1)
    y, x = y - reach, x - reach
    disc = ndimage.gaussian_filter((x * x + y * y <= radius * radius).astype(np.float64), sigma, radius=soft)
    lit = disc > 0
    return point_spread(y[lit], x[lit], disc[lit], scale)
