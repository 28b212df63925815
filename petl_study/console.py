"""How commands talk to people: where tables go, and how mistakes are told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from petl_study.errors import InputError
from petl_study.strangers.text import plain

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; elsewhere so wide that no table is folded, for programs to read.

    What it prints is text: control characters in names and messages, which come from other people's records, are shown.
    """
    from rich.console import Console  # here: `petl-study --help` need not wait for it

    from petl_study.strangers.rendering import Plainly

    made = Console() if sys.stdout.isatty() else Console(width=400)
    made.push_render_hook(Plainly())
    return made


def leave_at_second_interrupt() -> None:
    """From now on the first ctrl-C interrupts as ever, and the next one ends this process, whatever it is doing.

    Where ctrl-C is ignored, as in a job that a shell runs in the background, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def first(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, first)


def guarded(command: Callable[[], int]) -> int:
    """What `command` returns; wrong input as one message and exit code 2, without a traceback."""
    try:
        return command()
    except InputError as error:
        print(plain(f"petl-study: {error}"), file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt as stop:
        said = str(stop) or "what is stored is kept"
        print(f"petl-study: interrupted: {said}. The same command goes on from there.", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # `petl-study methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
