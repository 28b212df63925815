"""JSON that other people wrote: bounded in size and depth, and no number that JSON does not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 32 * 2**20  # of a file; the reader takes up to twenty times that of memory


class NoJson(ValueError):
    """What is no JSON, or more of it than is read; the message says why, without the file's name."""


def read(path: Path, most: int = MOST_BYTES) -> Any:
    """The content of the file at `path`, which has at most `most` bytes.

    Raises
    ------
    NoJson
        It is no JSON, larger, or nested more deeply than anything here is.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(most + 1)  # also of what has no size of its own, such as a pipe
    if len(text) > most:
        raise NoJson(f"it is larger than {most:,} bytes")
    return parse(text)


def parse(text: bytes | str) -> Any:
    """The content of `text`; raises NoJson as `read` does."""
    try:
        text = (text.encode() if isinstance(text, str) else text).decode()
        content = json.loads(text, parse_constant=_refuse)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair could not be written again
    except RecursionError:
        raise NoJson("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise NoJson("it has characters that are none") from None
    except ValueError as error:
        raise NoJson(str(error)) from None
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON's")
