"""Text of other people on its way to a terminal, a page or a file name."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Control characters but newline and tab: an escape sequence moves the cursor, retitles the window, fills the clipboard.
# With them what turns the direction of writing round, and halves of surrogate pairs, which no file can be written with.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    r"""`text` with every character shown that would do something else than appear.

    >>> print(plain("\x1b[2Jgone"))
    \x1b[2Jgone
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str, most: int = 200) -> str:
    """`text` on one line, and cut where it is longer than anyone reads."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def listed(names: Iterable[object], most: int = 12) -> str:
    """`names` with commas between; of many the first."""
    shown = [one_line(str(name), 80) for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
