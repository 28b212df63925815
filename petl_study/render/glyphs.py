"""Characters of matplotlib's bundled fonts as signed-distance fields.

A field says, for every pixel of a square box, how far it is from the glyph's outline: thresholding it at 0 gives the
glyph, at a positive distance a thinner one, at a negative a bolder one. Fields are computed from the outlines in the
fonts' own integer units, with elementwise float64 arithmetic only (no rasteriser, no reduction whose order could
vary), so a (character, font, size) has one field, bit for bit, on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.font_manager import get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from petl_study.errors import InputError, unknown

FloatArray = NDArray[np.float64]

MARGIN = 0.15  # of the box, left free on each side of the glyph's longer extent: room for bolder strokes
CURVE_PIECES = 8  # straight pieces a curve; at size 64 the deviation is far below a tenth of a pixel

_FILES = {
    **{f"dejavu_sans{s}": f"DejaVuSans{f}" for s, f in (("", ""), ("_bold", "-Bold"), ("_oblique", "-Oblique"))},
    "dejavu_sans_bold_oblique": "DejaVuSans-BoldOblique",
    **{f"dejavu_mono{s}": f"DejaVuSansMono{f}" for s, f in (("", ""), ("_bold", "-Bold"), ("_oblique", "-Oblique"))},
    "dejavu_mono_bold_oblique": "DejaVuSansMono-BoldOblique",
    **{f"dejavu_serif{s}": f"DejaVuSerif{f}" for s, f in (("", ""), ("_bold", "-Bold"), ("_italic", "-Italic"))},
    "dejavu_serif_bold_italic": "DejaVuSerif-BoldItalic",
    "cm_roman": "cmr10",
    "cm_bold": "cmb10",
    "cm_sans": "cmss10",
    "cm_mono": "cmtt10",
    "cm_italic": "cmti10",
    "stix": "STIXGeneral",
    "stix_bold": "STIXGeneralBol",
    "stix_italic": "STIXGeneralItalic",
    "stix_bold_italic": "STIXGeneralBolIta",
}

FONTS: MappingProxyType[str, Path] = MappingProxyType(
    {name: Path(mpl.get_data_path(), "fonts", "ttf", f"{file}.ttf") for name, file in _FILES.items()}
)
"""Every face this project draws with, by name; all have the ASCII letters and digits."""

HELD_OUT_FONTS: tuple[str, ...] = tuple(name for name in FONTS if name.startswith("stix"))
"""Faces the pre-training source never draws: tasks that must not repeat the source use these."""

SOURCE_FONTS: tuple[str, ...] = tuple(name for name in FONTS if name not in HELD_OUT_FONTS)
"""Faces of the pre-training source."""


@lru_cache(maxsize=4096)
def glyph_field(char: str, font: str, size: int = 64) -> NDArray[np.float32]:
    """Signed distance of every pixel centre to the glyph's outline.

    Parameters
    ----------
    char : str
        One character.
    font : str
        A name in `FONTS`.
    size : int
        Pixels a side.

    Returns
    -------
    float32 (size, size), read-only
        Distance in units of the box's side, positive inside the glyph; row 0 is the top. The glyph's bounding box is
        centred, and scaled so that its height (or its width, where the glyph is wider than high) is
        ``1 - 2 * MARGIN``: descenders and x-heights are normalised away.
    """
    start, end = _segments(char, font)
    low = np.minimum(start.min(axis=0), end.min(axis=0))  # (2,)
    high = np.maximum(start.max(axis=0), end.max(axis=0))
    scale = (1 - 2 * MARGIN) / (high - low).max()
    centre = (low + high) / 2
    flip = np.array([scale, -scale])  # fonts count upwards, images downwards
    start, end = (start - centre) * flip + 0.5, (end - centre) * flip + 0.5
    distance = segment_distance(start, end, size)
    field = np.where(_winding(start, end, size) != 0, distance, -distance).astype(np.float32)
    field.flags.writeable = False  # cached, so shared
    return field


def _segments(char: str, font: str) -> tuple[FloatArray, FloatArray]:
    """The outline as S straight pieces: starts (S, 2) and ends (S, 2), x right and y up, in font units."""
    if font not in FONTS:
        raise unknown("font", font, FONTS)
    if len(char) != 1:
        raise InputError(f"a glyph is one character; got {char!r}")
    face = get_font(str(FONTS[font]))
    if not face.get_char_index(ord(char)):
        raise InputError(f"font {font!r} has no character {char!r}; use another of {', '.join(FONTS)}")
    face.load_char(ord(char), LoadFlags.NO_SCALE)
    vertices, codes = face.get_path()
    if not len(vertices):
        raise InputError(f"character {char!r} of font {font!r} is blank; use one that has ink")
    pieces = [_flatten(contour) for contour in _contours(vertices, codes)]  # (S_i + 1, 2) each, closed
    return np.concatenate([p[:-1] for p in pieces]), np.concatenate([p[1:] for p in pieces])


def _contours(vertices: FloatArray, codes: NDArray[np.integer[Any]]) -> list[list[FloatArray]]:
    """Every closed contour as its curves, each as its control points (2, 3 or 4 of them, 2)."""
    order = {Outline.LINETO: 1, Outline.CURVE3: 2, Outline.CURVE4: 3}  # control points a curve adds
    contours: list[list[FloatArray]] = []
    here, i = vertices[0], 0
    while i < len(codes):
        if codes[i] == Outline.MOVETO:
            contours.append([])
            here, step = vertices[i], 1
        elif codes[i] == Outline.CLOSEPOLY:
            step = 1
        else:
            step = order[codes[i]]
            contours[-1].append(np.stack([here, *vertices[i : i + step]]))
            here = vertices[i + step - 1]
        i += step
    for curves in contours:
        if (curves[-1][-1] != curves[0][0]).any():
            curves.append(np.stack([curves[-1][-1], curves[0][0]]))
    return contours


def _flatten(curves: list[FloatArray]) -> FloatArray:
    """Bézier curves of one contour as a polygon (P, 2) that ends where it starts (de Casteljau at fixed steps)."""
    points = [curves[0][:1]]
    for control in curves:
        pieces = 1 if len(control) == 2 else CURVE_PIECES
        t = np.arange(1, pieces + 1)[:, None, None] / pieces  # (pieces, 1, 1)
        level = np.broadcast_to(control, (pieces, *control.shape))
        while level.shape[1] > 1:
            level = level[:, :-1] + t * (level[:, 1:] - level[:, :-1])
        points.append(level[:, 0])
    return np.concatenate(points)


def segment_distance(start: FloatArray, end: FloatArray, size: int) -> FloatArray:
    """Distance from every pixel centre of the unit box to the nearest of S segments (S, 2) to (S, 2): (size, size)."""
    x, y = _pixels(size)
    (x0, y0), (x1, y1) = start.T, end.T
    dx, dy = x1 - x0, y1 - y0
    length = np.maximum(dx * dx + dy * dy, 1e-24)  # squared; a repeated point is a segment of length 0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / length, 0.0, 1.0)  # (size, size, S)
    off_x, off_y = x - (x0 + along * dx), y - (y0 + along * dy)
    distance: FloatArray = np.sqrt((off_x * off_x + off_y * off_y).min(axis=-1))
    return distance


def _winding(start: FloatArray, end: FloatArray, size: int) -> NDArray[np.int64]:
    """How often the closed outline of S segments winds around every pixel centre; not 0 is inside: (size, size)."""
    x, y = _pixels(size)
    (x0, y0), (x1, y1) = start.T, end.T
    left = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0) > 0
    rises, falls = (y0 <= y) & (y1 > y), (y1 <= y) & (y0 > y)
    turns: NDArray[np.int64] = (rises & left).sum(axis=-1) - (falls & ~left).sum(axis=-1)
    return turns


def _pixels(size: int) -> tuple[FloatArray, FloatArray]:
    """Centres of the unit box's pixels, to broadcast over (rows, columns, segments): x (1, size, 1), y (size, 1, 1)."""
    at = (np.arange(size) + 0.5) / size
    return at[None, :, None], at[:, None, None]
