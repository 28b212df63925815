"""Counting: how many solid objects, one to eight, lie in a scene of mixed shapes, sizes and colours.

Drawn from a seed by this file. Every object is filled and has a rim, and none touches another; the clutter that does
not count is thin lines, single dots and a mottled ground. Sizes vary, so the covered area does not give the number
away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from petl_study.render import shapes
from petl_study.render.canvas import (
    Colour,
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
MOST = 8

INFO = TaskInfo(
    name="count",
    group="structured",
    classes=("1 object", *(f"{n} objects" for n in range(2, MOST + 1))),
    summary="how many solid objects, one to eight, lie in a rendered scene with clutter",
    sizes=RENDERED,
)

Outline = Callable[[Field, Field], Field]

OUTLINES: tuple[Outline, ...] = (
    shapes.disc,
    lambda u, v: shapes.ellipse(u, v, 0.62),
    lambda u, v: shapes.polygon(u, v, shapes.regular(4)),
    lambda u, v: shapes.polygon(u, v, shapes.regular(3)),
    lambda u, v: shapes.polygon(u, v, shapes.regular(6)),
    lambda u, v: shapes.polygon(u, v, shapes.regular(5, inner=0.5)),
    lambda u, v: shapes.polygon(u, v, [(1, 0.5), (1, -0.5), (-1, -0.5), (-1, 0.5)]),
)


def draw(label: int, dice: Dice) -> Image:
    """A scene of label + 1 objects."""
    ground = random_colour(dice, 0.1, 0.9)
    image = fill(SIZE, ground) + dice.uniform(0.01, 0.06) * smooth_noise(dice, SIZE, 2.5)[..., None]
    image = clutter(image, ground, dice)
    scale = dice.uniform(0.9, 1.15)
    for x, y, radius in positions(label + 1, scale, dice):
        image = place_object(image, ground, (x, y), radius, dice)
    image = blur(illuminate(image, dice, 0.3), dice.uniform(0.2, 0.5))
    return add_noise(image, dice, dice.uniform(0.01, 0.05))


def positions(n: int, scale: float, dice: Dice) -> list[tuple[float, float, float]]:
    """Centres and radii (pixels, from the image's centre) of n objects that do not touch.

    An object that finds no room in 60 tries shrinks by a tenth and tries again; the largest are placed first.
    """
    radii = sorted((scale * dice.uniform(3.2, 4.8) for _ in range(n)), reverse=True)
    placed: list[tuple[float, float, float]] = []
    for radius in radii:
        while True:
            spots = dice.uniforms((60, 2), -1.0, 1.0) * (SIZE / 2 - 0.9 * radius)
            free = ((x, y) for x, y in spots.tolist() if all(apart(x - px, y - py, radius + r) for px, py, r in placed))
            if spot := next(free, None):
                placed.append((*spot, radius))
                break
            radius *= 0.9
    return placed


def apart(dx: float, dy: float, radii: float) -> bool:
    """Whether two discs `dx`, `dy` apart, whose radii sum to `radii`, leave a gap a human eye can see."""
    return dx * dx + dy * dy >= (radii + 0.3) ** 2


def place_object(image: Image, ground: Colour, centre: tuple[float, float], radius: float, dice: Dice) -> Image:
    """One filled shape with a rim that is darker or brighter than its inside."""
    x, y = pixel_centres(SIZE)
    u, v = shapes.place(x, y, centre, radius, dice.uniform(0, 2 * np.pi))
    distance = dice.choice(OUTLINES)(u, v) * radius
    inside = contrasting_colour(dice, ground, 0.32)
    rim = inside * 0.55 if dice.chance(0.5) else inside + 0.45 * (1.0 - inside)
    image = over(image, rim, coverage(distance))
    return over(image, inside, coverage(distance - 0.9))


def clutter(image: Image, ground: Colour, dice: Dice) -> Image:
    """What does not count: thin lines and single dots."""
    x, y = pixel_centres(SIZE)
    for _ in range(dice.integer(0, 2)):
        (ax, ay, bx, by) = (float(c) for c in dice.uniforms(4, -20, 20))
        line = shapes.segment(x, y, (ax, ay), (bx, by)) + dice.uniform(0.3, 0.6)
        image = over(image, contrasting_colour(dice, ground, 0.1), 0.8 * coverage(line))
    for _ in range(dice.integer(0, 4)):
        px, py = (float(c) for c in dice.uniforms(2, -15, 15))
        image = over(image, contrasting_colour(dice, ground, 0.1), coverage(shapes.disc(x - px, y - py, 0.6)))
    return image


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    return render_splits(INFO, draw)
