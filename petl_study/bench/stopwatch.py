"""Where the time of a whole goes: what functions take that are called inside it, each without those inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

Place = tuple[Any, str]  # a module or class, and the name of a function in it
REST = "rest"


class Stopwatch:
    """Seconds by part; of nested parts the inner one runs, and the outer one waits.

    Parameters
    ----------
    now : callable
        The time in seconds, with all done that was begun.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now, self._running, self._since = now, [REST], now()

    @contextmanager
    def watching(self, parts: Mapping[str, Sequence[Place]]) -> Iterator[None]:
        """Time every call of the functions at these places while the block runs, and the block itself as `REST`."""
        self.seconds.clear()
        self._running, self._since = [REST], self._now()
        with ExitStack() as stack:
            for part, places in parts.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            yield
        self._change()

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._change()
            self._running.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._change()
                self._running.pop()

        return timed

    def _change(self) -> None:
        now = self._now()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now
