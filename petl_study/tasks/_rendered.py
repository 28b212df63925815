"""Tasks drawn by a program: every example has its own named random stream, so any one can be drawn alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from petl_study.render.canvas import Image, to_bytes
from petl_study.render.dice import Dice
from petl_study.tasks._base import Split, TaskInfo

SIZES = {"train": 800, "val": 200, "test": 1000}
RENDERED = (SIZES["train"], SIZES["val"], SIZES["test"])  # as a task's `sizes`

Draw = Callable[[int, Dice], Image]  # (label, chance) -> float64 (H, W, 3) from 0 to 1


def render_example(info: TaskInfo, draw: Draw, split: str, k: int) -> tuple[NDArray[np.uint8], int, str]:
    """Image, label and id of example `k` of a split. Labels go round the classes, so every stretch is balanced."""
    label = k % len(info.classes)
    return to_bytes(draw(label, Dice(info.name, split, k))), label, f"{info.name}/{split}/{k:04d}"


def render_splits(info: TaskInfo, draw: Draw) -> tuple[Split, Split, Split]:
    """Train, val and test of 800, 200 and 1000 examples."""
    return _render(info, draw, "train"), _render(info, draw, "val"), _render(info, draw, "test")


def _render(info: TaskInfo, draw: Draw, split: str) -> Split:
    images, labels, ids = zip(*(render_example(info, draw, split, k) for k in range(SIZES[split])), strict=True)
    return Split(np.stack(images), np.array(labels, dtype=np.int64), np.array(ids))
