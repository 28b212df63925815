"""``petl-study status RUNS --watch``: the state of a study, drawn anew until it is complete."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from petl_study import status
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.strangers.rendering import Plainly


def watch(path: Path, seconds: float, out: Console | None = None, wait: Callable[[float], object] = time.sleep) -> int:
    """Show the state of the study at `path` every `seconds`, until all of it is done or ctrl-C.

    Returns
    -------
    int
        As `status.show`: 0 when the study is complete, 1 when something is missing or failed.
    """
    if not seconds > 0:
        raise InputError(f"--watch takes seconds between two looks, more than 0; got {seconds}.")
    out = out or console()
    shown, code = _look(path, out)
    try:
        with Live(shown, console=out, auto_refresh=False, vertical_overflow="visible") as live:
            while code != 0:
                wait(seconds)
                shown, code = _look(path, out)
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        pass
    return code


def _look(path: Path, out: Console) -> tuple[Text, int]:
    """What `status` prints, as wide and as colourful as `out`, and its code."""
    page = Console(
        file=io.StringIO(),
        width=out.width,
        force_terminal=out.is_terminal,
        color_system=out.color_system,  # type: ignore[arg-type]
    )
    page.push_render_hook(Plainly())
    code = status.show(path, page)
    return Text.from_ansi(page.file.getvalue()), code  # type: ignore[attr-defined]
