"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from petl_study import memory


@dataclass
class Measured:
    """What a piece of work took, once it is done.

    Attributes
    ----------
    seconds : float
        Wall clock.
    peak_bytes : int
        The most that was resident in this process: pages of mapped files count as its own allocations do. Where the
        system cannot start the count anew (it can on Linux), the most since the process began.
    """

    name: str
    seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured(name: str) -> Iterator[Measured]:
    work = Measured(name)
    memory.restart_peak()
    started = time.perf_counter()
    yield work
    work.seconds = time.perf_counter() - started
    work.peak_bytes = memory.peak()
