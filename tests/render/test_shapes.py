"""Shapes as signed distances, checked against areas and lengths known in closed form."""

import numpy as np
import pytest

from petl_study.render import canvas, shapes

X, Y = canvas.pixel_centres(64)


def area(distance):
    """In pixels, with soft edges."""
    return canvas.coverage(distance).sum()


def test_a_disc_has_its_area():
    assert area(shapes.disc(X, Y, 20.0)) == pytest.approx(np.pi * 400, rel=0.01)


def test_an_ellipse_has_its_area():
    assert area(20 * shapes.ellipse(X / 20, Y / 20, 0.5)) == pytest.approx(np.pi * 200, rel=0.02)


def test_a_ring_has_its_area():
    assert area(20 * shapes.ring(X / 20, Y / 20, 0.25)) == pytest.approx(np.pi * (400 - 100), rel=0.01)


def test_a_polygon_has_its_area_whichever_way_round():
    corners = shapes.regular(6)
    for order in (corners, corners[::-1]):
        assert area(20 * shapes.polygon(X / 20, Y / 20, order)) == pytest.approx(1.5 * 3**0.5 * 400, rel=0.01)


def test_a_star_is_smaller_than_its_hull_and_has_its_area():
    star = area(24 * shapes.polygon(X / 24, Y / 24, shapes.regular(5, inner=0.5)))
    assert star == pytest.approx(10 * 0.5 * 0.5 * np.sin(np.pi / 5) * 24**2, rel=0.02)


def test_a_segment_with_a_width_is_a_capsule():
    assert area(shapes.segment(X, Y, (-15, 0), (15, 0)) + 4) == pytest.approx(30 * 8 + np.pi * 16, rel=0.01)


def test_shapes_turn_anticlockwise():
    u, v = shapes.place(X, Y, (5.0, -3.0), 10.0, np.pi / 2)
    tip = np.unravel_index(np.argmin((u - 1) ** 2 + v**2), u.shape)
    assert (X[tip], Y[tip]) == pytest.approx((5.0, -13.0), abs=0.6)  # y points down, so up is less


def test_joining_and_cutting_are_sums_and_differences_of_areas():
    a, b = shapes.disc(X + 16, Y, 10.0), shapes.disc(X - 16, Y, 10.0)
    assert area(shapes.join(a, b)) == pytest.approx(area(a) + area(b))
    assert area(shapes.join(a, b, smooth=5.0)) == pytest.approx(area(a) + area(b), rel=0.01)
    whole, part = shapes.disc(X, Y, 20.0), shapes.disc(X, Y, 10.0)
    assert area(shapes.cut(whole, part)) == pytest.approx(area(whole) - area(part))


def test_a_smooth_join_fills_the_crease():
    a, b = shapes.disc(X + 8, Y, 10.0), shapes.disc(X - 8, Y, 10.0)
    assert area(shapes.join(a, b, smooth=4.0)) > area(shapes.join(a, b)) + 5
