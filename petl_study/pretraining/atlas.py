"""Everything the source can stamp onto an image: distance fields of glyphs and shapes, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from petl_study.pretraining import pen
from petl_study.pretraining.skeleton import thin
from petl_study.render import shapes
from petl_study.render.glyphs import MARGIN, SOURCE_FONTS, glyph_field

DIGITS = tuple("0123456789")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")  # lower case only where its shape differs from upper case
SHAPES = (
    "disc",
    "ellipse",
    "ring",
    "crescent",
    "triangle",
    "square",
    "rectangle",
    "hexagon",
    "star",
    "cross",
    "heart",
    "arrow",
)

SIZE = 48  # pixels a side of a field; the largest glyph drawn is about as large
PEN = 0.045  # half-width, in box units, at which a pen's path has its outline
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Atlas:
    """R drawable forms of C classes.

    Attributes
    ----------
    outline : float32 (R, S, S)
        Signed distance to the form's edge, positive inside, in units of the box's side.
    centre : float32 (R, S, S)
        Distance to the form's centre line; for shapes, to their edge (so that a pen draws them hollow).
    thin : float32 (R,)
        Half-width of the form's thinner parts: cutting away more than this breaks it.
    first, count : int64 (C,)
        The rows of class c are ``first[c] : first[c] + count[c]``.
    """

    classes: tuple[str, ...]
    outline: Tensor
    centre: Tensor
    thin: Tensor
    first: Tensor
    count: Tensor


def build(fonts: Sequence[str] = SOURCE_FONTS, size: int = SIZE) -> Atlas:
    """The atlas of the digits, the letters and the shapes, in that order; about 5 s for all fonts."""
    characters = DIGITS + LETTERS
    glyphs = np.stack([np.stack([glyph_field(c, font, size) for font in fonts]) for c in characters])  # (C, F, S, S)
    centre = _centre_distance(glyphs.reshape(-1, size, size)).reshape(glyphs.shape)
    by_class = [(np.asarray(g), np.asarray(c)) for g, c in zip(glyphs, centre, strict=True)]
    for i, digit in enumerate(DIGITS):
        forms = [pen.pen_distance(digit, form, size) for form in range(len(pen.FORMS[digit]))]
        repeats = max(1, round(0.75 * len(fonts) / len(forms)))  # rows are drawn alike often: so the pen is, nearly
        paths = np.stack(forms * repeats)
        outline, line = by_class[i]
        by_class[i] = np.concatenate([outline, PEN - paths]), np.concatenate([line, paths])
    for name in SHAPES:
        fields = np.stack([_shape_field(form, size) for form in _forms(name)])
        by_class.append((fields, np.abs(fields)))

    outline, line = (np.concatenate(parts) for parts in zip(*by_class, strict=True))  # (R, S, S) each
    counts = torch.tensor([len(fields) for fields, _ in by_class])
    return Atlas(
        classes=characters + SHAPES,
        outline=torch.from_numpy(outline.astype(np.float32)),
        centre=torch.from_numpy(line.astype(np.float32)),
        thin=torch.from_numpy(_thin_parts(outline, line)),
        first=torch.cumsum(counts, 0) - counts,
        count=counts,
    )


def _centre_distance(outlines: Array) -> Array:
    """Distance to the centre line of each of N glyphs, in box units: (N, S, S)."""
    size = outlines.shape[-1]
    lines = thin(outlines > 0)
    distances = np.stack([ndimage.distance_transform_edt(~line) for line in lines]) / size
    # a line of whole pixels is jagged by half a pixel: a little blur straightens what is drawn around it
    smoothed: Array = ndimage.gaussian_filter(distances, (0, 0.7, 0.7)).astype(np.float32)
    return smoothed


def _thin_parts(outline: Array, line: Array) -> Array:
    """The lower quartile of the inner distance along each form's centre line: (R,)."""
    step = 1.0 / outline.shape[-1]
    widths = [field[(near < step) & (field > 0)] for field, near in zip(outline, line, strict=True)]
    return np.array([np.quantile(w, 0.25) if len(w) else step for w in widths], dtype=np.float32)


Form = dict[str, float]


def _forms(name: str) -> Iterator[tuple[str, Form]]:
    """The variants of one shape: its name with the parameters `_shape_field` understands."""
    variants: dict[str, tuple[str, Sequence[float]]] = {
        "disc": ("", (1.0,)),
        "ellipse": ("ratio", (0.35, 0.45, 0.55, 0.65)),
        "ring": ("thickness", (0.1, 0.15, 0.2, 0.25)),
        "crescent": ("shift", (0.3, 0.45, 0.6)),
        "triangle": ("base", (0.6, 0.87, 1.1)),
        "square": ("ratio", (1.0,)),
        "rectangle": ("ratio", (0.25, 0.35, 0.45, 0.6)),
        "hexagon": ("", (1.0,)),
        "star": ("inner", (0.35, 0.45, 0.55)),
        "cross": ("arm", (0.18, 0.26, 0.34)),
        "heart": ("", (1.0,)),
        "arrow": ("width", (0.15, 0.22, 0.3)),
    }
    parameter, values = variants[name]
    for value in values:
        yield name, ({parameter: value} if parameter else {})


def _shape_field(form: tuple[str, Form], size: int) -> Array:
    """One shape's signed distance in a box whose margin is the glyphs': (size, size)."""
    name, given = form
    radius = 0.5 - MARGIN
    at = (np.arange(size) + 0.5) / size - 0.5
    u, v = (np.ascontiguousarray(a) for a in np.meshgrid(at / radius, at / radius))
    match name:
        case "disc":
            field = shapes.disc(u, v)
        case "ellipse":
            field = shapes.ellipse(u, v, given["ratio"])
        case "ring":
            field = shapes.ring(u, v, given["thickness"])
        case "crescent":
            field = shapes.cut(shapes.disc(u, v), shapes.disc(u - given["shift"], v, 0.85))
        case "triangle":
            field = shapes.polygon(u, v, [(0.0, -1.0), (given["base"], 0.75), (-given["base"], 0.75)])
        case "square" | "rectangle":
            long = 0.85 if name == "square" else 1.0
            field = shapes.polygon(u, v, _box(long, long * given["ratio"]))
        case "hexagon":
            field = shapes.polygon(u, v, shapes.regular(6))
        case "star":
            field = shapes.polygon(u, v, shapes.regular(5, given["inner"]))
        case "cross":
            field = shapes.join(
                shapes.polygon(u, v, _box(1.0, given["arm"])), shapes.polygon(u, v, _box(given["arm"], 1.0))
            )
        case "heart":
            lobes = shapes.join(shapes.disc(u - 0.42, v + 0.35, 0.52), shapes.disc(u + 0.42, v + 0.35, 0.52))
            point = shapes.polygon(u, v, [(-0.87, -0.1), (0.87, -0.1), (0.0, 0.95)])
            field = shapes.join(lobes, point, 0.1)
        case _:  # arrow
            shaft = shapes.polygon(u + 0.3, v, _box(0.7, given["width"]))
            head = shapes.polygon(u, v, [(1.0, 0.0), (0.2, -0.75), (0.2, 0.75)])
            field = shapes.join(shaft, head)
    return (field * radius).astype(np.float32)


def _box(half_width: float, half_height: float) -> list[tuple[float, float]]:
    w, h = half_width, half_height
    return [(-w, -h), (w, -h), (w, h), (-w, h)]
