"""What a measurement was made on: enough to tell whether two can be compared, and nothing that names the computer."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

# What of the environment changes how fast torch computes; values are numbers or words, never paths.
_TELLING = ("OMP_", "MKL_", "KMP_", "GOMP_", "DNNL_", "ONEDNN_", "MALLOC_", "GLIBC_TUNABLES")


def computer() -> dict[str, Any]:
    """Processor, cores that this process may use, and memory (bytes); nothing is imported for it."""
    return {
        "hardware": platform.machine(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "allocator": [Path(name).name for name in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()],
        "set": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_TELLING) and os.sep not in value
        },
    }


def processor() -> str:
    """The processor's name, as its maker gives it where the system tells."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def describe(device: str = "cpu") -> dict[str, Any]:
    """`computer`, and what torch computes with on `device`: threads, libraries, versions, the GPU where it is one."""
    import torch

    on_gpu = device.startswith("cuda")
    versions = {name: version(name) for name in ("petl_study", "torch", "timm", "numpy")}
    return {
        **computer(),
        "hardware": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "device": device,
        "threads": torch.get_num_threads(),
        "fp32_products": torch.get_float32_matmul_precision(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "libraries": _libraries(torch.__config__.show()),
        **({"gpu": _gpu(device)} if on_gpu else {}),
        "versions": {"python": platform.python_version(), **versions},
    }


def _libraries(configuration: str) -> list[str]:
    """What multiplies matrices, from torch's account of how it was built: MKL, oneDNN, OpenMP with their versions."""
    lines = [line.strip(" -") for line in configuration.splitlines()]
    return [line.partition(" (Git")[0] for line in lines if line.startswith(("Intel(R)", "OpenMP", "OpenBLAS"))]


def _gpu(device: str) -> dict[str, Any]:
    import torch

    known = torch.cuda.get_device_properties(device)
    found: dict[str, Any] = {"name": known.name, "memory_bytes": known.total_memory, "cuda": torch.version.cuda}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.CalledProcessError, IndexError):
        told = subprocess.run(query, capture_output=True, text=True, check=True)
        found["driver"] = told.stdout.split()[0]
    return found
