"""The most memory that this process has held at once."""

from __future__ import annotations

import platform
import resource
from contextlib import suppress
from pathlib import Path


def restart_peak() -> None:
    """Count anew from here. Linux lets a process do that; elsewhere `peak` is since the process began."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes resident at the most since `restart_peak`; pages of mapped files count as allocations do."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if platform.system() == "Darwin" else resident * 1024
