"""A Ray cluster as an engine sees it: where it is, what a trial asks of it, and how many trials it has room for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from petl_study.errors import InputError, unknown

Results = Literal["shared", "driver"]
RESULTS: tuple[Results, ...] = ("shared", "driver")
STORE = 512 * 2**20  # bytes of shared memory, of a cluster of our own: what travels at once is small
PATIENCE = 5.0  # seconds to wait for an answer at an address


@dataclass(frozen=True)
class Cluster:
    """
    Attributes
    ----------
    address : str, optional
        ``HOST:PORT``, or ``auto`` for the cluster that this machine belongs to (or RAY_ADDRESS names). None: one on
        this machine, for as long as the study runs.
    cpus, gpus, memory_gb : float
        What a trial has to itself; Ray starts as many trials on a node as that allows. `memory_gb` in units of 1e9
        bytes, 0: whatever there is.
    results : str
        ``shared``: workers write into the study's directory, which every node sees. ``driver``: they send what they
        would write to the driver.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 0.0
    results: Results = "shared"

    def __post_init__(self) -> None:
        for name, least in (("cpus", 0.01), ("gpus", 0.0), ("memory_gb", 0.0)):
            value = getattr(self, name)
            if not least <= value < float("inf"):
                option = name.replace("_", "-")
                raise InputError(f"--{option} must be a number of at least {least:g}, got {value:g}.")
        if self.gpus > 1 and self.gpus % 1:
            raise InputError(f"--gpus must be whole, or a share of one GPU below 1, got {self.gpus:g}.")
        if self.results not in RESULTS:
            raise unknown("way of results", self.results, RESULTS, where="--results")

    @property
    def asked(self) -> dict[str, Any]:
        """What a trial has to itself, as Ray's options."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": int(self.memory_gb * 1e9) or None}

    def connect(self) -> Callable[[], None]:
        """Connect this process to the cluster; without an address, start one that ends with this process.

        Where this process is connected already it stays so. Returns what leaves it as it was.

        Raises
        ------
        InputError
            Ray is not installed, no cluster is at the address, or none of its nodes has what a trial asks for.
        """
        # Before Ray is imported. It counts its users unless told not to, and hides GPUs from who asks for none.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise InputError(
                "--engine ray needs the package ray, which is not installed; pip install 'petl_study[ray]'."
            ) from None
        leave: Callable[[], None] = ray.shutdown
        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if ray.is_initialized():
            leave = _stay
        elif self.address is None:
            try:
                ray.init(address="local", include_dashboard=False, object_store_memory=STORE, **quiet)
            except Exception as error:  # Ray has no class of its own for it
                raise InputError(f"Ray does not start on this machine: {str(error).splitlines()[0]}") from None
        else:
            try:
                if self.address != "auto":
                    _require_answer(self.address)
                ray.init(address=self.address, **quiet)
            except (OSError, RuntimeError, ValueError, SystemExit) as error:
                raise self._unreachable(str(error).splitlines()[0]) from None
        if not self.slots():
            refusal = self.too_small()
            leave()
            raise refusal
        return leave

    def slots(self) -> int:
        """Trials that all nodes together have room for, were there nothing else on them."""
        return sum(map(self._slots_of, _nodes()))

    def too_small(self) -> InputError:
        """What to say where no node has what a trial asks for."""
        nodes = "; ".join(f"{node['NodeManagerAddress']} has {_told(node['Resources'])}" for node in _nodes())
        asked = _told({"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gb * 1e9})
        return InputError(
            f"a trial asks for {asked}, which no node of the Ray cluster has: {nodes or 'there is none'}. Ask for less"
            " with --cpus, --gpus and --memory-gb, or start a node that has it."
        )

    def _slots_of(self, node: dict[str, Any]) -> int:
        has = node["Resources"]
        rooms = [_whole(has.get("CPU", 0), self.cpus)]
        if self.gpus:  # a share is of one GPU, not of two halves
            on_one = _whole(1, self.gpus) if self.gpus < 1 else 1
            rooms.append(_whole(has.get("GPU", 0), max(self.gpus, 1)) * on_one)
        if self.memory_gb:
            rooms.append(_whole(has.get("memory", 0), self.memory_gb * 1e9))
        return min(rooms)

    def _unreachable(self, reason: str) -> InputError:
        return InputError(
            f"no Ray cluster at --address {self.address}: {reason.rstrip('.')}. Start one with `ray start --head`; to"
            " one that asks for a token, connect with RAY_AUTH_MODE=token and its ~/.ray/auth_token; or leave --address"
            " out for one on this machine."
        )


def _stay() -> None:
    """Leave a connection as it is."""


def _require_answer(address: str) -> None:
    """Raise OSError or ValueError unless something listens at ``HOST:PORT``: Ray tries for minutes, and then exits."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        raise ValueError("an address is HOST:PORT, or auto")
    socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _whole(there: float, asked: float) -> int:
    """How often `asked` goes into `there`; Ray counts in steps of 0.0001."""
    return int(round(there * 10_000) // max(round(asked * 10_000), 1))


def _told(resources: dict[str, float]) -> str:
    cpus, gpus, memory = (resources.get(name, 0) for name in ("CPU", "GPU", "memory"))
    parts = [f"{cpus:g} CPUs", f"{gpus:g} GPUs", *([f"{memory / 1e9:.1f} GB"] if memory else [])]
    return ", ".join(parts)
