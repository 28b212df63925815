"""Where trials run. An engine takes trials one at a time and gives a future for each one's record."""

from __future__ import annotations

from petl_study.engines._base import Engine
from petl_study.engines.processes import Processes
from petl_study.engines.serial import Serial
from petl_study.errors import unknown

ENGINES: dict[str, type[Engine]] = {"serial": Serial, "processes": Processes}


def create(name: str, *, workers: int, threads: int, device: str) -> Engine:
    """The engine `name`.

    Parameters
    ----------
    workers : int
        Trials at once; the serial engine has one.
    threads : int
        Threads of one trial. Floating-point sums depend on it, so the same number gives the same bits on any engine.
    device : str
        As torch names it.

    Raises
    ------
    InputError
        No engine has that name.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name](workers=workers, threads=threads, device=device)


__all__ = ["ENGINES", "Engine", "create"]
