"""What is asked of a method, which of a study's tasks that is about, and which methods it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.comparable import require_columns
from analysis.cost import machines
from petl_study.errors import InputError, unknown

COSTS = {  # the unit that a cost is told in, how it is written, and what follows it
    "tuned_parameters": (1.0, ",.0f", "tuned parameters"),
    "bytes": (1e3, ",.1f", "kB stored"),
    "fit_seconds": (1.0, ",.1f", "s of training"),
    "predict_seconds": (1.0, ",.2f", "s of prediction"),
    "peak_memory_bytes": (1e6, ",.0f", "MB of peak memory"),
}
GAPS = {"near": ("natural",), "far": ("specialized", "structured")}  # as the study has it, of VTAB's groups
FEW, MANY = 2_000, 10_000  # at most, and at least
WITHIN = 4  # runs on a quarter to four times as many examples count as evidence of a number


@dataclass(frozen=True)
class Needs:
    """What is asked of a method. By default nothing: then all tasks count, and all methods are candidates.

    Parameters
    ----------
    examples : int or str, optional
        How many labelled examples there are, or ``few`` (up to 2,000) or ``many`` (10,000 or more).
    gap : str, optional
        How far the task is from what the backbone was pre-trained on: ``near`` (the group ``natural``), ``far``
        (``specialized`` and ``structured``), or the name of a group.
    tasks : tuple of str
        The tasks that count, instead of a gap.
    memory_bytes, stored_bytes : float, optional
        At most so much peak memory in training; so much for the tuned tensors and the classifier of one task.
    parameters : int, optional
        At most so many tuned parameters, without the classifier, on any of the tasks.
    robust : bool
        What counts is the accuracy under shift, not that on the test set.
    merge : bool
        The method must fold into the backbone.
    cost : str
        By what those are ordered that the evidence does not tell apart: one of `COSTS`.
    """

    examples: int | str | None = None
    gap: str | None = None
    tasks: tuple[str, ...] = ()
    memory_bytes: float | None = None
    stored_bytes: float | None = None
    parameters: int | None = None
    robust: bool = False
    merge: bool = False
    cost: str = "tuned_parameters"

    def __post_init__(self) -> None:
        if self.cost not in COSTS:
            raise unknown("cost", self.cost, COSTS)
        if self.gap is not None and self.tasks:
            raise InputError(f"give a gap ({self.gap}) or tasks ({', '.join(self.tasks)}), not both.")
        if isinstance(self.examples, str) and self.examples not in ("few", "many"):
            raise InputError(f"examples must be few, many or a whole number such as 1000; got {self.examples!r}")
        if isinstance(self.examples, int) and self.examples < 1:
            raise InputError(f"examples must be at least 1; got {self.examples!r}")
        for name, least in (("memory_bytes", 1), ("stored_bytes", 1), ("parameters", 0)):
            if (limit := getattr(self, name)) is not None and not limit >= least:
                raise InputError(f"{name} must be at least {least}; got {limit!r}")

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The groups of tasks that count; None: all."""
        return None if self.gap is None else GAPS.get(self.gap, (self.gap,))

    def is_of(self, examples: float) -> bool:
        """Whether runs on so many examples are evidence of the number that is asked for."""
        if self.examples is None:
            return True
        if isinstance(self.examples, str):
            return examples <= FEW if self.examples == "few" else examples >= MANY
        return self.examples / WITHIN <= examples <= self.examples * WITHIN


def chosen_tasks(runs: pd.DataFrame, needs: Needs) -> list[str]:
    """The tasks of `runs` that `needs` are about, however many examples they have.

    Raises
    ------
    InputError
        There is none: the message lists the groups or the tasks that there are.
    """
    known = sorted(set(runs["task"]))
    for task in needs.tasks:
        if task not in known:
            raise unknown("task", task, known, where="tasks of this study")
    if needs.tasks:
        return sorted(set(needs.tasks))
    if needs.groups is None:
        return known
    require_columns(runs, ["group"])
    groups = runs.groupby("task")["group"].first()
    if not (found := sorted(groups.index[groups.isin(needs.groups)])):
        there = "; ".join(f"{group}: {', '.join(sorted(some.index))}" for group, some in groups.groupby(groups))
        raise InputError(
            f"this study holds no task of {' or '.join(needs.groups)}, so it says nothing of a gap {needs.gap!r};"
            f" it has {there}. Ask for one of these groups, or run the study on such a task."
        )
    return found


def exclusions(
    runs: pd.DataFrame, tasks: list[str], needs: Needs, merges: Mapping[str, str | None] | None
) -> pd.DataFrame:
    """The methods that do not meet the needs, and why: `method`, `need`, `reason`, a row for each need not met.

    What is not known of a method counts against it: that it fits cannot be shown.

    Raises
    ------
    InputError
        Nobody is left: the message says what leaves out whom. Or memory that was measured on several machines.
    """
    if needs.memory_bytes is not None and len(on := machines(runs).unique()) > 1:
        raise InputError(
            f"peak memory was measured on {len(on)} machines ({'; '.join(sorted(on))}), which count it differently."
            " Take the runs of one."
        )
    found: list[dict[str, str]] = []
    limits: list[tuple[str, str, float | None, float, str]] = [
        ("parameters", "tuned_parameters", needs.parameters, 1.0, "tuned parameters"),
        ("memory", "peak_memory_bytes", needs.memory_bytes, 1e6, "MB of peak memory"),
        ("storage", "bytes", needs.stored_bytes, 1e6, "MB stored"),
    ]
    for method, some in runs.groupby("method", sort=True):
        reasons: dict[str, str] = {}
        if lacking := [task for task in tasks if task not in set(some["task"])]:
            reasons["every task"] = f"no finished run on {', '.join(lacking)}"
        for need, column, limit, unit, words in limits:
            if limit is None:
                continue
            values = pd.to_numeric(some[column]) if column in some else pd.Series([float("nan")])
            if values.isna().any():
                reasons[need] = f"its {words} are not recorded"
            elif values.max() > limit:
                reasons[need] = f"{_short(values.max() / unit)} {words}"
        if needs.merge and (why := _unmergeable(str(method), merges)):
            reasons["merge"] = why
        found += [{"method": str(method), "need": need, "reason": reason} for need, reason in reasons.items()]
    table = pd.DataFrame(found, columns=["method", "need", "reason"])
    if set(table["method"]) >= set(runs["method"]):
        raise InputError(f"no method meets these needs on {', '.join(tasks)}. {_who(table, needs)} Ask for less.")
    return table


def _unmergeable(method: str, merges: Mapping[str, str | None] | None) -> str:
    """Why the method does not fold into the backbone; empty where it does."""
    if merges is None or method not in merges:
        return "whether it can be merged is not known"
    return (merges[method] or "").removesuffix(".")


def _who(table: pd.DataFrame, needs: Needs) -> str:
    """What leaves out whom, need by need."""
    asked: dict[str, Any] = {
        "every task": "a run on every task",
        "parameters": f"at most {needs.parameters:,} tuned parameters" if needs.parameters is not None else "",
        "memory": f"at most {_short((needs.memory_bytes or 0) / 1e6)} MB of peak memory",
        "storage": f"at most {_short((needs.stored_bytes or 0) / 1e6)} MB stored",
        "merge": "merging",
    }
    said = []
    for need, some in table.groupby("need", sort=False):
        named = [f"{row.method} ({row.reason})" for row in some.itertuples()]
        more = f" and {len(named) - 8} more" if len(named) > 8 else ""
        said.append(f"To ask for {asked[str(need)]} leaves out {len(named)}: {', '.join(named[:8])}{more}.")
    return " ".join(said)


def _short(number: float) -> str:
    """A number with as many digits as it takes to tell it from a limit."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.6g}"
