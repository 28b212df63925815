"""Errors under corruption, as ImageNet-C counts them (Hendrycks and Dietterich, arXiv 1903.12261).

    CE_c  = sum_s E(s, c) / sum_s E'(s, c)                              E the method's error, E' the normaliser's
    rCE_c = sum_s (E(s, c) - E(clean)) / sum_s (E'(s, c) - E'(clean))   over the severities s of corruption c

and mCE, relative mCE are their means over corruptions. The normaliser makes corruptions count the same however hard
they are; ImageNet-C's is AlexNet. Here it is a method of the table, given by name: below 1 is fewer errors than it
makes.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.comparable import require_columns
from analysis.intervals import require_level
from analysis.one_seed import mean_of_all, over_seeds_or_examples, with_ends
from analysis.shift import one_of_each
from petl_study.errors import InputError, unknown

_UNBOUNDED = (float("-inf"), float("inf"))
_RUN, _SET = ["method", "seed"], ["kind", "severity"]


def corruption_errors(accuracies: pd.DataFrame, *, normaliser: str, level: float = 0.95) -> pd.DataFrame:
    """CE and relative CE of every method, corruption by corruption.

    Parameters
    ----------
    accuracies : DataFrame
        From `load_accuracies`, or by hand: `task`, `method`, `seed`, `set`, `kind`, `severity`, `accuracy`. Sets
        without a severity are no corruptions and left out.
    normaliser : str
        The method whose errors (their mean over its seeds) are what others are counted in, such as ``linear``.

    Returns
    -------
    DataFrame
        A row for each `task`, `method` and `kind`: `severities` (how many), `seeds`, `error` (mean over severities, a
        fraction), `ce`, `low`, `high`, `relative_ce`, `relative_low`, `relative_high`, `normaliser`, `level`,
        `interval`: ``t over seeds``, for one seed ``conservative over examples`` (see `analysis.one_seed`) or ``none``,
        the normaliser taken as it is. `relative_ce` is missing where the normaliser loses nothing under that
        corruption.

    Raises
    ------
    InputError
        No such method; a severity that was not measured for all; or a normaliser without an error on some corruption.
    """
    require_level(level)
    table = []
    for (task, method, kind), some in _ratios(accuracies, normaliser, level).groupby(
        ["task", "method", "kind"], sort=True
    ):
        row: dict[str, Any] = {"task": task, "method": method, "kind": kind, "severities": some["severities"].iloc[0]}
        row |= {"seeds": len(some), "error": some["error"].mean()}
        table.append(row | _both(some, "ce", "relative_ce", normaliser, level))
    return pd.DataFrame(table)


def mean_corruption_error(accuracies: pd.DataFrame, *, normaliser: str, level: float = 0.95) -> pd.DataFrame:
    """mCE and relative mCE of every method: means over corruptions of what `corruption_errors` gives.

    Returns
    -------
    DataFrame
        A row for each `task` and `method`, the fewest errors first: `kinds` (how many corruptions), `seeds`, `mce`,
        `low`, `high`, `relative_mce`, `relative_low`, `relative_high` (missing where it is for one corruption),
        `normaliser`, `level`, `interval`.
    """
    require_level(level)
    ratios = _ratios(accuracies, normaliser, level)
    names = [f"{ratio}{end}" for ratio in ("ce", "relative_ce") for end in ("", "_low", "_high")]
    means = {name.replace("ce", "mce"): (name, mean_of_all) for name in names}
    by_seed = ratios.groupby(["task", "method", "seed"]).agg(**means, kinds=("kind", "size"))
    table = []
    for (task, method), some in by_seed.groupby(level=["task", "method"], sort=True):
        row: dict[str, Any] = {"task": task, "method": method, "kinds": some["kinds"].iloc[0], "seeds": len(some)}
        table.append(row | _both(some, "mce", "relative_mce", normaliser, level))
    return pd.DataFrame(table).sort_values(["task", "mce", "method"], ignore_index=True)


def _ratios(accuracies: pd.DataFrame, normaliser: str, level: float) -> pd.DataFrame:
    """CE and relative CE by `task`, `kind`, `method` and `seed`, with the ends of one seed."""
    require_columns(accuracies, ["kind", "severity"])
    rows = one_of_each(accuracies, ["method", "seed", "set"]).dropna(subset="severity")
    if normaliser not in set(rows["method"]):
        raise unknown("normaliser", normaliser, set(rows["method"]))
    pieces = []
    for task, of_task in with_ends(rows, level).groupby("task", sort=True):
        error = 1 - of_task.pivot_table(index=_RUN, columns=_SET, values="accuracy")
        if set(error.columns.get_level_values("kind")) == {"test"}:
            continue
        _require_whole(str(task), error, normaliser)
        columns: list[Any] = error.columns.to_list()
        clean = error["test", 0]
        their_clean = float(clean.loc[normaliser].mean())
        ends = {
            end: 1 - of_task.pivot_table(index=_RUN, columns=_SET, values=f"accuracy_{other}", dropna=False)
            for end, other in (("low", "high"), ("high", "low"))
        }
        for kind in sorted(set(error.columns.get_level_values("kind")) - {"test"}):
            of_kind = error[[column for column in columns if column[0] == kind]]  # (runs, severities)
            severities = of_kind.shape[1]
            theirs = float(of_kind.loc[normaliser].to_numpy().mean(axis=0).sum())
            if theirs == 0:
                raise InputError(
                    f"task {task!r}: normaliser {normaliser!r} makes no error under {kind!r}, and nothing can be"
                    " counted in errors that are not made. Choose another normaliser."
                )
            they_lose = theirs - severities * their_clean
            loses = of_kind.sum(axis=1) - severities * clean
            they_lose = they_lose if they_lose > 1e-12 else float("nan")
            measured = {"ce": of_kind.sum(axis=1) / theirs, "relative_ce": loses / they_lose}
            for end, other in (("low", "high"), ("high", "low")):
                sums = ends[end][of_kind.columns].sum(axis=1, skipna=False)
                measured[f"ce_{end}"] = sums / theirs
                measured[f"relative_ce_{end}"] = (sums - severities * ends[other]["test", 0]) / they_lose
            measured["error"] = of_kind.mean(axis=1)
            where = {"task": task, "kind": kind, "severities": severities}
            pieces.append(pd.DataFrame(measured).reset_index().assign(**where))
    if not pieces:
        raise InputError("no task here has corruptions: sets of a kind and a severity, such as 'noise:2'.")
    return pd.concat(pieces, ignore_index=True)


def _require_whole(task: str, error: pd.DataFrame, normaliser: str) -> None:
    """Refuse errors of which some are missing: a sum over fewer severities is smaller."""
    if ("test", 0) not in error.columns:
        raise InputError(f"task {task!r} has no accuracies on 'test', which relative errors are counted from")
    if normaliser not in error.index.get_level_values("method"):
        raise InputError(f"task {task!r} has no run of the normaliser {normaliser!r}; run it there, or choose another")
    holes = error.isna().any(axis=1)
    if holes.any():
        method, seed = error.index[holes][0]
        lacking = ", ".join(f"{kind}:{severity}" for kind, severity in error.columns[error.loc[(method, seed)].isna()])
        raise InputError(
            f"task {task!r}: {holes.sum()} of {len(error)} runs lack corruptions that others have, such as {method!r},"
            f" seed {seed}: {lacking}. Run it on those, or leave the method or the corruption out."
        )


def _both(some: pd.DataFrame, name: str, relative: str, normaliser: str, level: float) -> dict[str, Any]:
    plain = over_seeds_or_examples(some, {name: ""}, level=level, bounds=(0.0, float("inf")))
    kind = {"normaliser": normaliser, "level": plain.pop("level"), "interval": plain.pop("interval")}
    return plain | over_seeds_or_examples(some, {relative: "relative_"}, level=level, bounds=_UNBOUNDED) | kind
