"""Tasks by name. A task is one file: its metadata and a function that makes its splits, joined by `register`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial

from petl_study.errors import unknown
from petl_study.tasks._base import Split, Task, TaskInfo
from petl_study.tasks.shifts import shift

MakeSplits = Callable[[], tuple[Split, Split, Split]]  # train, val, test

_TASKS: dict[str, tuple[TaskInfo, MakeSplits]] = {}


def register(info: TaskInfo) -> Callable[[MakeSplits], MakeSplits]:
    """Decorates the function that makes the splits of the task `info` describes."""

    def add(make: MakeSplits) -> MakeSplits:
        if info.name in _TASKS:
            raise ValueError(f"two tasks are called {info.name!r}: rename one of them")
        _TASKS[info.name] = (info, make)
        return make

    return add


def list_tasks() -> list[str]:
    """Every task's name, in alphabetical order."""
    return sorted(_TASKS)


def info(name: str) -> TaskInfo:
    """What is known of a task without making its images.

    Raises
    ------
    InputError
        No task has this name; the message lists those there are.
    """
    return _entry(name)[0]


def load(name: str) -> Task:
    """The task with its images in memory. The last two are kept, so treat their arrays as read-only.

    Raises
    ------
    InputError
        No task has this name; the message lists those there are.
    """
    _entry(name)
    return _load(name)


def _entry(name: str) -> tuple[TaskInfo, MakeSplits]:
    if name not in _TASKS:
        raise unknown("task", name, _TASKS)
    return _TASKS[name]


@cache
def fingerprint(name: str) -> str:
    """The task's fingerprint, kept when its images no longer are."""
    return load(name).fingerprint


@lru_cache(maxsize=2)  # a worker stays with a task; keeping all of them, shift sets included, would cost 200 MB
def _load(name: str) -> Task:
    info, make = _TASKS[name]
    train, val, test = make()
    shifts = {shift_set: partial(shift, shift_set) for shift_set in info.shift_sets}
    return Task(info.name, info.group, info.classes, info.summary, train, val, test, shifts)
