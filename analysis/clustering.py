"""Which methods are alike: agglomerative clustering of methods by how they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.agreement import MEASURES, require_measure
from analysis.comparable import require_columns
from analysis.palette import ordered
from petl_study.errors import InputError


@dataclass(frozen=True, eq=False)
class Clustering:
    """Methods, and in which order they join.

    Attributes
    ----------
    measure : str
        What they were compared by.
    methods : list of str
        M methods, in the order of the palette.
    linkage : (M - 1, 4)
        SciPy's: a row a merger, the two clusters, their distance, and how many methods are together after it.
    order : list of str
        The methods as a dendrogram has them: those that join early stand side by side.
    """

    measure: str
    methods: list[str]
    linkage: NDArray[np.float64]
    order: list[str]

    @property
    def mergers(self) -> pd.DataFrame:
        """A row a merger: `step`, `left`, `right` (tuples of methods), `distance` (between them, on average)."""
        clusters: list[tuple[str, ...]] = [(name,) for name in self.methods]
        rows = []
        for step, (left, right, distance, _) in enumerate(self.linkage, start=1):
            one, other = clusters[int(left)], clusters[int(right)]
            clusters.append(one + other)
            rows.append({"step": step, "left": one, "right": other, "distance": float(distance)})
        return pd.DataFrame(rows)


def cluster_methods(table: pd.DataFrame, measure: str = "disagreement") -> Clustering:
    """Average-linkage clustering of methods.

    Parameters
    ----------
    table : DataFrame
        From `disagreement_by_method`; with a column `task`, the mean over the tasks is clustered.
    measure : str
        The distance is the measure where more of it means less alike, and 1 minus the measure otherwise.

    Raises
    ------
    InputError
        Fewer than two methods, or a pair of methods for which the measure is missing or not defined on some task.
    """
    require_measure(measure)
    require_columns(table, ["method_a", "method_b", measure])
    methods = ordered([*table["method_a"], *table["method_b"]])
    if len(methods) < 2:
        raise InputError(f"clustering needs at least two methods; got {', '.join(methods) or 'none'}")
    by_task = table.groupby("task") if "task" in table else [("", table)]
    values = np.mean([_matrix(some, measure, methods, str(task)) for task, some in by_task], axis=0)  # (M, M)
    distances = values if MEASURES[measure] > 0 else 1 - values
    np.fill_diagonal(distances, 0.0)
    condensed = squareform(distances, checks=False)
    linkage = hierarchy.linkage(condensed, method="average", optimal_ordering=True)
    order = [methods[leaf] for leaf in hierarchy.leaves_list(linkage)]
    return Clustering(measure, methods, linkage, order)


def _matrix(table: pd.DataFrame, measure: str, methods: list[str], task: str) -> NDArray[np.float64]:
    """`measure` of every two methods; its diagonal means nothing: (M, M)."""
    cells = table.pivot_table(index="method_a", columns="method_b", values=measure)
    matrix = cells.reindex(index=methods, columns=methods).to_numpy(dtype=np.float64, copy=True)
    np.fill_diagonal(matrix, 0.0)
    if np.isnan(matrix).any():
        a, b = np.argwhere(np.isnan(matrix))[0]
        raise InputError(
            f"{f'task {task!r}: ' if task else ''}{measure} of {methods[a]} and {methods[b]} is missing or not defined,"
            " so their distance is not known. Leave one of them out, or cluster by disagreement."
        )
    return matrix
