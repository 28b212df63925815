"""What a study plans, read off its file as it was resolved: imports nothing heavy, and needs nothing to be here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petl_study import halving

Space = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Plan:
    """Counts of a study, for whoever reads it; `study` is what its `study.json` says."""

    study: Mapping[str, Any]

    @property
    def tasks(self) -> list[str]:
        return [task if isinstance(task, str) else task["name"] for task in self.study["tasks"]]

    @property
    def methods(self) -> list[str]:
        return [method["name"] for method in self.study["methods"]]

    @property
    def runs(self) -> int:
        """Final runs of a method on a task: one for every seed."""
        return len(self.study["seeds"])

    @property
    def zero_shot_tasks(self) -> list[str]:
        """The tasks that the untouched backbone is asked about."""
        return asked(self.study.get("zero_shot", False), self.tasks)

    def trials(self, method: str) -> int:
        """Search trials of `method` on one task."""
        [space] = [one["space"] for one in self.study["methods"] if one["name"] == method]
        return trials(space, self.study["search"])

    def legs(self, method: str) -> list[int]:
        """Epochs of every training in the search of `method` on one task: from the start, or from a rung to the next.

        Of a search that stops trials early these are the most there can be: where some fail, fewer are gone on with.
        """
        search, epochs = self.study["search"], self.study["protocol"]["epochs"]
        points, pruner = self.trials(method), search.get("pruner")
        if not pruner:
            return [epochs] * points
        at = halving.rungs(epochs, pruner["factor"], pruner["first"])
        begin = halving.brackets(points, len(at), pruner, search["seed"])
        return [leg for legs in halving.legs(begin, at, epochs, pruner["factor"]) for leg in legs]


def trials(space: Space, search: Mapping[str, Any]) -> int:
    """How many points of a method's `space`, learning rate and weight decay included, `search` tries on one task."""
    points = math.prod(map(len, [*space.values(), search["lr"], search["weight_decay"]]))
    if search["trials"] is None:
        return points
    return min(points, search["trials"]) if search["sampler"] == "grid" else search["trials"]


def asked(zero_shot: bool | Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Those of `tasks` that `zero_shot` of a study file is about: all, none, or those named."""
    if isinstance(zero_shot, bool):
        return list(tasks) if zero_shot else []
    return [name for name in tasks if name in zero_shot]
