"""What a trial is computed with and on: versions, hardware, and the memory that it takes there."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from petl_study import memory, places
from petl_study.places import Places


@cache
def versions() -> dict[str, str]:
    """Of what computes a result, by name."""
    names = ("petl_study", "torch", "torchvision", "timm", "numpy", "pillow", "optuna")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def described(device: str) -> dict[str, Any]:
    """What a record says of this process and `device`."""
    # A failure may be told by a driver that has no GPU.
    on_gpu = device.startswith("cuda") and torch.cuda.is_available()
    kind = torch.cuda.get_device_name(device) if on_gpu else platform.machine()
    # Which of several GPUs it was makes no difference: a trial that was stopped on one goes on on another.
    return {
        "versions": versions(),
        "device": torch.device(device).type,
        "hardware": kind,
        "threads": torch.get_num_threads(),
    }


def settle(where: Places, threads: int) -> None:
    """Make this process ready for trials of `threads` threads, whose data lie `where`."""
    places.use(where)
    memory.keep_freed(not where.lean)
    torch.set_num_threads(threads)


def restart_peak_memory(device: str) -> None:
    """Count anew from here."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        memory.restart_peak()


def peak_memory(device: str) -> int:
    """Bytes: allocated on the GPU, or resident in this process on a CPU, at the most since `restart_peak_memory`."""
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else memory.peak()
