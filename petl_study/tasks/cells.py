"""Cells: what the nucleus of the white blood cell in the middle of a stained smear looks like, in eight kinds.

Drawn from a seed by this file, after what a light microscope shows of a Giemsa-stained blood smear: a purple nucleus
in pale cytoplasm, red cells with a pale centre around it, platelets, uneven stain, a field slightly out of focus.
Kinds differ in the shape of the nucleus only; size, stain, turn and neighbours are random.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from petl_study.render import shapes
from petl_study.render.canvas import (
    Colour,
    Field,
    Image,
    add_noise,
    blur,
    coverage,
    fill,
    illuminate,
    over,
    pixel_centres,
)
from petl_study.render.dice import Dice
from petl_study.render.fields import smooth_noise
from petl_study.tasks._base import Split, TaskInfo
from petl_study.tasks._registry import register
from petl_study.tasks._rendered import RENDERED, render_splits

SIZE = 32

# A nucleus is drawn in coordinates in which the cell has radius 1; signed distance in the same unit.
Nucleus = Callable[[Field, Field, Dice], Field]


def compact(u: Field, v: Field, dice: Dice) -> Field:
    """Round or slightly oval and dense, as in a lymphocyte."""
    size = dice.uniform(0.62, 0.84)
    return shapes.ellipse(u / size, v / size, dice.uniform(0.82, 1.0)) * size


def bean(u: Field, v: Field, dice: Dice) -> Field:
    """Dented on one side, as in a monocyte."""
    size = dice.uniform(0.66, 0.8)
    body = shapes.ellipse(u / size, v / size, dice.uniform(0.78, 0.92)) * size
    return shapes.cut(body, shapes.disc(u - dice.uniform(-0.15, 0.15), v - dice.uniform(0.55, 0.68), 0.36), 0.1)


def band(u: Field, v: Field, dice: Dice) -> Field:
    """A horseshoe of even width, as in a young neutrophil."""
    opening = dice.uniform(0.7, 1.8)  # of the gap's far side, per unit of distance from the middle
    gap = shapes.polygon(u, v, [(0.0, 0.0), (-opening, 2.0), (opening, 2.0)])
    return shapes.cut(closed_ring(u, v, dice), gap, 0.05)


def closed_ring(u: Field, v: Field, dice: Dice) -> Field:
    """A horseshoe that has closed."""
    outer, width = dice.uniform(0.62, 0.78), dice.uniform(0.16, 0.22)
    return shapes.ring(u / outer, v / outer, width / outer) * outer


def lobes(count: int) -> Nucleus:
    """`count` round lobes along a bow, joined by thin strands, as in granulocytes."""
    size = {2: 0.4, 3: 0.33, 4: 0.27}[count]
    step = {2: 2.4, 3: 1.9, 4: 1.5}[count]  # radians between neighbours

    def nucleus(u: Field, v: Field, dice: Dice) -> Field:
        angles = (np.arange(count) - (count - 1) / 2) * step + dice.uniforms(count, -0.2, 0.2)
        radii = dice.uniforms(count, 0.42, 0.58)
        centres = [(float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]
        field = np.full(u.shape, -np.inf)
        for a, b in pairwise(centres):
            field = np.maximum(field, shapes.segment(u, v, a, b) + 0.06)
        for x, y in centres:
            field = shapes.join(field, shapes.disc(u - x, v - y, size * dice.uniform(0.8, 1.15)), 0.1)
        return field

    return nucleus


def blast(u: Field, v: Field, dice: Dice) -> Field:
    """Fills nearly the whole cell; `draw` adds the pale nucleoli."""
    return shapes.ellipse(u / 0.86, v / 0.86, dice.uniform(0.88, 1.0)) * 0.86


NUCLEI: dict[str, Nucleus] = {
    "round": compact,
    "bean": bean,
    "band": band,
    "ring": closed_ring,
    "two lobes": lobes(2),
    "three lobes": lobes(3),
    "four lobes": lobes(4),
    "blast": blast,
}

INFO = TaskInfo(
    name="cells",
    group="specialized",
    classes=tuple(NUCLEI),
    summary="the shape of the nucleus in a rendered microscope image of a stained blood cell",
    sizes=RENDERED,
)


def draw(label: int, dice: Dice) -> Image:
    """A smear with one white cell near its middle."""
    kind = INFO.classes[label]
    x, y = pixel_centres(SIZE)
    stain = dice.uniforms(3, -0.08, 0.08)  # this slide's cast
    image = fill(SIZE, np.array([0.93, 0.88, 0.86]) + stain)
    centre, radius = (dice.uniform(-6.0, 6.0), dice.uniform(-6.0, 6.0)), dice.uniform(7.5, 11.5)
    for _ in range(dice.integer(2, 6)):
        image = red_cell(image, centre, radius, stain, dice)
    u, v = shapes.place(x, y, centre, radius, dice.uniform(0, 2 * np.pi))
    if dice.chance(0.5):
        v = -v
    u, v = u + 0.06 * smooth_noise(dice, SIZE, 3.0), v + 0.06 * smooth_noise(dice, SIZE, 3.0)  # no outline is perfect
    cytoplasm = np.array([0.80, 0.76, 0.88]) + stain + dice.uniforms(3, -0.07, 0.07)
    image = over(image, cytoplasm, coverage(shapes.disc(u, v) * radius, 1.5))
    dots = np.clip(smooth_noise(dice, SIZE, 0.6) - 0.5, 0.0, 1.0) * coverage(shapes.disc(u, v, 0.95) * radius)
    image = over(image, cytoplasm - 0.12, dice.uniform(0.0, 0.7) * dots)  # granules
    chromatin = np.array([0.45, 0.3, 0.6]) + dice.uniform(0.0, 0.12) + stain + dice.uniforms(3, -0.1, 0.1)
    nucleus = NUCLEI[kind](u, v, dice) * radius
    mottle = dice.uniform(0.02, 0.05) * smooth_noise(dice, SIZE, 0.8)
    image = over(image, chromatin + mottle[..., None], coverage(nucleus, 1.3))
    if kind == "blast":
        image = nucleoli(image, u, v, radius, chromatin, dice)
    image = blur(illuminate(image, dice, 0.25), dice.uniform(0.4, 1.0))
    return add_noise(image, dice, dice.uniform(0.02, 0.06))


def nucleoli(image: Image, u: Field, v: Field, radius: float, chromatin: Colour, dice: Dice) -> Image:
    """One to three pale spots in the nucleus."""
    start, count = dice.uniform(0, 2 * np.pi), dice.integer(1, 4)
    for k in range(count):
        a, r = start + 2 * np.pi * k / count, dice.uniform(0.25, 0.45)
        spot = shapes.disc(u - r * float(np.cos(a)), v - r * float(np.sin(a)), dice.uniform(0.16, 0.24))
        image = over(image, chromatin + 0.22, 0.9 * coverage(spot * radius))
    return image


def red_cell(image: Image, centre: tuple[float, float], radius: float, stain: Colour, dice: Dice) -> Image:
    """A disc with a pale centre that may lie partly behind the white cell, or now and then a platelet."""
    x, y = pixel_centres(SIZE)
    angle, away = dice.uniform(0, 2 * np.pi), radius + dice.uniform(2.0, 8.0)
    px, py = centre[0] + away * float(np.cos(angle)), centre[1] + away * float(np.sin(angle))
    if dice.chance(0.2):
        platelet = shapes.disc(x - px, y - py, dice.uniform(1.0, 2.0))
        return over(image, np.array([0.58, 0.42, 0.66]) + stain, 0.8 * coverage(platelet, 1.5))
    size = dice.uniform(4.5, 7.0)
    u, v = shapes.place(x, y, (px, py), size, dice.uniform(0, np.pi))
    body = shapes.ellipse(u, v, dice.uniform(0.8, 1.0)) * size
    red = np.array([0.86, 0.62, 0.60]) + stain + dice.uniforms(3, -0.05, 0.05)
    image = over(image, red, 0.9 * coverage(body, 1.4))
    return over(image, red + 0.14, coverage(body - 0.55 * size, 3.0))


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    return render_splits(INFO, draw)
