"""Small image files and directories of them, as a user's own data would lie on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def image(seed: int, height: int = 8, width: int = 8, channel: int | None = None) -> NDArray[np.uint8]:
    """Noise, (height, width, 3), brighter in one channel if that is given."""
    made = np.random.default_rng(seed).integers(0, 120, (height, width, 3)).astype(np.uint8)
    if channel is not None:
        made[..., channel] += 60
    return made


def write(path: Path, pixels: NDArray[np.uint8] | None = None) -> Path:
    """An image file of these pixels; without them a file that is called an image and is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        path.write_text("no image")
    else:
        Image.fromarray(pixels).save(path)
    return path


def write_lists(
    root: Path,
    sizes: Mapping[str, int],
    classes: int = 3,
    *,
    names: Sequence[str] = (),
    side: int = 8,
    first: int = 0,
) -> Path:
    """`sizes` images a list (``{"train800.txt": 6, ...}``) in VTAB-1K's layout, of classes told by a channel."""
    seed = first
    for name, size in sizes.items():
        lines = []
        for k in range(size):
            seed += 1
            label = k % classes
            path = f"images/{name.removesuffix('.txt')}/{k:05d}.png"
            write(root / path, image(seed, side, side, channel=label % 3))
            lines.append(f"{path} {label}")
        (root / name).write_text("\n".join(lines) + "\n")
    if {"train800.txt", "val200.txt"} <= set(sizes):
        both = (root / "train800.txt").read_text() + (root / "val200.txt").read_text()
        (root / "train800val200.txt").write_text(both)
    if names:
        (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def write_classes(root: Path, counts: Mapping[str, int], *, side: int = 8, first: int = 0) -> Path:
    """A folder for every class, with so many images."""
    seed = first
    for label, (name, count) in enumerate(counts.items()):
        for k in range(count):
            seed += 1
            write(root / name / f"{k:03d}.png", image(seed, side, side, channel=label % 3))
    return root
