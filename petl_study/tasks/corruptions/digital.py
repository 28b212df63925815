"""What happens between camera and model: contrast, elastic deformation, pixelation, JPEG compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image

from petl_study.render.canvas import Image, to_bytes
from petl_study.render.dice import Dice
from petl_study.tasks.corruptions._pixels import pixel_indices, sampled, scale_of, smoothed


def contrast(image: Image, kept: float, dice: Dice) -> Image:
    """Every channel keeps the fraction `kept` of its distance from its mean. As published."""
    mean = image.mean(axis=(0, 1))
    return mean + (image - mean) * kept


def elastic_transform(image: Image, rubber: tuple[float, float, float], dice: Dice) -> Image:
    """A random affine map, then every pixel moved by smooth noise: `strength`, `sigma` and `corner`, pixels at 224.

    Three corners of a square of two thirds of the side move by up to `corner`; the noise is uniform, smoothed by
    `sigma` and multiplied by `strength`. As published, severities 1 and 2 deform the whole and 3 to 5 its details:
    they do not form one scale. Both maps are read in one interpolation, where the published image goes through two.
    """
    strength, sigma, corner = rubber
    scale = scale_of(image)
    height, width, _ = image.shape
    half = min(height, width) / 3  # of the square's side
    corners = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]]) * half + np.array([height, width]) / 2  # (y, x)
    moved = corners + dice.uniforms((3, 2), -corner * scale, corner * scale)
    noise = dice.uniforms((2, height, width), -1.0, 1.0)
    # white noise over fewer pixels averages out less: the second factor keeps the deformation in proportion
    dy, dx = (strength * scale * scale * smoothed(field, sigma * scale) for field in noise)
    y, x = pixel_indices(height, width)
    y, x = y + dy - moved[1, 0], x + dx - moved[1, 1]
    # where (y, x) lies between the moved corners, in units of the two sides that meet in the second: Cramer's rule
    (ay, ax), (by, bx) = moved[0] - moved[1], moved[2] - moved[1]
    area = ay * bx - ax * by
    a, b = (y * bx - x * by) / area, (x * ay - y * ax) / area
    return sampled(image, corners[1, 0] + 2 * half * a, corners[1, 1] - 2 * half * b, mode="mirror")


def pixelate(image: Image, kept: float, dice: Dice) -> Image:
    """Reduced to the fraction `kept` of its pixels a side, by means over boxes, and enlarged again. As published."""
    height, width, _ = image.shape
    picture = PIL.Image.fromarray(to_bytes(image))
    small = picture.resize((max(1, int(width * kept)), max(1, int(height * kept))), PIL.Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), PIL.Image.Resampling.BOX)) / 255.0


def jpeg_compression(image: Image, quality: float, dice: Dice) -> Image:
    """Saved as JPEG of `quality` and read again. As published; the bits are those of Pillow's JPEG library."""
    file = BytesIO()
    PIL.Image.fromarray(to_bytes(image)).save(file, "JPEG", quality=int(quality))
    return np.asarray(PIL.Image.open(file)) / 255.0
