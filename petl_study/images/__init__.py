"""Images as tasks read them: decoded and resized once, then uint8 arrays in memory or mapped from a cache on disk."""

from petl_study.images.decode import BadImage, read, seen
from petl_study.images.files import Files
from petl_study.images.lazy import Images, Lazy, joined, resized, rows
from petl_study.images.view import AS_IS, Resize, View

__all__ = [
    "AS_IS",
    "BadImage",
    "Files",
    "Images",
    "Lazy",
    "Resize",
    "View",
    "joined",
    "read",
    "resized",
    "rows",
    "seen",
]
