"""How many salient channels two tasks have in common, beside random choice and beside one task under two seeds.

Of the d channels of a block let one task choose K and the other L. If both chose at random, the number X in common
would be hypergeometric, P(X = x) = C(K, x) C(d - K, L - x) / C(d, L), of mean K L / d; over all blocks it is the sum of
such numbers, the blocks independent. That is the null of no relation at all, and easily refuted: a channel that is
large on the images of one task tends to be large on those of any, and in one block as in the next. How much is in
common says more than that something is.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.agreement import shared_counts
from analysis.comparable import require_columns, require_comparable, require_distinct
from analysis.holm import holm
from analysis.intervals import require_level
from analysis.pairs import pair_columns, pairs
from analysis.rows import MADE_UNDER
from petl_study.errors import InputError

MEASURES = ("share", "jaccard")
CHANCE = [f"{measure}_{end}" for measure in MEASURES for end in ("chance", "low", "high")]

_RUN = ["task", "method", "seed"]
_Choice = tuple[int, int, int]  # d, K, L


def channel_overlap(channels: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """What every two runs chose in common, block by block and over all blocks.

    Two runs on one task under different seeds are a pair like any other. They look at the same images in another order,
    so only rounding can part them.

    Parameters
    ----------
    channels : DataFrame
        From `load_channels`; or by hand, a row a chosen channel: `task`, `method`, `seed`, `site`, `layer`, `channel`,
        `width`.
    level : float
        What the intervals of chance cover.

    Returns
    -------
    DataFrame
        A row for each site, block and pair of runs, and one without a `layer`, of all blocks, for each site and pair:
        `site`, `layer`, `run_a` < `run_b` (runs by task and seed), `task_a`, `task_b`, `method_a`, `method_b`,
        `seed_a`, `seed_b`; `width`: d; `chosen_a`, `chosen_b`: K and L; `shared`: x; `share`: x / min(K, L); `jaccard`:
        x / (K + L - x); of both measures what random choice gives, `..._chance` on average and from `..._low` to
        `..._high`; `level`; `p_value`: how probably random choice has as many or more in common.

    Raises
    ------
    InputError
        One run only; runs that chose at different places; a channel that is chosen twice, or is beyond the width;
        widths that differ; two runs of one task and seed, or runs of different protocols, backbones or data.
    """
    require_level(level)
    require_columns(channels, [*_RUN, "site", "layer", "channel", "width"])
    known = [name for name in (*_RUN, "group", *MADE_UNDER) if name in channels]
    runs = channels[known].drop_duplicates().sort_values(_RUN, kind="stable", ignore_index=True)
    require_comparable(runs)
    require_distinct(runs)
    a, b = pairs(len(runs))
    pair = pair_columns(runs).assign(task_a=runs["task"].array[a], task_b=runs["task"].array[b])
    numbered = channels.merge(runs[_RUN].assign(run=range(len(runs))), on=_RUN)
    tables = []
    for site, of_site in numbered.groupby("site", sort=False):
        blocks = [_Block.of(some, f"{site}, block {n}", runs) for n, some in of_site.groupby("layer", sort=True)]
        tables += [pair.assign(site=site, layer=one.layer, **_overlap([one], a, b, level)) for one in blocks]
        tables.append(pair.assign(site=site, **_overlap(blocks, a, b, level)))
    table = pd.concat(tables, ignore_index=True).astype({"layer": "Int64"})
    first = ["site", "layer", "run_a", "run_b", "task_a", "task_b"]
    return table[[*first, *(name for name in table if name not in first)]]


def channel_overlap_by_task(table: pd.DataFrame) -> pd.DataFrame:
    """The mean over the runs of every two tasks.

    Parameters
    ----------
    table : DataFrame
        From `channel_overlap`.

    Returns
    -------
    DataFrame
        `site`, `layer`, `task_a`, `task_b`, `shared`, `share`, `jaccard`, the columns of chance, `level`, `pairs` (how
        many), `p_value`: the largest of the pairs', since the seeds of a task are no new evidence; `p_holm`: after
        Holm's correction for the pairs of different tasks in this block (or of all blocks). Both orders of two tasks
        are there; a task with itself is the mean over its seeds, and missing where it has one.
    """
    keys = ["site", "layer", "task_a", "task_b"]
    require_columns(table, [*keys, "shared", *MEASURES, *CHANCE, "level", "p_value"])
    grouped = table.groupby(keys, sort=False, dropna=False)
    means = {name: (name, "mean") for name in ("shared", *MEASURES, *CHANCE, "level")}
    tasks = grouped.agg(**means, pairs=("shared", "size"), p_value=("p_value", "max")).reset_index()
    of_two = tasks["task_a"] != tasks["task_b"]
    by_block = tasks[of_two].groupby(["site", "layer"], dropna=False)["p_value"]
    tasks["p_holm"] = by_block.transform(lambda p: holm(p.to_numpy()))
    mirrored = tasks[of_two].rename(columns={"task_a": "task_b", "task_b": "task_a"})
    return pd.concat([tasks, mirrored], ignore_index=True)


class _Block(NamedTuple):
    """What all R runs chose in one block."""

    layer: int
    width: int
    sizes: NDArray[np.int64]  # (R,)
    shared: NDArray[np.int64]  # (R, R)

    @classmethod
    def of(cls, rows: pd.DataFrame, place: str, runs: pd.DataFrame) -> _Block:
        widths = sorted(set(rows["width"]))
        if len(widths) > 1:
            raise InputError(
                f"{place}: runs choose from {' and '.join(map(str, widths))} channels; compare like with like"
            )
        [width] = widths
        if (outside := rows[(rows["channel"] < 0) | (rows["channel"] >= width)]).size:
            raise InputError(
                f"{place}: there is no channel {outside['channel'].iloc[0]} among {width}, 0 to {width - 1}"
            )
        if (twice := rows[rows.duplicated(["run", "channel"])]).size:
            task, channel = twice[["task", "channel"]].iloc[0]
            raise InputError(f"{place}: a run on {task!r} chose channel {channel} twice; keep one of the two rows")
        if without := sorted(set(range(len(runs))) - set(rows["run"])):
            task, seed = runs.loc[without[0], ["task", "seed"]]
            raise InputError(
                f"{place}: the run on {task!r} with seed {seed} chose nothing there, others did. Compare runs that"
                " chose at the same places, such as channels[channels.site == 'attn']."
            )
        chosen = np.zeros((len(runs), width), bool)
        chosen[rows["run"], rows["channel"]] = True
        return cls(int(rows["layer"].iloc[0]), int(width), chosen.sum(axis=1), shared_counts(chosen))


def _overlap(blocks: list[_Block], a: NDArray[np.intp], b: NDArray[np.intp], level: float) -> dict[str, Any]:
    """The columns of P pairs of runs over `blocks` together."""
    chosen_a, chosen_b = (np.sum([block.sizes[side] for block in blocks], axis=0) for side in (a, b))
    shared = np.sum([block.shared[a, b] for block in blocks], axis=0)  # (P,)
    smaller = [np.minimum(block.sizes[a], block.sizes[b]) for block in blocks]
    larger = [np.maximum(block.sizes[a], block.sizes[b]) for block in blocks]
    widths = [block.width for block in blocks]
    chance = [
        _chance(tuple(zip(widths, of_a, of_b, strict=True)), level)
        for of_a, of_b in zip(np.transpose(smaller).tolist(), np.transpose(larger).tolist(), strict=True)
    ]
    return {
        "width": sum(widths),
        "chosen_a": chosen_a,
        "chosen_b": chosen_b,
        "shared": shared,
        "share": shared / np.sum(smaller, axis=0),
        "jaccard": shared / (chosen_a + chosen_b - shared),
        **{name: [one.columns[name] for one in chance] for name in CHANCE},
        "level": level,
        "p_value": [one.at_least[x] for one, x in zip(chance, shared, strict=True)],
    }


class _Chance(NamedTuple):
    """Random choice: its columns of the table, and the probability of at least x in common, x = 0, 1, ..."""

    columns: dict[str, float]
    at_least: NDArray[np.float64]


@cache
def _chance(choices: tuple[_Choice, ...], level: float) -> _Chance:
    """Of the d, K and L of every block."""
    p = np.ones(1)  # of x = 0, 1, ... in common
    for d, K, L in choices:
        p = np.convolve(p, stats.hypergeom.pmf(np.arange(min(K, L) + 1), d, K, L))
    x = np.arange(len(p))
    both = sum(K + L for _, K, L in choices)
    low, high = np.searchsorted(p.cumsum(), [(1 - level) / 2, (1 + level) / 2])
    columns: dict[str, float] = {}
    for measure, of_x in {"share": x / x[-1], "jaccard": x / (both - x)}.items():
        ends = {"chance": p @ of_x, "low": of_x[low], "high": of_x[high]}
        columns |= {f"{measure}_{end}": float(value) for end, value in ends.items()}
    return _Chance(columns, np.minimum(p[::-1].cumsum()[::-1], 1.0))
