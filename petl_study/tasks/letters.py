"""Letters: the 26 capitals in typefaces the embedded backbone has never seen, as if on signs in a crowded street.

Drawn from a seed by this file in the STIX faces that matplotlib bundles, which the pre-training source holds out:
tilted, sheared, stretched, bolder or thinner, in any colours, on a ground of clouds, patches and lines, partly
covered.
"""

from __future__ import annotations

from string import ascii_uppercase

import numpy as np
from scipy import ndimage

from petl_study.render import shapes
from petl_study.render.canvas import (
    Colour,
    Field,
    Image,
    add_noise,
    blur,
    contrasting_colour,
    coverage,
    illuminate,
    over,
    pixel_centres,
    random_colour,
)
from petl_study.render.dice import Dice
from petl_study.render.fields import cloud_noise
from petl_study.render.glyphs import HELD_OUT_FONTS, glyph_field
from petl_study.tasks._base import Split, TaskInfo
from petl_study.tasks._registry import register
from petl_study.tasks._rendered import RENDERED, render_splits
from petl_study.tasks.shifts import SHIFT_SETS

SIZE = 32
FIELD_SIZE = 64  # pixels a side of the glyph fields that are sampled

INFO = TaskInfo(
    name="letters",
    group="natural",
    classes=tuple(ascii_uppercase),
    summary="capital letters in unseen typefaces, tilted, on cluttered grounds, partly covered",
    shift_sets=SHIFT_SETS,
    sizes=RENDERED,
)


def draw(label: int, dice: Dice) -> Image:
    """One letter in one scene."""
    ground = random_colour(dice)
    image = background(ground, dice)
    ink = contrasting_colour(dice, ground, 0.3)
    distance = glyph(INFO.classes[label], dice)
    if dice.chance(0.3):  # an outline in another colour around the letter
        image = over(image, random_colour(dice), 0.8 * coverage(distance + dice.uniform(0.8, 1.5)))
    ink_tones = np.clip(ink + dice.uniform(0.0, 0.06) * cloud_noise(dice, SIZE, 3.0)[..., None], 0.0, 1.0)
    image = over(image, ink_tones, coverage(distance))
    image = cover(image, dice)
    image = blur(illuminate(image, dice, 0.4), dice.uniform(0.2, 0.7))
    return add_noise(image, dice, dice.uniform(0.01, 0.06))


def glyph(char: str, dice: Dice) -> Field:
    """Signed distance (32, 32) in pixels, about right, to the outline of a letter under a random affine map."""
    field = glyph_field(char, dice.choice(HELD_OUT_FONTS), FIELD_SIZE)
    box = dice.uniform(24.0, 40.0)  # side of the glyph's box in pixels, of which the letter fills 0.7
    centre = (dice.uniform(-4.0, 4.0), dice.uniform(-4.0, 4.0))
    stretch, shear = dice.uniform(0.8, 1.25), dice.uniform(-0.25, 0.25)
    u, v = shapes.place(*pixel_centres(SIZE), centre, box, float(np.deg2rad(dice.uniform(-25, 25))))
    u = (u + shear * v) / stretch
    rows, columns = ((a + 0.5) * FIELD_SIZE - 0.5 for a in (v, u))
    sampled = ndimage.map_coordinates(field.astype(np.float64), [rows, columns], order=1, mode="nearest")
    return np.asarray(sampled) * box + dice.uniform(-0.3, 0.7)


def background(ground: Colour, dice: Dice) -> Image:
    """Clouds around one colour, with a few fainter patches and lines."""
    x, y = pixel_centres(SIZE)
    image = np.clip(ground + dice.uniform(0.02, 0.1) * cloud_noise(dice, SIZE, 6.0)[..., None], 0.0, 1.0)
    for _ in range(dice.integer(1, 5)):
        px, py = (float(c) for c in dice.uniforms(2, -18, 18))
        colour, strength = random_colour(dice), dice.uniform(0.15, 0.45)
        if dice.chance(0.5):
            radius = dice.uniform(3, 10)
            u, v = shapes.place(x, y, (px, py), radius, dice.uniform(0, np.pi))
            patch = shapes.polygon(u, v, shapes.regular(dice.integer(3, 6))) * radius
        else:
            qx, qy = (float(c) for c in dice.uniforms(2, -18, 18))
            patch = shapes.segment(x, y, (px, py), (qx, qy)) + dice.uniform(0.4, 1.4)
        image = over(image, colour, strength * coverage(patch))
    return image


def cover(image: Image, dice: Dice) -> Image:
    """Up to two opaque bars or discs in front."""
    x, y = pixel_centres(SIZE)
    for _ in range(dice.integer(0, 3)):
        px, py = (float(c) for c in dice.uniforms(2, -13, 13))
        if dice.chance(0.5):
            thing = shapes.disc(x - px, y - py, dice.uniform(2.0, 4.5))
        else:
            angle, half = dice.uniform(0, np.pi), dice.uniform(0.7, 1.6)
            dx, dy = 40 * float(np.cos(angle)), 40 * float(np.sin(angle))
            thing = shapes.segment(x, y, (px - dx, py - dy), (px + dx, py + dy)) + half
        image = over(image, random_colour(dice), coverage(thing))
    return image


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    return render_splits(INFO, draw)
