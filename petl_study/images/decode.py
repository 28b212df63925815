"""One image file as RGB, whatever it is stored as."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from petl_study.images.view import MOST_PIXELS, View

# Told by content, not by name. What runs a program (EPS starts Ghostscript) or holds no picture is left out.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")


class BadImage(ValueError):
    """A file that holds no image that can be read; the message says why, without the file's name."""


def read(path: Path | BinaryIO, view: View) -> NDArray[np.uint8]:
    """The image in the file, upright, in RGB and seen through `view`: uint8 (H, W, 3).

    Turned as its EXIF orientation says. Of animations the first frame. Grey is repeated, 16 bits are cut to their upper
    8, palettes and CMYK are resolved, and transparency is dropped: the colours beneath it show, as in every loader that
    converts to RGB.

    Raises
    ------
    BadImage
        The file is missing, damaged, no image, too large, or of samples without an agreed range (32 bits, floats).
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:  # before they are decoded
                raise BadImage(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
            image.load()
            return seen(image, view)
    except (BadImage, MemoryError):
        raise
    except FileNotFoundError:
        raise BadImage("there is no such file") from None
    except UnidentifiedImageError:
        raise BadImage(f"it is no image, or of a format that is not read here ({', '.join(FORMATS)})") from None
    except Exception as error:  # what a decoder raises on altered bytes is anyone's guess
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)  # without the path
        raise BadImage(f"it cannot be decoded ({said or type(error).__name__})") from None


def seen(image: Image.Image, view: View) -> NDArray[np.uint8]:
    """A decoded image, which is turned in place, as `read` gives it. Raises what `read` makes a BadImage of."""
    with suppress(Exception):  # EXIF is often broken, and no reason to do without the image
        ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(view(_rgb(image)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage(f"its samples are {'32-bit integers' if image.mode == 'I' else 'floats'}, of no agreed range")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
