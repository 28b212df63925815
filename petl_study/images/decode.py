"""One image file as RGB, whatever it is stored as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from petl_study.images.view import View

MOST_PIXELS = 100_000_000  # of a file: more are refused before they are decoded

# What Pillow raises on files that are cut off, altered, of another kind or a bomb.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class BadImage(ValueError):
    """A file that holds no image that can be read; the message says why, without the file's name."""


def read(path: Path, view: View) -> NDArray[np.uint8]:
    """The image in the file, upright, in RGB and seen through `view`: uint8 (H, W, 3).

    Turned as its EXIF orientation says. Grey is repeated, 16 bits are cut to their upper 8, palettes and CMYK are
    resolved, and transparency is dropped: the colours beneath it show, as in every loader that converts to RGB.

    Raises
    ------
    BadImage
        The file is missing, damaged, no image, too large, or of samples without an agreed range (32 bits, floats).
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise BadImage(f"{opened.width} x {opened.height} pixels are more than {MOST_PIXELS:,}")
            return np.asarray(view(_rgb(ImageOps.exif_transpose(opened))))
    except BadImage:
        raise
    except FileNotFoundError:
        raise BadImage("there is no such file") from None
    except UnidentifiedImageError:
        raise BadImage("it is no image, or of a format that is not known here") from None
    except _UNREADABLE as error:
        raise BadImage(f"it cannot be decoded ({str(error) or type(error).__name__})") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey: NDArray[Any] = np.asarray(image)
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage(f"its samples are {'32-bit integers' if image.mode == 'I' else 'floats'}, of no agreed range")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
