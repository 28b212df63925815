"""Flat shapes as signed distance fields: positive inside, in the unit of the coordinates.

A shape is a function of (u, v), coordinates in which it is centred on the origin with radius about 1 and, where it has
a direction, points along +u. `place` makes such coordinates from pixels; multiply the result by `radius` to get pixels
back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from petl_study.render.canvas import Field

Point = tuple[float, float]


def place(x: Field, y: Field, centre: Point, radius: float, angle: float = 0.0) -> tuple[Field, Field]:
    """Pixel coordinates as a shape's own (u, v): `angle` in radians turns +u anticlockwise from +x, y pointing down."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    dx, dy = (x - centre[0]) / radius, (y - centre[1]) / radius
    return dx * c - dy * s, dx * s + dy * c


def disc(u: Field, v: Field, radius: float = 1.0) -> Field:
    return radius - np.sqrt(u * u + v * v)


def ellipse(u: Field, v: Field, ratio: float) -> Field:
    """Half-axes 1 and `ratio`. Exact on the outline only, which is where coverage is decided."""
    r = np.sqrt(u * u + (v / ratio) ** 2)
    return (1.0 - r) * min(1.0, ratio)


def ring(u: Field, v: Field, thickness: float) -> Field:
    """A closed band of half-width `thickness` whose outer edge has radius 1."""
    return thickness - np.abs(np.sqrt(u * u + v * v) - (1.0 - thickness))


def segment(x: Field, y: Field, a: Point, b: Point) -> Field:
    """Minus the distance to the straight line from `a` to `b`: add a half-width to get a capsule."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    t = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
    px, py = px - t * dx, py - t * dy
    return -np.sqrt(px * px + py * py)


def polygon(u: Field, v: Field, corners: Sequence[Point]) -> Field:
    """Any simple polygon: distance to the nearest edge, its sign from counting crossings to the right."""
    nearest = np.full(u.shape, -np.inf)
    inside = np.zeros(u.shape, dtype=np.bool_)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        nearest = np.maximum(nearest, segment(u, v, (ax, ay), (bx, by)))
        if ay != by:
            inside ^= ((ay > v) != (by > v)) & (u < ax + (v - ay) * ((bx - ax) / (by - ay)))
    return np.where(inside, -nearest, nearest)


def regular(n: int, inner: float = 1.0) -> list[Point]:
    """Corners of a regular n-gon of radius 1, or of an n-pointed star whose notches lie at radius `inner`."""
    if inner == 1.0:
        return [(float(np.cos(2 * np.pi * k / n)), float(np.sin(2 * np.pi * k / n))) for k in range(n)]
    radii = (1.0, inner)
    return [
        (radii[k % 2] * float(np.cos(np.pi * k / n)), radii[k % 2] * float(np.sin(np.pi * k / n))) for k in range(2 * n)
    ]


def join(a: Field, b: Field, smooth: float = 0.0) -> Field:
    """Both shapes; with `smooth` > 0 the crease between them is filled over about that width, as if they had fused."""
    if smooth <= 0.0:
        return np.maximum(a, b)
    h = np.maximum(smooth - np.abs(a - b), 0.0) / smooth
    return np.maximum(a, b) + h * h * (smooth / 4.0)


def cut(a: Field, b: Field, smooth: float = 0.0) -> Field:
    """What is left of `a` without `b`."""
    return -join(-a, b, smooth)
