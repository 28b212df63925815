"""Where trials run. An engine takes trials one at a time and gives a future for each one's record."""

from __future__ import annotations

from petl_study.engines._base import Engine, Lost, TimedOut
from petl_study.engines.processes import Processes
from petl_study.engines.serial import Serial
from petl_study.errors import unknown

ENGINES: dict[str, type[Engine]] = {"serial": Serial, "processes": Processes}


def create(name: str, *, workers: int, threads: int, device: str, timeout: float | None = None) -> Engine:
    """The engine `name`; see `Engine` for the rest.

    Raises
    ------
    InputError
        No engine has that name.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name](workers=workers, threads=threads, device=device, timeout=timeout)


__all__ = ["ENGINES", "Engine", "Lost", "TimedOut", "create"]
