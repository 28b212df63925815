"""Tasks by name: those that ship with the package, one file each, and those made of data that a loader knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import numpy as np

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.tasks._base import Split, Task, TaskInfo
from petl_study.tasks._sampling import sampled
from petl_study.tasks._source import Source, source_of
from petl_study.tasks.shifts import shift

Shift = Split | Callable[[Split], Split]
MakeSplits = Callable[[], tuple[Split, Split, Split]]  # train, val, test

_TASKS: dict[str, tuple[TaskInfo, MakeSplits]] = {}


@dataclass(frozen=True)
class Loader:
    """What makes tasks of data that lie outside the package.

    Attributes
    ----------
    prefix : str
        What names of its data begin with: ``folder:``.
    load : callable
        The task (of any name), from what follows the prefix. Files are named, not read.
    load_set : callable, optional
        One labelled set for a task of these classes, to test on under another condition; or several by name, such as
        ``fog:3``.
    names : callable, optional
        All that it knows by name, for a study that asks for all of them.
    example : str
        One of its names, for messages.
    summary : str
        What its tasks are, for lists.
    sizes : callable, optional
        How many examples train, val and test of a task have to have, where that is known.
    """

    prefix: str
    load: Callable[[str], Task]
    load_set: Callable[[str, tuple[str, ...]], Split | Mapping[str, Shift]] | None = None
    names: Callable[[], list[str]] | None = None
    example: str = ""
    summary: str = ""
    sizes: Callable[[str], tuple[int, int, int]] | None = None


_LOADERS: dict[str, Loader] = {}


def register(info: TaskInfo) -> Callable[[MakeSplits], MakeSplits]:
    """Decorates the function that makes the splits of the task `info` describes."""

    def add(make: MakeSplits) -> MakeSplits:
        if info.name in _TASKS:
            raise ValueError(f"two tasks are called {info.name!r}: rename one of them")
        _TASKS[info.name] = (info, make)
        return make

    return add


def register_loader(loader: Loader) -> None:
    """Let `loader` make the tasks whose data begin with its prefix."""
    if loader.prefix in _LOADERS:
        raise ValueError(f"two loaders take {loader.prefix!r}: rename one of them")
    _LOADERS[loader.prefix] = loader


def list_tasks() -> list[str]:
    """The name of every task that ships with the package, in alphabetical order."""
    return sorted(_TASKS)


def list_loaders() -> list[Loader]:
    """What makes tasks of data that lie outside the package, by prefix."""
    return [_LOADERS[prefix] for prefix in sorted(_LOADERS)]


def expand(name: str) -> list[str]:
    """The names that `name` stands for: ``vtab1k`` for every task of VTAB-1K, any other for itself."""
    for prefix, loader in _LOADERS.items():
        if loader.names and name == prefix.rstrip(":/"):
            return [f"{prefix}{one}" for one in loader.names()]
    return [name]


def expected_sizes(source: Source) -> tuple[int, int, int] | None:
    """How many examples train, val and test of `source` have to have; None where that is not known."""
    if source.shots is not None or source.examples is not None:
        return None
    if source.data in _TASKS:
        return _TASKS[source.data][0].sizes
    loader, rest = _loader(source.data)
    return loader.sizes(rest) if loader.sizes else None


def require_known(source: Source) -> None:
    """Raise InputError unless `source` and its shift sets name a task of the package or what a loader takes."""
    for data in (source.data, *source.shifts.values()):
        if data not in _TASKS:
            _loader(data)


def info(task: str | Source) -> TaskInfo:
    """What is known of a task without making its images.

    Raises
    ------
    InputError
        No task has this name (the message lists those there are), or its data are not to be found.
    """
    source = source_of(task)
    if isinstance(source.recorded, str) and source.data in _TASKS:
        return _TASKS[source.data][0]
    made = load(source)
    return TaskInfo(made.name, made.group, made.classes, made.summary, tuple(made.shifts))


def load(task: str | Source) -> Task:
    """The task. The last two are kept, so treat their arrays as read-only.

    Parameters
    ----------
    task : str or Source
        Its name, or which data it is made of.

    Raises
    ------
    InputError
        No task has this name (the message lists those there are), or its data are not to be found or malformed.
    """
    return _load(source_of(task).model_dump_json(), places.here())


def fingerprint(task: str | Source) -> str:
    """The task's fingerprint, kept when its images no longer are."""
    return _fingerprint(source_of(task).model_dump_json(), places.here())


@cache
def _fingerprint(source: str, _: places.Places) -> str:
    return load(Source.model_validate_json(source)).fingerprint


@lru_cache(maxsize=2)  # a worker stays with a task; keeping all of them, shift sets included, would cost 200 MB
def _load(given: str, _: places.Places) -> Task:
    source = Source.model_validate_json(given)
    task = _shipped(source.data) if source.data in _TASKS else _found(source.data)
    further = {name: made for kind, data in source.shifts.items() for name, made in _sets(data, task, kind).items()}
    return sampled(
        Task(
            source.name,
            source.group or task.group,
            task.classes,
            task.summary,
            task.train,
            task.val,
            task.test,
            {**task.shifts, **further},
        ),
        shots=source.shots,
        examples=source.examples,
        seed=source.sample,
    )


def _shipped(name: str) -> Task:
    info, make = _TASKS[name]
    train, val, test = make()
    shifts = {shift_set: partial(shift, shift_set) for shift_set in info.shift_sets}
    return Task(info.name, info.group, info.classes, info.summary, train, val, test, shifts)


def _found(data: str) -> Task:
    loader, rest = _loader(data)
    return loader.load(rest)


def _sets(data: str, task: Task, name: str) -> Mapping[str, Shift]:
    """The further test sets that `data` has: one called `name`, or several called ``name:...``."""
    if name in {known.partition(":")[0] for known in task.shifts}:
        raise InputError(f"task {task.name!r} has shift sets called {name!r} of its own: give this one another name.")
    loader = None if data in _TASKS else _loader(data)[0]
    if loader is None or loader.load_set is None:
        raise InputError(f"task {task.name!r}: shift set {name!r} cannot be {data!r}; give a folder, folder:PATH.")
    made = loader.load_set(data.removeprefix(loader.prefix), task.classes)
    sets = {name: made} if isinstance(made, Split) else {f"{name}:{part}": one for part, one in made.items()}
    return {called: _apart(one, called) if isinstance(one, Split) else one for called, one in sets.items()}


def _apart(split: Split, name: str) -> Split:
    """`split` with ids of its own: its examples are not the test split's, whose files may have the same names."""
    return replace(split, ids=np.array([f"{name}/{example}" for example in split.ids], dtype=str))


def _loader(data: str) -> tuple[Loader, str]:
    for prefix, loader in _LOADERS.items():
        if data.startswith(prefix):
            return loader, data.removeprefix(prefix)
    raise unknown("task", data, [*_TASKS, *(loader.example for loader in _LOADERS.values())])
