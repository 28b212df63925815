"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


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
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    yield work
    work.seconds = time.perf_counter() - started
    work.peak_bytes = _peak()


def _peak() -> int:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
