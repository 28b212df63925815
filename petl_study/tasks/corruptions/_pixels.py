"""What the corruptions share: how lengths follow the image's size, smoothing, sampling, spreading a pixel's light."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from petl_study.render.canvas import Field, Image
from petl_study.render.dice import Dice

PUBLISHED_SIDE = 224


def scale_of(image: Image) -> float:
    """The image's shorter side over 224: what every published length in pixels is multiplied by."""
    return min(image.shape[:2]) / PUBLISHED_SIDE


def normals(dice: Dice, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers, from uniforms by the inverse distribution function.

    NumPy's own normal stream may change between versions, and the house's `Dice.gaussians` has no tails.
    """
    return np.asarray(special.ndtri(dice.uniforms(shape)))


def smoothed(field: Field, sigma: float) -> Field:
    """A Gaussian blur of (H, W) under mirror boundaries, as a product of cosine spectra: as fast for any `sigma`."""
    height, width = field.shape
    spectrum = fft.dctn(field, norm="ortho")
    y, x = (np.exp(-0.5 * (np.pi * sigma * np.arange(n) / n) ** 2) for n in (height, width))
    return np.asarray(fft.idctn(spectrum * y[:, None] * x, norm="ortho"))


def pixel_indices(height: int, width: int) -> tuple[Field, Field]:
    """Row and column numbers, both (H, W)."""
    y, x = np.indices((height, width), dtype=np.float64)
    return y, x


def sampled(image: Image, y: Field, x: Field, mode: Literal["nearest", "mirror"]) -> Image:
    """The image read at fractional rows and columns (H, W), bilinear; `mode` says what lies outside."""
    channels = np.moveaxis(image, -1, 0)
    return np.stack([ndimage.map_coordinates(c, [y, x], order=1, mode=mode) for c in channels], axis=-1)


def resampled(image: NDArray[np.float64], rows: Field, columns: Field) -> NDArray[np.float64]:
    """The array (H, W, ...) read at fractional `rows` (h,) and `columns` (w,) inside it, bilinear: (h, w, ...)."""
    for axis, positions in enumerate((rows, columns)):
        below = np.floor(positions).astype(np.int64)
        above = np.minimum(below + 1, image.shape[axis] - 1)
        share = (positions - below).reshape((-1,) + (1,) * (image.ndim - 1 - axis))
        low, high = image.take(below, axis=axis), image.take(above, axis=axis)
        image = low + share * (high - low)
    return image


def point_spread(y: Field, x: Field, weights: Field, scale: float) -> Field:
    """The kernel (K, K) of light that T taps at (y, x), given for 224 pixels, share out at another size.

    Each tap moves to `scale` times its offset and is divided linearly among the pixels around it; above 224 it widens
    as the gaps between taps do. At 224 whole offsets stay what they are.
    """
    width = max(1.0, scale)
    reach = int(np.ceil(scale * max(np.abs(y).max(), np.abs(x).max()) + width)) - 1
    grid = np.arange(-reach, reach + 1)[:, None]
    rows, columns = (np.clip(1.0 - np.abs(grid - scale * taps) / width, 0.0, None) for taps in (y, x))  # (K, T)
    kernel = np.einsum("it,jt,t->ij", rows, columns, weights)
    return np.asarray(kernel / kernel.sum())


def correlated(image: NDArray[np.float64], kernel: Field, border: Literal["edge", "reflect"]) -> NDArray[np.float64]:
    """The image (H, W, C) in which every pixel is the kernel's mean of those around it; `border` as in `numpy.pad`."""
    from scipy import signal  # takes as long to load as all other code of the tasks, in every worker

    reach = len(kernel) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode=border)
    return np.asarray(signal.fftconvolve(padded, kernel[::-1, ::-1, None], mode="valid", axes=(0, 1)))


def motion_kernel(radius: float, sigma: float, degrees: float, scale: float) -> Field:
    """Light drawn out along a line: 2 `radius` + 1 taps to one side, falling off as a Gaussian of `sigma` taps."""
    taps = np.arange(2 * radius + 1)
    angle = np.deg2rad(degrees)
    return point_spread(taps * np.sin(angle), taps * np.cos(angle), np.exp(-0.5 * (taps / sigma) ** 2), scale)
