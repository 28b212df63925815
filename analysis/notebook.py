"""What a notebook needs beside tables and figures: to go on where a study lacks something, and to say what."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from petl_study.errors import InputError


@contextmanager
def where_possible() -> Iterator[None]:
    """Run what stands inside; where the study lacks what that needs, say so in a sentence instead of stopping.

    Only `InputError` is said, whose messages tell what is missing and how to mend it. Whatever else goes wrong stops.

    Examples
    --------
    >>> with where_possible():
    ...     display(figures.retention(target_against_shift(accuracies)))
    """
    try:
        yield
    except InputError as error:
        sys.stdout.write(textwrap.fill(f"Not shown here: {error}", 110, break_long_words=False) + "\n")
