"""One trial after the other, in this process: the reference that other engines must equal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import torch

from petl_study import memory, places
from petl_study.engines._base import Engine, TimedOut
from petl_study.store import Record
from petl_study.trials import Trial


class Serial(Engine):
    """A timeout ends a trial between two steps of Python: what hangs within one of torch's calls it cannot end."""

    def __init__(self, *, workers: int, threads: int, device: str, timeout: float | None = None) -> None:
        super().__init__(workers=1, threads=threads, device=device, timeout=timeout)

    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        """Run `trial` now, and return when it is done."""
        future: Future[Record] = Future()
        try:
            with _at_most(self.timeout):
                record = self.work(trial, directory, self.device)
        except _TimeIsUp:
            assert self.timeout is not None
            future.set_exception(TimedOut(self.timeout))
        else:
            future.set_result(record)
        return future

    def __enter__(self) -> Self:
        memory.keep_freed(not places.here().lean)
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads_before)


class _TimeIsUp(BaseException):
    """Raised wherever the program is when time is up; no `Exception`, which somebody may catch on the way."""


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return

    def ring(*_: object) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
