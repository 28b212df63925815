"""What Rich draws, with other people's text in it."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

from petl_study.strangers.text import plain


class Plain:
    """`drawn`, its control characters shown; those that Rich itself moves the cursor with are not in its text."""

    def __init__(self, drawn: RenderableType) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else plain(text), style, control)


class Plainly(RenderHook):
    """Has a console print everything as `Plain`."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Plain(one) for one in renderables]
