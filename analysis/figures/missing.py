"""What a study lacks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.matrix import heat_map
from analysis.palette import ordered


def missing_cells(table: pd.DataFrame) -> Figure:
    """A row a method, a column a task: how many seeds are missing, of the methods and tasks that miss any.

    Parameters
    ----------
    table : DataFrame
        From `analysis.missing_cells`. Where nothing is missing there is nothing to draw.
    """
    canvas.require_rows(table, "task", "method", "seed")
    counts = table.pivot_table(index="method", columns="task", values="seed", aggfunc="size")
    counts = counts.reindex(index=ordered(table["method"]))
    most = float(np.nanmax(counts.to_numpy(dtype=float)))
    return heat_map(counts, label="missing runs (seeds)", least=0, most=most, colours="Oranges", number="{:.0f}")
