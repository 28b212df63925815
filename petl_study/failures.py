"""Why a trial failed, as its record says it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch

from petl_study.training import Diverged

DIVERGED, OUT_OF_MEMORY = "Diverged", "OutOfMemory"

_PACKAGES = (Path(__file__).parent.parent, Path(torch.__file__).parent.parent)  # what frames' files are named from
_NO_MEMORY = ("can't allocate memory", "CUDA out of memory")  # what torch says where it has no exception of its own


def reason(error: BaseException, peak_memory_bytes: int) -> dict[str, Any]:
    """The `error` of a failed record: `kind`, `message`, and of what is no training's own fault `where` it arose.

    `peak_memory_bytes` is what the trial held at the most until then.
    """
    if isinstance(error, Diverged):
        return {"kind": DIVERGED, "message": str(error)}
    message = str(error).strip() or "no message"
    if is_out_of_memory(error):
        told = f"memory ran out: {message.splitlines()[0]}; {peak_memory_bytes / 1e9:.2f} GB were held at the most"
        return {"kind": OUT_OF_MEMORY, "message": told, "where": _frames(error)}
    return {"kind": type(error).__name__, "message": message, "where": _frames(error)}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the machine's memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _NO_MEMORY)


def may_pass(reason: dict[str, Any]) -> bool:
    """Whether the same trial may go well at another time: all but a training that diverged, which has the same bits."""
    return bool(reason["kind"] != DIVERGED)


def _frames(error: BaseException) -> list[str]:
    """The calls that led to `error`, the outermost first; files as packages name them, wherever they are installed."""
    return [f"{_named(Path(f.filename))}:{f.lineno} in {f.name}" for f in traceback.extract_tb(error.__traceback__)]


def _named(file: Path) -> str:
    for root in _PACKAGES:
        if file.is_relative_to(root):
            return file.relative_to(root).as_posix()
    return file.name
