"""Centre lines of binary glyphs, so that a printed character can be redrawn with a pen of any width."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


def thin(masks: BoolArray) -> BoolArray:
    """Thin every mask to lines one pixel wide that keep its topology (Zhang and Suen, CACM 27(3), 1984).

    Parameters
    ----------
    masks : bool (N, H, W)
        True inside. A one-pixel frame of False around each is assumed.

    Returns
    -------
    bool (N, H, W)
    """
    masks = masks.copy()
    while True:
        before = masks.sum()
        for first in (True, False):
            masks &= ~_removable(masks, first=first)
        if masks.sum() == before:
            return masks


def _removable(masks: BoolArray, *, first: bool) -> BoolArray:
    """Border pixels that one of the two sub-iterations takes away: (N, H, W)."""
    framed = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    height, width = masks.shape[1:]
    # the eight neighbours, clockwise from the one above
    steps = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    around = [framed[:, r : r + height, c : c + width] for r, c in steps]
    up, _, right, _, down, _, left, _ = around
    count = sum(n.astype(np.int8) for n in around)
    entries = sum((~a & b).astype(np.int8) for a, b in zip(around, around[1:] + around[:1], strict=True))
    # the first sub-iteration takes from the lower and right borders, the second from the upper and left ones
    one, other = ((up, right, down), (right, down, left)) if first else ((up, right, left), (up, down, left))
    corner = ~np.logical_and.reduce(one) & ~np.logical_and.reduce(other)
    removable: BoolArray = masks & (count >= 2) & (count <= 6) & (entries == 1) & corner
    return removable
