"""What a table would have been with other seeds, or with other tasks of the same kind: a stratified bootstrap.

Two sources of chance, and either or both are redrawn with replacement: the *seeds* within every cell (a stratum is one
method on one task, so no draw mixes tasks), and the *tasks*, the same ones for every method, so that methods stay
paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.cells import Cells
from analysis.intervals import require_draws
from petl_study.errors import InputError, unknown

OVER = ("tasks", "seeds", "tasks and seeds")
PerTask = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (..., M, S) -> (..., K)

_BLOCK = 2**21  # numbers at a time: a bootstrap of thirty methods stays within some tens of MB


def drawn_over(cells: Cells, over: str | None) -> str:
    """What is redrawn: `over`, or, where that is None, the seeds as well as the tasks if every cell has two or more.

    Raises
    ------
    InputError
        Seeds are to be redrawn, but some cells have one: it would look as if training again changed nothing there.
    """
    if over is None:
        return "tasks and seeds" if cells.seeds.min() >= 2 else "tasks"
    if over not in OVER:
        raise unknown("source of chance", over, OVER)
    if "seeds" in over and cells.seeds.min() < 2:
        single = [f"{cells.methods[m]!r} on {cells.tasks[t]}" for t, m in np.argwhere(cells.seeds < 2)]
        shown = "; ".join(single[:12]) + (f" and {len(single) - 12} more" if len(single) > 12 else "")
        raise InputError(
            f"over={over!r} needs two seeds or more in every cell, but there is one for {shown}."
            " Run more seeds, or ask for over='tasks'."
        )
    return over


def samples(cells: Cells, *, rng: np.random.Generator, draws: int, over: str) -> Iterator[NDArray[np.float64]]:
    """`draws` resamples of the accuracies, in blocks of (D, T, M, S); a cell keeps its number of seeds."""
    require_draws(draws)
    T, M, S = cells.accuracy.shape
    step = max(1, _BLOCK // (T * M * max(M, S)))
    for start in range(0, draws, step):
        D = min(step, draws - start)
        picks = rng.integers(T, size=(D, T)) if "tasks" in over else np.broadcast_to(np.arange(T), (D, T))
        values = cells.accuracy[picks]
        if "seeds" in over:
            seeds = (rng.random(values.shape) * cells.seeds[picks][..., None]).astype(np.intp)
            values = np.where(np.isnan(values), np.nan, np.take_along_axis(values, seeds, axis=-1))
        yield values


def bootstrap(
    cells: Cells, per_task: PerTask, *, rng: np.random.Generator, draws: int, over: str
) -> NDArray[np.float64]:
    """`draws` resamples of the mean over tasks of what `per_task` makes of each task's accuracies: (draws, K)."""
    require_draws(draws)
    if over == "tasks":  # what a task gives does not change, only how often the task is drawn
        T = len(cells.tasks)
        given = per_task(cells.accuracy)  # (T, K)
        return np.stack([np.bincount(picks, minlength=T) @ given / T for picks in rng.integers(T, size=(draws, T))])
    blocks = samples(cells, rng=rng, draws=draws, over=over)
    return np.concatenate([per_task(values).mean(axis=1) for values in blocks])


def percentile_interval(
    drawn: NDArray[np.float64], level: float, cells: Cells, over: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Low and high ends over the first axis of `drawn`, and what to call the interval.

    Other tasks cannot be imagined from one: then the ends are NaN and the interval is ``none``.
    """
    if len(cells.tasks) == 1 and "tasks" in over:
        nothing = np.full(drawn.shape[1:], np.nan)
        return nothing, nothing, "none"
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high, f"bootstrap over {over}"
