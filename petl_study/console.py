"""Where commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; elsewhere so wide that no table is folded, for programs to read."""
    return Console() if sys.stdout.isatty() else Console(width=200)
