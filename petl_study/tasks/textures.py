"""Textures: which of ten processes made a surface, whatever its colours, scale, contrast and light.

Drawn from a seed by this file. A family is a function that returns a field (32, 32) of tones from 0 to 1; tone, not
colour or brightness, carries the class, as the two colours between which it runs are random and either may be the
bright one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from petl_study.render.canvas import Field, Image, add_noise, blur, contrasting_colour, illuminate, pixel_centres
from petl_study.render.canvas import random_colour as colour
from petl_study.render.dice import Dice
from petl_study.render.fields import (
    band_noise,
    cloud_noise,
    nearest_points,
    scattered,
    smooth_noise,
    streak_noise,
)
from petl_study.render.shapes import segment
from petl_study.tasks._base import Split, TaskInfo
from petl_study.tasks._registry import register
from petl_study.tasks._rendered import RENDERED, render_splits

SIZE = 32


def tones(field: Field, gain: float) -> Field:
    """A field of mean 0 and deviation 1 as tones from 0 to 1 around a half; a high gain leaves two tones."""
    return np.clip(0.5 + 0.5 * gain * field, 0.0, 1.0)


def clouds(dice: Dice) -> Field:
    """Lumps of every size."""
    return tones(cloud_noise(dice, SIZE, dice.uniform(4.0, 7.0), dice.uniform(0.55, 0.75)), 0.6)


def grains(dice: Dice) -> Field:
    """Lumps of one small size, without order."""
    return tones(smooth_noise(dice, SIZE, dice.uniform(0.7, 1.3)), 0.6)


def brushed(dice: Dice) -> Field:
    """Lumps drawn out in one direction."""
    field = streak_noise(dice, SIZE, dice.uniform(3.0, 7.0), dice.uniform(0.5, 0.9), dice.uniform(0, np.pi))
    return tones(field, 0.6)


def mosaic(dice: Dice) -> Field:
    """Flat cells with straight borders, each in a tone of its own."""
    points = scattered(dice, SIZE, dice.uniform(6.0, 10.0))
    _, _, which = nearest_points(*pixel_centres(SIZE), *points)
    return dice.uniforms(len(points[0]))[which]


def crackle(dice: Dice) -> Field:
    """The same cells in one tone, parted by thin gaps."""
    nearest, second, _ = nearest_points(*pixel_centres(SIZE), *scattered(dice, SIZE, dice.uniform(5.0, 9.0)))
    return np.clip((second - nearest) / dice.uniform(1.2, 2.2), 0.0, 1.0)


def pebbles(dice: Dice) -> Field:
    """The same cells again, each a dome that darkens towards its rim."""
    spacing = dice.uniform(4.5, 8.0)
    nearest, _, _ = nearest_points(*pixel_centres(SIZE), *scattered(dice, SIZE, spacing))
    return np.clip(1.1 - (nearest / (0.75 * spacing)) ** 2, 0.0, 1.0)


def weave(dice: Dice) -> Field:
    """Threads over and under one another at right angles."""
    x, y = pixel_centres(SIZE)
    angle, pitch = dice.uniform(0, np.pi), dice.uniform(3.2, 6.0)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    u = (x * c - y * s) / pitch + dice.uniform(0, 2)
    v = (x * s + y * c) / pitch + dice.uniform(0, 2)
    over = (np.floor(u) + np.floor(v)) % 2 == 0
    across, along = np.where(over, u % 1, v % 1) - 0.5, np.where(over, v % 1, u % 1) - 0.5
    return np.clip(1.0 - 3.2 * across**2 - 1.2 * along**2, 0.0, 1.0)


def rings(dice: Dice) -> Field:
    """Wavy rings around a point inside or outside the picture, as in sawn wood."""
    x, y = pixel_centres(SIZE)
    cx, cy = dice.uniform(-24, 24), dice.uniform(-24, 24)
    warp = dice.uniform(0.8, 2.0) * smooth_noise(dice, SIZE, 4.0)
    phase = (np.sqrt((x - cx) ** 2 + (y - cy) ** 2) + warp) / dice.uniform(3.2, 6.5) + dice.uniform()
    return np.abs(2.0 * (phase % 1.0) - 1.0)


def spots(dice: Dice) -> Field:
    """Islands of one size about evenly spread."""
    return tones(band_noise(dice, SIZE, dice.uniform(1.1, 1.9)) - 0.9, 2.2)


def labyrinth(dice: Dice) -> Field:
    """The same field cut in the middle: winding walls and corridors of equal width."""
    return tones(band_noise(dice, SIZE, dice.uniform(1.1, 1.9)), 2.2)


def scratches(dice: Dice) -> Field:
    """Straight thin lines in every direction."""
    x, y = pixel_centres(SIZE)
    field = np.zeros((SIZE, SIZE))
    for _ in range(dice.integer(9, 17)):
        (ax, ay), angle, length = dice.uniforms(2, -18, 18), dice.uniform(0, 2 * np.pi), dice.uniform(10, 30)
        end = (float(ax) + length * float(np.cos(angle)), float(ay) + length * float(np.sin(angle)))
        line = segment(x, y, (float(ax), float(ay)), end) + dice.uniform(0.7, 1.1)
        field = np.maximum(field, dice.uniform(0.5, 1.0) * np.clip(line, 0.0, 1.0))
    return field


FAMILIES: tuple[Callable[[Dice], Field], ...] = (
    brushed, clouds, crackle, grains, labyrinth, mosaic, pebbles, rings, scratches, spots, weave,
)  # fmt: skip

INFO = TaskInfo(
    name="textures",
    group="specialized",
    classes=tuple(family.__name__ for family in FAMILIES),
    summary="which process made a rendered surface, whatever its colours, scale and light",
    sizes=RENDERED,
)


def draw(label: int, dice: Dice) -> Image:
    """One surface: the family's tones between two colours, under uneven light, slightly out of focus, with noise."""
    tone = FAMILIES[label](dice)
    if dice.chance(0.5):
        tone = 1.0 - tone
    dark = colour(dice)
    light = contrasting_colour(dice, dark, 0.18)
    contrast = dice.uniform(0.6, 1.0)
    tone = np.clip(tone * contrast + 0.08 * cloud_noise(dice, SIZE, 6.0), 0.0, 1.0)
    image = dark + tone[..., None] * (light - dark)
    image = blur(illuminate(image, dice, 0.4), dice.uniform(0.2, 0.6))
    return add_noise(image, dice, dice.uniform(0.01, 0.06))


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    return render_splits(INFO, draw)
