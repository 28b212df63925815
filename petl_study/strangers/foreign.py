"""What is intact, but was written by another version, another program, or someone who computes checksums himself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petl_study.errors import DamagedRecord, InputError
from petl_study.strangers.text import one_line

_LACKING = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)


@contextmanager
def foreign(path: Path) -> Iterator[None]:
    """The block reads what lies at `path`, and may find that something is missing or not what it takes it for.

    Raises
    ------
    DamagedRecord
        It did. Its cause is what was found, so that a mistake of the block's own can be told from it.
    """
    try:
        yield
    except InputError:
        raise
    except _LACKING as error:
        raise DamagedRecord(
            f"{path} is intact but not as this version writes it ({type(error).__name__}: {one_line(str(error))})."
            f" Read it with the version that wrote it, or move it away."
        ) from error
