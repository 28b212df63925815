"""Where trials run. An engine takes trials one at a time and gives a future for each one's record."""

from __future__ import annotations

from petl_study.engines._base import Engine, Lost, TimedOut
from petl_study.engines._cluster import RESULTS, Cluster
from petl_study.engines.processes import Processes
from petl_study.engines.ray import Ray
from petl_study.engines.serial import Serial
from petl_study.errors import InputError, unknown

ENGINES: dict[str, type[Engine]] = {"serial": Serial, "processes": Processes, "ray": Ray}


def create(
    name: str,
    *,
    workers: int | None,
    threads: int,
    device: str,
    timeout: float | None = None,
    cluster: Cluster | None = None,
) -> Engine:
    """The engine `name`; see `Engine` for the rest.

    Parameters
    ----------
    workers : int, optional
        None: one, and on a cluster as many as it has room for.
    cluster : Cluster, optional
        For the ray engine alone. None: one on this machine, a CPU a trial.

    Raises
    ------
    InputError
        No engine has that name, or it takes no cluster.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "ray":
        return Ray(workers=workers, threads=threads, device=device, timeout=timeout, cluster=cluster)
    if cluster:
        raise InputError(f"the {name} engine has no cluster: --address and what a trial asks for go with --engine ray.")
    return ENGINES[name](workers=workers or 1, threads=threads, device=device, timeout=timeout)


__all__ = ["ENGINES", "RESULTS", "Cluster", "Engine", "Lost", "TimedOut", "create"]
