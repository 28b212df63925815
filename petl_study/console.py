"""How commands talk to people: where tables go, and how mistakes are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from petl_study.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; elsewhere so wide that no table is folded, for programs to read."""
    from rich.console import Console  # here: `petl-study --help` need not wait for it

    return Console() if sys.stdout.isatty() else Console(width=200)


def guarded(command: Callable[[], int]) -> int:
    """What `command` returns; wrong input as one message and exit code 2, without a traceback."""
    try:
        return command()
    except InputError as error:
        print(f"petl-study: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("petl-study: interrupted. What is stored is kept; the same command goes on from there.", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # `petl-study methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
