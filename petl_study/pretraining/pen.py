"""Digits as a pen draws them: forms of handwriting that no bundled font has (open four, crossed seven, plain one).

A form is a list of strokes on a grid of 100 x 100, y downwards. A stroke is "line" (straight between its points) or
"curve" (a Catmull-Rom spline through them).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from petl_study.render.glyphs import MARGIN, FloatArray, segment_distance

FORMS: dict[str, tuple[str, ...]] = {
    "0": (
        "curve 50 0 18 14 6 50 18 86 50 100 82 86 94 50 82 14 50 0",
        "curve 60 2 28 10 20 50 30 90 52 100 74 84 78 48 70 12 44 4",
        "curve 72 8 36 2 16 40 24 84 48 100 76 74 80 34 66 2 50 6",
    ),
    "1": (
        "line 50 0 50 100",
        "line 62 0 42 100",
        "line 28 26 54 0 54 100",
        "line 34 18 56 0 50 100",
        "line 26 30 52 0 52 100; line 28 100 78 100",
        "curve 30 32 46 18 56 0; line 56 0 52 100",
    ),
    "2": (
        "curve 12 24 28 4 56 0 78 16 76 40 50 68 10 98; line 10 98 90 98",
        "curve 16 26 36 2 68 6 74 34 46 72 14 96 22 76 46 84 70 98 92 92",
        "curve 18 14 50 0 78 18 64 52 18 94; curve 18 94 40 86 64 96 88 98",
        "curve 14 30 30 4 62 2 74 26 54 62 16 92 30 100 34 84 20 82; curve 20 82 50 92 88 96",
    ),
    "3": (
        "curve 16 12 46 0 78 14 72 38 42 48; curve 42 48 76 54 84 78 58 100 14 90",
        "line 16 2 80 2 44 40; curve 44 40 78 48 82 80 50 100 14 88",
        "curve 20 8 52 0 72 18 58 40 38 46 64 52 78 74 54 98 20 98",
        "curve 18 16 40 0 70 6 70 32 46 44 38 50 50 46 78 60 76 86 46 100 16 88",
    ),
    "4": (
        "line 22 0 16 54 86 54; line 70 10 70 100",
        "line 34 0 10 60 90 60; line 64 30 58 100",
        "line 66 0 10 66 92 66; line 66 0 66 100",
        "curve 20 4 14 34 24 52 50 54 76 44; line 80 4 68 100",
        "curve 30 0 14 50 44 58 84 50; line 74 18 62 100",
    ),
    "5": (
        "line 80 2 26 2 20 44; curve 20 44 52 34 80 54 76 84 46 100 12 90",
        "line 28 2 24 42; curve 24 42 60 38 80 62 66 94 36 100 12 88; line 28 2 86 0",
        "curve 84 0 52 4 30 6 24 40 48 40 72 56 70 84 44 100 14 94",
        "line 74 0 34 4 22 46; curve 22 46 50 44 66 64 58 90 20 100",
    ),
    "6": (
        "curve 72 2 38 22 16 62 24 92 52 100 78 84 72 60 46 54 20 72",
        "curve 54 0 26 34 16 76 40 100 68 90 68 66 46 58 24 72",
        "curve 78 8 48 4 22 40 16 74 36 98 68 96 80 72 62 52 34 58 18 76",
        "line 60 0 22 70; curve 22 70 26 96 54 100 74 82 60 62 36 66 22 82",
    ),
    "7": (
        "line 12 2 84 2 40 100",
        "line 14 4 86 4 44 100; line 28 50 82 50",
        "curve 12 10 40 4 84 4; curve 84 4 60 44 46 100",
        "line 12 20 14 2 86 2 52 100",
        "curve 10 12 36 0 56 12 84 2; curve 84 2 58 40 40 100; line 34 52 78 46",
    ),
    "8": (
        "curve 50 48 20 28 28 4 54 0 78 12 74 32 50 48 18 68 22 94 52 100 80 88 80 66 50 48",
        "curve 80 10 52 0 24 10 30 34 70 62 72 88 46 100 22 88 28 64 66 36 80 10",
        "curve 50 46 26 36 28 10 50 0 72 10 74 34 50 46; curve 50 46 20 60 20 88 50 100 80 88 80 60 50 46",
        "curve 70 14 48 0 32 14 42 38 66 64 60 96 36 96 30 74 52 46 72 24 74 12",
    ),
    "9": (
        "curve 78 24 56 0 24 12 22 40 48 52 74 36 78 20; line 78 20 74 100",
        "curve 76 18 48 0 20 22 34 48 66 42 78 16; curve 78 16 78 60 62 88 26 100",
        "curve 70 12 40 2 20 28 40 48 68 34 72 8; line 72 8 46 100",
        "curve 72 30 44 46 22 30 32 4 62 2 74 24 70 64 50 98",
        "curve 78 10 46 0 18 20 30 44 62 38 78 10; curve 78 10 70 54 72 92 90 86",
    ),
}


@lru_cache(maxsize=256)
def pen_distance(char: str, form: int, size: int) -> NDArray[np.float32]:
    """Distance of every pixel centre to the pen's path, in units of the box's side: float32 (size, size), read-only.

    The path is placed in the box as `glyph_field` places a glyph: centred, its longer extent ``1 - 2 * MARGIN``.
    """
    paths = [_path(stroke) for stroke in FORMS[char][form].split(";")]  # (P_i, 2) each
    points = np.concatenate(paths)
    low, high = points.min(axis=0), points.max(axis=0)
    scale, centre = (1 - 2 * MARGIN) / (high - low).max(), (low + high) / 2
    start, end = (np.concatenate([p[cut] for p in paths]) for cut in (slice(None, -1), slice(1, None)))
    field = segment_distance((start - centre) * scale + 0.5, (end - centre) * scale + 0.5, size).astype(np.float32)
    field.flags.writeable = False  # cached, so shared
    return field


def _path(stroke: str) -> FloatArray:
    """One stroke's text as a polygonal line (P, 2)."""
    kind, *numbers = stroke.split()
    points = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    return _catmull_rom(points) if kind == "curve" else points


def _catmull_rom(points: FloatArray, pieces: int = 8) -> FloatArray:
    """The smooth curve through K points (K, 2), end points doubled: ((K - 1) * pieces + 1, 2)."""
    p = np.concatenate([points[:1], points, points[-1:]])
    t = (np.arange(pieces) / pieces)[:, None]
    curve = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*curve, points[-1:]])
