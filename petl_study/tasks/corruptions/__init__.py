"""The 15 corruptions of ImageNet-C in 5 severities, made on the fly for any task (Hendrycks and Dietterich, 2019).

"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", arXiv 1903.12261. A corrupted set is
named ``corrupt:<name>:<severity>``, such as ``corrupt:fog:3``, and keeps examples, ids, labels and order. What befalls
an example is drawn from its id, the corruption's name and the severity, never from its place or its batch.

Parameters are those published for 224 x 224 pixels. At another size one rule holds: **lengths are multiplied by the
shorter side over 224; amounts stay** (noise, opacity, contrast, JPEG quality, the fraction of pixels kept). Blur, glass
and deformation then look as in the large image shrunk, while noise, pixelation and JPEG, which know nothing but pixels,
cost a small image more. CIFAR-10-C, for 32 x 32, has a table of its own: nearly these lengths for defocus (radius 0.3
to 1.5; here 0.4 to 1.4) but milder amounts (noise of 0.04 to 0.10; here 0.08 to 0.38). Numbers under the two are not
comparable.

Beside what each docstring says, two things differ everywhere from the published files: pixels are rounded, where those
are cut off to whole numbers; and those were stored as JPEG of quality 85 once corrupted, and these are not stored.
At 224 they are the published corruptions under other draws, frost excepted: what a model loses to them should be close
to what it loses to the published files, and is not the same number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study.errors import InputError, unknown
from petl_study.render.canvas import Image, to_bytes
from petl_study.render.dice import Dice
from petl_study.tasks.corruptions.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from petl_study.tasks.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from petl_study.tasks.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from petl_study.tasks.corruptions.weather import brightness, fog, frost, snow

Corruption = Callable[[Image, Any, Dice], Image]  # (image (H, W, 3) from 0 to 1, its parameters, chance) -> image

PREFIX = "corrupt"
SEVERITIES = (1, 2, 3, 4, 5)

_ELASTIC_UNIT = 244.0  # the side that the published code multiplies by; a slip for 224 that became the benchmark


def _elastic(strength: float, sigma: float, corner: float) -> tuple[float, float, float]:
    return strength * _ELASTIC_UNIT, sigma * _ELASTIC_UNIT, corner * _ELASTIC_UNIT


CORRUPTIONS: dict[str, tuple[Corruption, tuple[Any, Any, Any, Any, Any]]] = {
    "gaussian_noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass_blur": (glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": (motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": (zoom_blur, ((1.11, 12), (1.15, 16), (1.20, 11), (1.24, 13), (1.30, 11))),
    "snow": (
        snow,
        (
            (0.10, 0.3, 3.0, 0.50, 10, 4, 0.80),
            (0.20, 0.3, 2.0, 0.50, 12, 4, 0.70),
            (0.55, 0.3, 4.0, 0.90, 12, 8, 0.70),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (frost, ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": (fog, ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        elastic_transform,
        (
            _elastic(2, 0.7, 0.1),
            _elastic(2, 0.08, 0.2),
            _elastic(0.05, 0.01, 0.02),
            _elastic(0.07, 0.01, 0.02),
            _elastic(0.12, 0.01, 0.02),
        ),
    ),
    "pixelate": (pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (jpeg_compression, (25, 18, 15, 10, 7)),
}
CORRUPTION_SETS = tuple(f"{PREFIX}:{kind}:{severity}" for kind in CORRUPTIONS for severity in SEVERITIES)


def is_corruption(name: str) -> bool:
    """Whether `name` asks for a corrupted set, known or not."""
    return name.partition(":")[0] == PREFIX


def sets_called(name: str) -> tuple[str, ...]:
    """The sets that a name stands for: all (``corrupt``), all severities (``corrupt:fog``) or one (``corrupt:fog:3``).

    Raises
    ------
    InputError
        There is no such corruption or severity; the message says which there are.
    """
    kind, _, severity = name.removeprefix(f"{PREFIX}:").partition(":")
    if name != PREFIX and not (is_corruption(name) and kind in CORRUPTIONS):
        raise unknown("corruption", kind, CORRUPTIONS, where=repr(name))
    called = tuple(s for s in CORRUPTION_SETS if s == name or s.startswith(f"{name}:"))
    if not called:
        raise InputError(f"{name!r}: unknown severity {severity!r}; known: 1 to 5, as in '{PREFIX}:{kind}:3'.")
    return called


def require_one(name: str) -> None:
    """Raise InputError unless `name` is that of one corruption in one severity."""
    if sets_called(name) != (name,):
        raise InputError(f"{name!r} names several sets; ask for one, such as {sets_called(name)[0]!r}.")


def corrupt(name: str, images: NDArray[np.uint8], ids: NDArray[np.str_]) -> NDArray[np.uint8]:
    """The images (N, H, W, 3) under the corruption called `name`, such as ``"corrupt:fog:3"``, drawn by their `ids`.

    Raises
    ------
    InputError
        `name` is not that of one corruption in one severity; the message says which there are.
    """
    require_one(name)
    _, kind, severity = name.split(":")
    apply, parameters = CORRUPTIONS[kind]
    amount = parameters[int(severity) - 1]
    corrupted = np.empty_like(images)
    for k, example in enumerate(ids):
        corrupted[k] = to_bytes(apply(images[k] / 255.0, amount, Dice(PREFIX, kind, severity, str(example))))
    return corrupted
