"""Examples held out of a list that has no validation of its own."""

from __future__ import annotations

import numpy as np

from petl_study.tasks._base import Split
from petl_study.tasks._sampling import drawn

HELD_OUT = 5  # one example in so many


def held_out(split: Split, most: int | None = None) -> tuple[Split, Split]:
    """`split` without, and with only, one in `HELD_OUT` examples of every class (at least one, and at most `most`).

    Which they are depends on their ids alone, so it is the same everywhere.
    """
    out = np.zeros(len(split), dtype=bool)
    for label in np.unique(split.labels):
        of_class = drawn(split, label, "held out")
        wanted = max(1, len(of_class) // HELD_OUT)
        out[of_class[: wanted if most is None else min(wanted, most)]] = True
    return split.take(np.flatnonzero(~out)), split.take(np.flatnonzero(out))
