"""Whether torch can compute where it is asked to."""

from __future__ import annotations

from petl_study.errors import InputError


def require_device(name: str) -> None:
    """Raise InputError where torch has no device of that name."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} is not to be had here: {reason}. Use --device cpu.") from None
