"""Who is on the Pareto front of accuracy and cost, and how sure that is.

A method is on the front where no other costs at most as much and is at least as accurate, and better in one of the two.
That is a matter of single numbers, of which chance moves some: the front is found again in every resample of the tasks
(and seeds), the same ones for every method, and how often a method is on it is its probability.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import Cells, cells_of, seed_means
from analysis.comparable import require_columns
from analysis.cost import MEASURED, machines
from analysis.intervals import require_level
from analysis.resampling import bootstrap, drawn_over, interval_columns
from petl_study.errors import InputError

_COLUMNS = [
    *("scope", "method", "cost", "value", "accuracy", "low", "high", "level", "interval"),
    *("on_front", "front_probability", "dominated_by", "tasks"),
]


def dominates(cost: NDArray[np.float64], accuracy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the row is as good as the column in both and better in one: (..., M), (..., M) -> (..., M, M)."""
    cheaper, better = cost[..., :, None] - cost[..., None, :], accuracy[..., :, None] - accuracy[..., None, :]
    found: NDArray[np.bool_] = (cheaper <= 0) & (better >= 0) & ((cheaper < 0) | (better > 0))
    return found


def pareto_front(
    runs: pd.DataFrame,
    cost: str = "tuned_parameters",
    *,
    costs: pd.DataFrame | None = None,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
    over: str | None = None,
) -> pd.DataFrame:
    """The front of mean accuracy over tasks and a cost, in every group and over all tasks.

    Parameters
    ----------
    runs : DataFrame
        As for `mean_ranks`, with every method on every task. Seeds are averaged.
    cost : str
        A column of `runs`, averaged over seeds and tasks, and redrawn together with the accuracies: such as
        ``tuned_parameters``, ``bytes``, ``fit_seconds`` or ``peak_memory_bytes``. Less is better.
    costs : DataFrame, optional
        From `costs`, or by hand: `method`, (`scope`,) and the column `cost`, which is then taken from there and not
        redrawn: such as ``search_seconds``, ``before`` or ``ratio``.
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples, of which the interval covers `level`.
    over : str, optional
        What is redrawn, as for `mean_ranks`.

    Returns
    -------
    DataFrame
        A row for each `scope` and `method`, the cheapest first: `cost` (its name), `value`, `accuracy` with `low`,
        `high`, `level` and `interval`; `on_front`, `front_probability` (the share of resamples; NaN where nothing can
        be redrawn), `dominated_by` (the most accurate of those that cost no more and are no less accurate; empty on the
        front), `tasks`. Methods whose cost is not known have neither, and stand last.

    Raises
    ------
    InputError
        No such cost, or known of no method; one that was measured on several machines; and as `mean_ranks`.
    """
    require_level(level)
    cells = cells_of(runs)
    over = drawn_over(cells, over)
    priced = _priced(runs, cells, cost) if costs is None else None
    parts = []
    for scope, some in cells.scopes().items():
        values = _given(costs, cost, scope, some) if priced is None else priced.only(some.tasks).accuracy
        front = _front(some, values, rng=rng, level=level, draws=draws, over=over)
        front = front.sort_values(["value", "accuracy", "method"], ascending=[True, False, True], ignore_index=True)
        parts.append(front.assign(scope=scope, cost=cost)[_COLUMNS])
    return pd.concat(parts, ignore_index=True)


def _front(
    cells: Cells,
    costs: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    level: float,
    draws: int,
    over: str,
) -> pd.DataFrame:
    """The front of one scope; `costs` is (T, M, S) as the accuracies are, NaN throughout where one is not known."""
    M = len(cells.methods)
    known = ~np.isnan(costs).all(axis=(0, 2))  # (M,)
    # The costs as further methods, so that both are redrawn together.
    both = replace(cells, accuracy=np.concatenate([cells.accuracy, costs[:, known]], axis=1))
    accuracy, price = np.split(both.means.mean(axis=0), [M])
    drawn = bootstrap(both, seed_means, rng=rng, draws=draws, over=over)  # (draws, M + K)
    ends = interval_columns(drawn[:, :M], level, cells, over)
    beaten = dominates(price, accuracy[known])  # (K, K)
    often = (~dominates(drawn[:, M:], drawn[:, :M][:, known]).any(axis=-2)).mean(axis=0)
    names, best = np.array(cells.methods)[known], np.where(beaten, accuracy[known][:, None], -1.0).argmax(axis=0)
    found = {
        "value": price,
        "on_front": ~beaten.any(axis=0),
        "front_probability": np.nan if ends["interval"] == "none" else often,
        "dominated_by": np.where(beaten.any(axis=0), names[best], ""),
    }
    table = pd.DataFrame({"method": cells.methods, "accuracy": accuracy, **ends, "tasks": len(cells.tasks)})
    table = table.merge(pd.DataFrame({"method": names, **found}), on="method", how="left")
    return table.assign(dominated_by=table["dominated_by"].fillna("")).astype({"on_front": "boolean"})


def _priced(runs: pd.DataFrame, cells: Cells, cost: str) -> Cells:
    """The column `cost` in the cells of the accuracies; NaN throughout for a method that lacks it anywhere."""
    require_columns(runs, [cost])
    if cost in MEASURED and len(on := machines(runs).unique()) > 1:
        raise InputError(
            f"{cost} was measured on {len(on)} machines ({'; '.join(sorted(on))}), and is not averaged over them."
            " Take the runs of one, or hand in a ratio: costs=costs(runs), cost='ratio'."
        )
    numbers = runs.assign(**{cost: pd.to_numeric(runs[cost]).astype(float)})
    lacking = set(numbers.loc[numbers[cost].isna(), "method"])
    known = numbers[~numbers["method"].isin(lacking)]
    if known.empty:
        raise InputError(f"{cost} is not known for all runs of any method, so there is no front to draw.")
    found = cells_of(known, cost)
    values = np.full(cells.accuracy.shape, np.nan)
    values[:, [cells.methods.index(name) for name in found.methods], : found.accuracy.shape[-1]] = found.accuracy
    return replace(cells, accuracy=values)


def _given(costs: pd.DataFrame | None, cost: str, scope: str, cells: Cells) -> NDArray[np.float64]:
    """The cost of every method in a scope, as a table has it, in each of its cells."""
    assert costs is not None
    require_columns(costs, ["method", cost])
    some = costs[costs["scope"] == scope] if "scope" in costs else costs
    if (twice := some[some["method"].duplicated()]).size:
        raise InputError(
            f"the costs have two rows of method {twice['method'].iloc[0]!r} in scope {scope!r}, such as of two"
            " machines. Take one: costs[costs.machine == 'NAME']."
        )
    values = some.set_index("method")[cost].astype(float).reindex(cells.methods).to_numpy()
    if np.isnan(values).all():
        raise InputError(f"{cost} is not known for any method in scope {scope!r}, so there is no front to draw.")
    return np.where(np.isnan(cells.accuracy), np.nan, values[:, None])
