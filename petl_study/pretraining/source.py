"""The pre-training source: labelled 32 x 32 images of glyphs, shapes and textures, rendered on the fly.

An image is one object (a character, a shape) before a background, or a texture that fills the frame. Geometry, pen,
colours, clutter, blur, resolution and noise are drawn anew for every image. A batch is a function of the source and one
seed, so training resumes exactly and a validation set is nothing but a seed.
"""

from __future__ import annotations

from functools import cache
from math import pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from petl_study.pretraining.atlas import DIGITS, LETTERS, SHAPES, Atlas
from petl_study.pretraining.chance import Chance
from petl_study.pretraining.textures import TEXTURES

SIDE = 32  # pixels a side of an image
FAMILIES: dict[str, tuple[str, ...]] = {
    "digits": DIGITS,
    "letters": LETTERS,
    "shapes": SHAPES,
    "textures": tuple(TEXTURES),
}
CLASSES: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
SHARES = {
    "digits": 0.3,
    "letters": 0.3,
    "shapes": 0.2,
    "textures": 0.2,
}  # of the images; classes of a family share alike
PLAIN = {"digits": 0.5, "letters": 0.35, "shapes": 0.2, "textures": 0.2}  # of a family: grey on grey, nothing behind


class Batch(NamedTuple):
    images: Tensor  # float32 (n, 3, 32, 32), from 0 to 1
    labels: Tensor  # int64 (n,), indices into CLASSES


class Pose(NamedTuple):
    """Where and how each of m forms lies; image coordinates go from -1 to 1, x right and y down."""

    size: Tensor  # (m,) pixels a side of the form's box
    centre: Tensor  # (m, 2)
    rotation: Tensor  # (m,) radians
    shear: Tensor  # (m,)
    aspect: Tensor  # (m,) width over height, relative to the form's own
    tilt: Tensor  # (m, 2) perspective: how much nearer each edge is
    bend: Tensor  # (m, 32, 32, 2) elastic displacement, in half boxes


class Pen(NamedTuple):
    """How each of m forms is inked."""

    hollow: Tensor  # bool (m,): follow the centre line with a pen, instead of filling the outline
    width: Tensor  # (m,) the pen's half-width, in boxes
    weight: Tensor  # (m,) -1 to 1: how much the outline is bolder (below 0) or thinner (above 0) than printed
    softness: Tensor  # (m,) pixels from ink to paper


def draw(atlas: Atlas, n: int, seed: int, calm: float = 0.0) -> Batch:
    """`n` labelled images, the same for the same arguments.

    `calm`, 0 to 1, is the part of the images that are made plain besides those that are so anyway: training begins
    with plain images, as on the full mixture alone the model finds no foothold for a long time.
    """
    chance = Chance(seed)
    labels = chance.pick(_class_weights(), n)
    family = _family_of()[labels]  # (n,)
    plain = chance.uniform(n) < calm + (1 - calm) * torch.tensor([PLAIN[f] for f in FAMILIES])[family]

    # half of the objects nearly fill the frame; a coarse lens would make nothing of a small one, or of a texture
    size = torch.where(
        chance.happens(n, p=0.5), chance.uniform(n, low=36, high=47), chance.log_uniform(n, low=20, high=40)
    )

    ink = torch.empty(n, SIDE, SIDE)  # how much of each pixel is the object's colour
    textured = labels >= len(atlas.classes)
    stamped = ~textured
    ink[stamped] = _stamp_objects(atlas, labels[stamped], size[stamped], chance)
    ink[textured] = _fill_textures(labels[textured] - len(atlas.classes), chance)

    paper, colour = _colours(plain, chance)  # (n, 3, 32, 32) each
    paper = _distract(atlas, paper, stamped & ~plain, chance)
    images = paper + (colour - paper) * ink[:, None]
    return Batch(_photograph(images, plain, stamped & (size >= 32), chance), labels)


def _class_weights() -> list[float]:
    return [SHARES[family] / len(names) for family, names in FAMILIES.items() for _ in names]


@cache
def _family_of() -> Tensor:
    """The family of every class, as an index into FAMILIES: (C,)."""
    return torch.tensor([i for i, names in enumerate(FAMILIES.values()) for _ in names])


# Objects -------------------------------------------------------------------------------------------------------------


def _stamp_objects(atlas: Atlas, labels: Tensor, size: Tensor, chance: Chance) -> Tensor:
    """The one object of each of m images, in a box of `size` (m,) pixels: coverage (m, 32, 32)."""
    m = len(labels)
    rows = atlas.first[labels] + chance.below(atlas.count[labels])
    shape = labels >= len(DIGITS) + len(LETTERS)
    # shapes keep their proportions, which is what tells a square from a rectangle, but may lie at any angle
    turn = torch.where(shape, pi, 0.35) * chance.uniform(m, low=-1, high=1)
    freedom = torch.where(shape, 0.12, 1.0)
    loose = freedom * chance.uniform(m)  # how far this writer is from print
    room = (1 - 0.7 * size / SIDE).clamp(min=0) + 0.08
    pose = Pose(
        size=size,
        centre=room[:, None] * chance.uniform(m, 2, low=-1, high=1),
        rotation=turn,
        shear=freedom * chance.normal(m, std=0.22).clamp(-0.5, 0.5),
        aspect=torch.exp(freedom * chance.uniform(m, low=-0.5, high=0.45)),
        tilt=freedom[:, None] * chance.uniform(m, 2, low=-0.2, high=0.2),
        bend=loose[:, None, None, None] * _bend(m, chance),
    )
    pen = Pen(
        hollow=chance.uniform(m) < torch.where(shape, 0.2, 0.6),
        width=chance.log_uniform(m, low=0.018, high=0.09),
        weight=chance.uniform(m, low=-1, high=1),
        softness=chance.log_uniform(m, low=0.8, high=2.5),
    )
    return stamp(atlas, rows, pose, pen)


def stamp(atlas: Atlas, rows: Tensor, pose: Pose, pen: Pen) -> Tensor:
    """Ink m forms of the atlas (`rows`: (m,)): coverage (m, 32, 32), from 0 to 1."""
    fields = torch.where(pen.hollow[:, None, None], atlas.centre[rows], atlas.outline[rows])  # (m, S, S)
    distance = F.grid_sample(fields[:, None], _box_grid(pose), padding_mode="border", align_corners=False)[:, 0]

    thinner = torch.where(pen.weight > 0, 0.7 * atlas.thin[rows] * pen.weight, 0.03 * pen.weight)
    width = torch.maximum(pen.width, 0.55 / pose.size)  # a line thinner than a pixel would fade away
    hollow, width, thinner = (t[:, None, None] for t in (pen.hollow, width, thinner))
    depth = torch.where(hollow, width - distance, distance - thinner)  # in boxes, positive inside
    return (depth * (pose.size / pen.softness)[:, None, None] + 0.5).clamp(0, 1)


def _box_grid(pose: Pose) -> Tensor:
    """For every pixel, the place of each form's box that it shows, -1 to 1 across the box: (m, 32, 32, 2)."""
    scale = SIDE / pose.size  # boxes grow, so coordinates inside them shrink
    c, s = torch.cos(pose.rotation), torch.sin(pose.rotation)
    stretch = torch.sqrt(pose.aspect)
    # the inverse of (rotate . shear . stretch): un-rotate, un-shear (x += shear * y), un-stretch
    rows_x = torch.stack([c + pose.shear * -s, s + pose.shear * c], dim=1) * (scale / stretch)[:, None]
    rows_y = torch.stack([-s, c], dim=1) * (scale * stretch)[:, None]
    place = _pixels() - pose.centre[:, None, None, :]  # (m, 32, 32, 2)
    depth = 1 + torch.einsum("mhwk,mk->mhw", place, pose.tilt)
    inside = torch.einsum("mhwk,mjk->mhwj", place, torch.stack([rows_x, rows_y], dim=1))
    return inside / depth[..., None] + pose.bend


def _bend(m: int, chance: Chance) -> Tensor:
    """A writer's unsteadiness: smooth displacements of two scales, in half boxes: (m, 32, 32, 2)."""
    slow = _smooth(chance.normal(m, 2, 4, 4, std=0.1))
    quick = _smooth(chance.normal(m, 2, 7, 7, std=0.03))
    return (slow + quick).permute(0, 2, 3, 1)


def _distract(atlas: Atlas, paper: Tensor, where: Tensor, chance: Chance) -> Tensor:
    """Small forms strewn over the background, to be partly covered by the object."""
    for _ in range(3):
        chosen = (where & chance.happens(len(where), p=0.25)).nonzero()[:, 0]
        m = len(chosen)
        still = torch.zeros(m)
        pose = Pose(
            size=chance.log_uniform(m, low=6, high=16),
            centre=chance.uniform(m, 2, low=-1.1, high=1.1),
            rotation=chance.uniform(m, low=-pi, high=pi),
            shear=still,
            aspect=torch.exp(chance.uniform(m, low=-0.5, high=0.5)),
            tilt=torch.zeros(m, 2),
            bend=torch.zeros(m, 1, 1, 2),
        )
        pen = Pen(
            hollow=chance.happens(m, p=0.3),
            width=chance.uniform(m, low=0.03, high=0.1),
            weight=chance.uniform(m, low=-1, high=0.5),
            softness=chance.uniform(m, low=0.8, high=2.0),
        )
        rows = chance.below(torch.full((m,), len(atlas.outline)))
        ink = stamp(atlas, rows, pose, pen)[:, None]
        behind = paper[chosen]
        paper[chosen] = behind + (chance.uniform(m, 3, 1, 1) - behind) * ink
    return paper


# Textures ------------------------------------------------------------------------------------------------------------


def _fill_textures(labels: Tensor, chance: Chance) -> Tensor:
    """Frames filled by the textures numbered `labels` (m,): coverage (m, 32, 32)."""
    m = len(labels)
    angle = chance.uniform(m, high=2 * pi)[:, None, None]
    x, y = _pixels().unbind(-1)
    warp = _smooth(chance.normal(m, 2, 4, 4, std=0.06)) * chance.uniform(m, 1, 1, 1)
    shift = chance.uniform(m, 2, 1, 1, low=-0.5, high=0.5)
    u = x * torch.cos(angle) + y * torch.sin(angle) + warp[:, 0] + shift[:, 0]
    v = y * torch.cos(angle) - x * torch.sin(angle) + warp[:, 1] + shift[:, 1]

    field = torch.empty(m, SIDE, SIDE)
    for i, texture in enumerate(TEXTURES.values()):
        chosen = (labels == i).nonzero()[:, 0]
        if len(chosen):
            field[chosen] = texture(u[chosen], v[chosen], chance)
    sharpness = chance.log_uniform(m, 1, 1, low=0.6, high=5)
    return torch.sigmoid((field + chance.uniform(m, 1, 1, low=-0.4, high=0.4)) * sharpness)


# Colour, light, camera -----------------------------------------------------------------------------------------------


def _colours(plain: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """What is behind the object and what it is made of: (n, 3, 32, 32) each, not yet clipped to 0..1."""
    n = len(plain)
    paper, colour = chance.uniform(n, 3), chance.uniform(n, 3)
    alike = (paper - colour).abs().amax(dim=1, keepdim=True) < 0.35
    colour = torch.where(alike, (paper + 0.5) % 1, colour)
    dark = chance.uniform(n, 1, high=0.1) * chance.happens(n, 1, p=0.4)
    bright = chance.uniform(n, 1, low=0.55, high=1.0)
    inverted = chance.happens(n, 1, p=0.25)
    is_plain = plain[:, None]
    paper = torch.where(is_plain, torch.where(inverted, bright, dark), paper)
    colour = torch.where(is_plain, torch.where(inverted, dark, bright), colour)

    busy = (~plain).float()[:, None, None, None]
    slope = chance.normal(n, 3, 2, std=0.15) * chance.happens(n, 1, 1, p=0.5)
    ramp = torch.einsum("hwk,nck->nchw", _pixels(), slope)
    amount = chance.uniform(n, 1, 1, 1, high=0.12) * chance.happens(n, 1, 1, 1, p=0.6)
    clutter = _smooth(chance.normal(n, 3, 6, 6)) + _smooth(chance.normal(n, 1, 12, 12))
    stains = _smooth(chance.normal(n, 1, 5, 5)) * chance.uniform(n, 1, 1, 1, high=0.12)
    return (
        paper[:, :, None, None] + busy * (ramp + amount * clutter),
        colour[:, :, None, None] + busy * stains,
    )


def _photograph(images: Tensor, plain: Tensor, large: Tensor, chance: Chance) -> Tensor:
    """Lens, sensor and exposure: blur or (for `large` objects) lost resolution, noise, contrast."""
    n = len(images)
    lenses, coarse, for_scenes, for_plain = _lenses()
    which = torch.where(plain, chance.pick(for_plain, n), chance.pick(for_scenes, n))
    lens = lenses[torch.where(coarse[which] & ~large, 0, which)][:, None]  # (n, 1, 32, 32)
    images = lens @ images.clamp(0, 1) @ lens.transpose(-1, -2)
    gain = torch.where(chance.happens(n, p=0.5), chance.uniform(n, low=0.5, high=1.15), 1.0)
    pivot = torch.where(plain, 0.0, chance.uniform(n, low=0.2, high=0.8))
    gain, pivot = gain[:, None, None, None], pivot[:, None, None, None]
    images = pivot + (images - pivot) * gain
    strength = chance.uniform(n, high=0.1) * chance.happens(n, p=0.5) * torch.where(plain, 0.3, 1.0)
    noise = chance.normal(n, 3, SIDE, SIDE)
    return images.add_(noise.mul_(strength[:, None, None, None])).clamp_(0, 1)


@cache
def _lenses() -> tuple[Tensor, Tensor, list[float], list[float]]:
    """Linear maps of an image's rows (and columns): (K, 32, 32); whether each loses resolution: bool (K,); how often
    scenes, and plain images, use each.

    The first leaves all as it is, others blur, the rest reduce to k pixels by area, as a coarse scanner does, and
    enlarge again.
    """
    lenses = [torch.eye(SIDE)]
    scenes, plain = [0.4], [0.2]
    for sigma in (0.5, 0.8, 1.2):
        lenses.append(_blur(sigma))
        scenes.append(0.1)
        plain.append(0.08)
    sharp = len(lenses)
    for k, often in ((8, 0.2), (9, 0.08), (10, 0.1), (11, 0.1), (12, 0.08), (16, 0.08)):
        reduce = F.adaptive_avg_pool2d(torch.eye(SIDE)[None, None], (k, SIDE))[0, 0]  # (k, 32)
        lenses.append(_enlarge(k) @ reduce)
        scenes.append(0.05)
        plain.append(often)
    return torch.stack(lenses), torch.arange(len(lenses)) >= sharp, scenes, plain


def _blur(sigma: float) -> Tensor:
    at = torch.arange(SIDE, dtype=torch.float32)
    weights = torch.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)


@cache
def _enlarge(k: int) -> Tensor:
    """Bicubic interpolation from k to 32 pixels, as Pillow's: (32, k)."""
    return F.interpolate(torch.eye(k)[None, None], size=(SIDE, k), mode="bicubic", antialias=True)[0, 0]


def _smooth(knots: Tensor) -> Tensor:
    """Images from few values, (..., k, k) -> (..., 32, 32)."""
    enlarge = _enlarge(knots.shape[-1])
    return enlarge @ knots @ enlarge.T


@cache
def _pixels() -> Tensor:
    """Pixel centres (x, y), from -1 to 1 across the image: (32, 32, 2)."""
    at = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    return torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)


def contact_sheet(images: Tensor, columns: int) -> Tensor:
    """Images (n, 3, 32, 32) in rows of `columns`, n a multiple of it: uint8 (H, W, 3)."""
    n = len(images)
    grid = images.view(n // columns, columns, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2)
    return (grid.reshape(n // columns * SIDE, columns * SIDE, 3) * 255).round().to(torch.uint8)
