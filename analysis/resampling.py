"""What a table would have been with other seeds, or with other tasks of the same kind: a stratified bootstrap.

Two sources of chance, and either or both are redrawn with replacement: the *seeds* within every cell (a stratum is one
method on one task, so no draw mixes tasks), and the *tasks*, the same ones for every method, so that methods stay
paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.cells import Cells
from analysis.comparable import listed
from analysis.intervals import Interval, nan_interval, require_draws
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
        raise InputError(
            f"over={over!r} needs two seeds or more in every cell, but there is one for {listed(single)}."
            " Run more seeds, or ask for over='tasks'."
        )
    return over


def redrawn(n: int, *, rng: np.random.Generator, draws: int) -> NDArray[np.int64]:
    """Which of n things are drawn when n are drawn with replacement, `draws` times: (draws, n)."""
    require_draws(draws)
    return rng.integers(n, size=(draws, n))


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
    if over == "tasks":  # what a task gives does not change, only how often the task is drawn
        T = len(cells.tasks)
        given = per_task(cells.accuracy)  # (T, K)
        return np.stack([np.bincount(picks, minlength=T) @ given / T for picks in redrawn(T, rng=rng, draws=draws)])
    blocks = samples(cells, rng=rng, draws=draws, over=over)
    return np.concatenate([per_task(values).mean(axis=1) for values in blocks])


def interval_columns(drawn: NDArray[np.float64], level: float, cells: Cells, over: str) -> dict[str, Any]:
    """The percentile interval over the first axis of `drawn` as columns: `low`, `high`, `level`, `interval`.

    Other tasks cannot be imagined from one: then the ends are NaN and the interval is ``none``.
    """
    if len(cells.tasks) == 1 and "tasks" in over:
        return {"low": np.nan, "high": np.nan, "level": level, "interval": "none"}
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {"low": low, "high": high, "level": level, "interval": f"bootstrap over {over}"}


def mean_over_tasks(values: ArrayLike, *, rng: np.random.Generator, level: float, draws: int) -> Interval:
    """Percentile interval of the mean of a value a task, (T,), over the tasks; none for one task."""
    values = np.asarray(values, dtype=np.float64)
    drawn = values[redrawn(len(values), rng=rng, draws=draws)].mean(axis=1)
    return Interval(*nan_interval(drawn, level), "bootstrap over tasks") if len(values) > 1 else Interval()
