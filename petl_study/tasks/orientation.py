"""Orientation: which way the pointed end of an object looks, in twelve directions 30 degrees apart.

Drawn from a seed by this file. One of seven pointed shapes, anywhere, in any size and colour, among blunt things that
have no direction. Angles run anticlockwise from the right; each lies within 10 degrees of its class's, so classes do
not touch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from petl_study.render import shapes
from petl_study.render.canvas import (
    Field,
    Image,
    add_noise,
    blur,
    contrasting_colour,
    coverage,
    fill,
    illuminate,
    over,
    pixel_centres,
    random_colour,
)
from petl_study.render.dice import Dice
from petl_study.render.fields import smooth_noise
from petl_study.tasks._base import Split, TaskInfo
from petl_study.tasks._registry import register
from petl_study.tasks._rendered import RENDERED, render_splits

SIZE = 32
STEP = 30  # degrees between classes
SPREAD = 10  # degrees an object may be off its class's direction

INFO = TaskInfo(
    name="orientation",
    group="structured",
    classes=tuple(f"{angle} degrees" for angle in range(0, 360, STEP)),
    summary="which of twelve ways the pointed end of a rendered object looks",
    sizes=RENDERED,
)

Outline = Callable[[Field, Field], Field]


def arrow(u: Field, v: Field) -> Field:
    corners = [(1, 0), (0.15, 0.8), (0.15, 0.3), (-1, 0.3), (-1, -0.3), (0.15, -0.3), (0.15, -0.8)]
    return shapes.polygon(u, v, corners)


def thin_arrow(u: Field, v: Field) -> Field:
    head = shapes.join(shapes.segment(u, v, (0.85, 0), (0.2, 0.6)), shapes.segment(u, v, (0.85, 0), (0.2, -0.6)))
    return shapes.join(head, shapes.segment(u, v, (-1, 0), (0.85, 0))) + 0.14


def dart(u: Field, v: Field) -> Field:
    return shapes.polygon(u, v, [(1, 0), (-0.8, 0.75), (-0.35, 0), (-0.8, -0.75)])


def chevron(u: Field, v: Field) -> Field:
    left, right = (shapes.segment(u, v, (0.8, 0), (-0.5, side)) for side in (-0.75, 0.75))
    return shapes.join(left, right) + 0.2


def wedge(u: Field, v: Field) -> Field:
    return shapes.polygon(u, v, [(1, 0), (-0.8, 0.5), (-0.8, -0.5)])


def drop(u: Field, v: Field) -> Field:
    tip = shapes.polygon(u, v, [(1, 0), (-0.17, 0.53), (-0.17, -0.53)])
    return shapes.join(shapes.disc(u + 0.4, v, 0.58), tip, 0.1)


def house(u: Field, v: Field) -> Field:
    return shapes.polygon(u, v, [(1, 0), (0.25, 0.55), (-0.9, 0.55), (-0.9, -0.55), (0.25, -0.55)])


OUTLINES: tuple[Outline, ...] = (arrow, thin_arrow, dart, chevron, wedge, drop, house)


def draw(label: int, dice: Dice) -> Image:
    """A scene whose object points at `label` times 30 degrees, give or take ten."""
    ground = random_colour(dice, 0.1, 0.9)
    image = fill(SIZE, ground) + dice.uniform(0.01, 0.07) * smooth_noise(dice, SIZE, 2.5)[..., None]
    x, y = pixel_centres(SIZE)
    for _ in range(dice.integer(1, 5)):
        image = over(image, contrasting_colour(dice, ground, 0.1), 0.8 * coverage(blunt(x, y, dice)))
    radius = dice.uniform(7.5, 12.0)
    cx, cy = (float(c) for c in dice.uniforms(2, -1.0, 1.0) * (SIZE / 2 - 0.95 * radius))
    angle = np.deg2rad(STEP * label + dice.uniform(-SPREAD, SPREAD))
    u, v = shapes.place(x, y, (cx, cy), radius, float(angle))
    distance = dice.choice(OUTLINES)(u, v) * radius
    inside = contrasting_colour(dice, ground, 0.2)
    image = over(image, contrasting_colour(dice, inside, 0.15), coverage(distance + dice.uniform(0.0, 0.8)))
    image = over(image, inside, coverage(distance))
    image = blur(illuminate(image, dice, 0.3), dice.uniform(0.2, 0.6))
    return add_noise(image, dice, dice.uniform(0.01, 0.06))


def blunt(x: Field, y: Field, dice: Dice) -> Field:
    """A thing without a direction, somewhere: a small disc, a square or a line."""
    px, py = (float(c) for c in dice.uniforms(2, -16, 16))
    radius = dice.uniform(1.5, 3.5)
    kind = dice.integer(0, 3)
    if kind == 0:
        return shapes.disc(x - px, y - py, radius)
    if kind == 1:
        u, v = shapes.place(x, y, (px, py), radius, dice.uniform(0, np.pi))
        return shapes.polygon(u, v, shapes.regular(4)) * radius
    bx, by = (float(c) for c in dice.uniforms(2, -16, 16))
    return shapes.segment(x, y, (px, py), (bx, by)) + dice.uniform(0.4, 0.8)


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    return render_splits(INFO, draw)
