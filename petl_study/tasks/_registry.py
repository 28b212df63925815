"""Tasks by name: those that ship with the package, one file each, and those made of data that a loader knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.tasks._base import Split, Task, TaskInfo
from petl_study.tasks._sampling import sampled
from petl_study.tasks._source import Source
from petl_study.tasks.shifts import shift

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
        One labelled set for a task of these classes, to test on under another condition.
    names : callable, optional
        All that it knows by name, for a study that asks for all of them.
    example : str
        One of its names, for messages.
    """

    prefix: str
    load: Callable[[str], Task]
    load_set: Callable[[str, tuple[str, ...]], Split] | None = None
    names: Callable[[], list[str]] | None = None
    example: str = ""


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


def expand(name: str) -> list[str]:
    """The names that `name` stands for: ``vtab1k`` for every task of VTAB-1K, any other for itself."""
    for prefix, loader in _LOADERS.items():
        if loader.names and name == prefix.rstrip(":/"):
            return [f"{prefix}{one}" for one in loader.names()]
    return [name]


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
    source = Source.model_validate(task)
    if isinstance(source.recorded, str):
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
    return _load(Source.model_validate(task).model_dump_json(), places.here())


def fingerprint(task: str | Source) -> str:
    """The task's fingerprint, kept when its images no longer are."""
    return _fingerprint(Source.model_validate(task).model_dump_json(), places.here())


@cache
def _fingerprint(source: str, _: places.Places) -> str:
    return load(Source.model_validate_json(source)).fingerprint


@lru_cache(maxsize=2)  # a worker stays with a task; keeping all of them, shift sets included, would cost 200 MB
def _load(given: str, _: places.Places) -> Task:
    source = Source.model_validate_json(given)
    task = _shipped(source.data) if source.data in _TASKS else _found(source.data)
    further = {name: _set(data, task, name) for name, data in source.shifts.items()}
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


def _set(data: str, task: Task, name: str) -> Split:
    loader, rest = _loader(data)
    if loader.load_set is None:
        raise InputError(f"task {task.name!r}: shift set {name!r} cannot be {data!r}; give a folder, folder:PATH.")
    return loader.load_set(rest, task.classes)


def _loader(data: str) -> tuple[Loader, str]:
    for prefix, loader in _LOADERS.items():
        if data.startswith(prefix):
            return loader, data.removeprefix(prefix)
    raise unknown("task", data, [*_TASKS, *(loader.example for loader in _LOADERS.values())])
