"""Weather: snow, frost, fog, and the brightness of the day."""

from __future__ import annotations

import numpy as np
import PIL.Image

from petl_study.render.canvas import Field, Image, luma
from petl_study.render.dice import Dice
from petl_study.render.fields import standardise
from petl_study.tasks.corruptions._pixels import correlated, motion_kernel, normals, resampled, scale_of, smoothed

ICE = (0.86, 0.94, 1.0)  # the tint of frost: a little blue


def snow(image: Image, flakes: tuple[float, float, float, float, float, float, float], dice: Dice) -> Image:
    """Flakes drawn out by the wind over a whitened scene.

    `flakes` are the mean and deviation of the noise they grow from, their size, the threshold below which there is
    none, radius and sigma of their motion, and how much of the scene's own colour is kept. The same flakes, turned by
    half, fall a second time. Below 224 pixels they fall in an image of 224 that is then shrunk by means over boxes, as
    most would be smaller than a pixel. Their light is not cut to bytes on the way, as published.
    """
    mean, deviation, size, threshold, radius, sigma, kept = flakes
    height, width, _ = image.shape
    scale = scale_of(image)
    large = max(scale, 1.0)
    rows, columns = (np.arange(round(n / scale * large)) / (size * large) for n in (height, width))
    seeds = mean + deviation * normals(dice, (int(rows[-1]) + 2, int(columns[-1]) + 2))
    layer = resampled(seeds, rows, columns)
    layer = np.clip(np.where(layer < threshold, 0.0, layer), 0.0, 1.0)[..., None]
    layer = correlated(layer, motion_kernel(radius, sigma, dice.uniform(-135.0, -45.0), large), border="edge")[..., 0]
    if scale < 1:
        small = PIL.Image.fromarray(layer.astype(np.float32)).resize((width, height), PIL.Image.Resampling.BOX)
        layer = np.asarray(small, dtype=np.float64)
    whitened = np.maximum(image, 1.5 * luma(image)[..., None] + 0.5)
    return kept * image + (1 - kept) * whitened + (layer + layer[::-1, ::-1])[..., None]


def frost(image: Image, mix: tuple[float, float], dice: Dice) -> Image:
    """Ice on the window: `mix` of the scene and of the ice.

    Published with crops of six photographs, which are not ours to ship. This ice is drawn: fern-like ridges of smooth
    noise at four scales in patches, and needles in five directions. Its amounts are the published ones, its look and
    its difficulty are its own: not to be compared with published numbers.
    """
    scene, ice = mix
    return scene * image + ice * _ice(image.shape[:2], scale_of(image), dice)[..., None] * np.array(ICE)


def fog(image: Image, mist: tuple[float, float], dice: Dice) -> Image:
    """Mist of `thickness` in lumps of every size, those of half the size `decay` squared times as strong.

    Diamond-square noise as published (there the amplitude enters squared); it spans the smallest power of two that
    covers the longer side. The image's maximum is kept.
    """
    thickness, decay = mist
    height, width, _ = image.shape
    brightest = float(image.max())
    clouds = _clouds(max(height, width), decay, dice)[:height, :width, None]
    return (image + thickness * clouds) * (brightest / (brightest + thickness))


def brightness(image: Image, amount: float, dice: Dice) -> Image:
    """The value of hue, saturation and value raised by `amount`, up to 1. As published."""
    value = image.max(axis=-1, keepdims=True)
    raised = np.minimum(value + amount, 1.0)
    return np.where(value > 0, image * (raised / np.where(value > 0, value, 1.0)), raised)  # black has no hue: grey


def _clouds(side: int, decay: float, dice: Dice) -> Field:
    """Diamond-square noise from 0 to 1, periodic: (n, n), n the smallest power of two that is at least `side`."""
    step = max(2, 1 << (side - 1).bit_length())
    field = np.zeros((step, step))
    amplitude = 1.0
    while step > 1:
        half = step // 2
        corner = field[::step, ::step]
        jolt = amplitude * dice.uniforms((3, *corner.shape), -1.0, 1.0)
        right, below = np.roll(corner, -1, axis=1), np.roll(corner, -1, axis=0)
        centre = (corner + right + below + np.roll(right, -1, axis=0)) / 4 + jolt[0]
        field[half::step, half::step] = centre
        field[::step, half::step] = (corner + right + centre + np.roll(centre, 1, axis=0)) / 4 + jolt[1]
        field[half::step, ::step] = (corner + below + centre + np.roll(centre, 1, axis=1)) / 4 + jolt[2]
        step, amplitude = half, amplitude / decay**2
    field -= field.min()
    return np.asarray(field / field.max())


def _ice(shape: tuple[int, int], scale: float, dice: Dice) -> Field:
    """Ice from 0 (clear glass) to 1, (H, W)."""

    def lumps(sigma: float) -> Field:
        return standardise(smoothed(dice.uniforms(shape), sigma * scale))

    ridges = np.zeros(shape)
    for sigma, strength in ((14.0, 0.35), (7.0, 0.30), (3.5, 0.25), (1.7, 0.20)):
        ridges += strength * np.exp(-2.0 * np.abs(lumps(sigma)))
    needles = np.zeros(shape)
    for _ in range(5):
        seeds = (dice.uniforms(shape) < 0.0015 / min(scale, 1.0)).astype(np.float64)[..., None]
        kernel = motion_kernel(16.0, 12.0, dice.uniform(0.0, 360.0), scale)
        needles = np.maximum(needles, correlated(seeds, kernel / kernel.max(), border="edge")[..., 0])
    patches = np.clip(0.95 + 0.45 * lumps(26.0), 0.3, 1.6)
    return np.clip((1.05 * ridges + 0.3 * needles) * patches, 0.0, 1.0)
