"""What of a final run is stored beside its record: everything, unless a study says otherwise."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from petl_study.errors import unknown
from petl_study.tasks.corruptions import CORRUPTION_SETS, PREFIX, is_corruption, sets_called


class Keep(BaseModel):
    """Logits' precision, which shift sets are looked at, and whose tuned tensors stay.

    Accuracies are those of the logits as they are stored, so that whoever reads them counts the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    logits: Literal["float32", "float16"] = "float32"
    shifts: list[str] | None = None  # sets (`noise:3`, `corrupt:fog:3`) or what they begin with; None: all of a task's
    tensors: bool | list[str] = True  # of all methods, of none, or of those named

    def shifts_of(self, sets: tuple[str, ...]) -> list[str]:
        """Those of a task's shift sets that are looked at, and the corruptions asked for: no task has them unasked."""
        if self.shifts is None:
            return list(sets)
        wanted = self.shifts
        corrupted = {s for name in wanted if is_corruption(name) for s in sets_called(name)}
        shifted = [s for s in sets if not _kinds(s).isdisjoint(wanted)]
        return [*shifted, *(s for s in CORRUPTION_SETS if s in corrupted)]

    def tensors_of(self, method: str) -> bool:
        """Whether the tuned tensors of `method` are stored."""
        return self.tensors if isinstance(self.tensors, bool) else method in self.tensors

    def rounded(self, logits: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """`logits` in the precision in which they are stored: where one is too large for float16, as they are."""
        with np.errstate(over="ignore"):
            kept = logits.astype(self.logits)
        return kept if np.isfinite(kept).all() or not np.isfinite(logits).all() else logits

    def require_known(self, shifts: set[str], methods: set[str]) -> None:
        """Raise InputError unless every shift named is one of the study's tasks', every method one of the study's."""
        known = {kind for s in shifts for kind in _kinds(s)} | {PREFIX}
        for shift in self.shifts or ():
            if is_corruption(shift):
                sets_called(shift)
            elif shift not in known:
                raise unknown("shift set", shift, known, where="keep.shifts")
        for method in self.tensors if isinstance(self.tensors, list) else ():
            if method not in methods:
                raise unknown("method", method, methods, where="keep.tensors")


def _kinds(name: str) -> set[str]:
    """What a set may be asked for by: of ``c:fog:3`` that, ``c:fog`` and ``c``."""
    parts = name.split(":")
    return {":".join(parts[:n]) for n in range(1, len(parts) + 1)}
