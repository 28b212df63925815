"""Holm's correction for many tests (Scandinavian Journal of Statistics 6, 1979).

With p_1 <= ... <= p_n, the corrected p_i is the largest of min(1, (n - j + 1) p_j) over j <= i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """The corrected p values, in the order of `p_values`: the chance that *any* of them is this small by luck."""
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected
