"""What the lists of methods, tasks and backbones show, found once in the code and kept beside it.

Finding it imports torch and timm and applies every method to a ViT-B/16, which takes seconds. `python -m
petl_study.catalogue` (in `make docs`) finds it anew; a test holds what is kept equal to what the code does. What is
not of this package, or newer than what is kept, is found when it is asked for.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
METHODS = "petl_study.methods"  # the package, and the entry points of those in other packages


@dataclass(frozen=True)
class MethodFacts:
    """A method at its defaults.

    `trains` counts numbers of a ViT-B/16; it is None for what looks at a task first, and with `merges` and `families`,
    those of backbones on which it works, for what is made with the optional package `extra`: that takes long.
    `package`: the distribution of a plug-in. `module` defines it.
    """

    name: str
    trains: int | None
    merges: bool | None
    families: list[str] | None
    space: dict[str, list[Any]]
    paper: str
    extra: str | None
    module: str
    package: str | None = None


@dataclass(frozen=True)
class TaskFacts:
    name: str
    group: str
    classes: int
    shift_sets: list[str]
    summary: str


@dataclass(frozen=True)
class LoaderFacts:
    example: str
    summary: str


@dataclass(frozen=True)
class BackboneFacts:
    name: str
    parameters: int
    image_size: int
    classes: int
    summary: str


@dataclass(frozen=True)
class Catalogue:
    methods: list[MethodFacts]
    tasks: list[TaskFacts]
    loaders: list[LoaderFacts]
    backbones: list[BackboneFacts]


def read() -> Catalogue:
    """What is kept of this package; of its methods all, whether or not the packages that they need are installed."""
    kept = json.loads(FILE.read_text("utf-8"))
    return Catalogue(
        [MethodFacts(**row) for row in kept["methods"]],
        [TaskFacts(**row) for row in kept["tasks"]],
        [LoaderFacts(**row) for row in kept["loaders"]],
        [BackboneFacts(**row) for row in kept["backbones"]],
    )


def find() -> Catalogue:
    """The same, from the code."""
    from petl_study import backbones, methods, tasks

    infos = [tasks.info(name) for name in tasks.list_tasks()]
    known = [backbones.info(name) for name in backbones.list_backbones()]
    return Catalogue(
        [find_method(name) for name in methods.list_methods()],
        [TaskFacts(one.name, one.group, len(one.classes), list(one.shift_sets), one.summary) for one in infos],
        [LoaderFacts(one.example, one.summary) for one in tasks.list_loaders()],
        [BackboneFacts(one.name, one.parameters, one.image_size, len(one.classes), one.summary) for one in known],
    )


def find_method(name: str) -> MethodFacts:
    """One method, by applying it."""
    from petl_study import methods
    from petl_study.methods import _facts, _plugins

    cls, at_defaults = methods.get(name), methods.create(name)
    trains = merges = families = None
    if cls.extra is None:
        trains = None if _facts.looks_at_data(at_defaults) else _facts.trained(at_defaults)[0]
        merges = _facts.unmergeable(at_defaults) is None
        families = _facts.families(at_defaults)
    space, package = methods.search_space(name), _plugins.origin(cls)
    return MethodFacts(name, trains, merges, families, space, cls.paper, cls.extra, cls.__module__, package)


def methods_here() -> tuple[list[MethodFacts], list[str]]:
    """Every method that can be had here, by name, and why plug-ins that are installed are not: a sentence each.

    Without plug-ins, and with the modules that there were when the catalogue was made, no method is imported.
    """
    kept = {facts.name: facts for facts in read().methods}
    if METHODS in sys.modules or entry_points(group=METHODS) or _modules() != {one.module for one in kept.values()}:
        from petl_study import methods
        from petl_study.methods import _plugins

        found = [kept.get(name) or find_method(name) for name in methods.list_methods()]
        return found, _plugins.failures()
    return [facts for facts in kept.values() if facts.extra is None or find_spec(facts.extra)], []


def _modules() -> set[str]:
    """The modules of this package that define methods."""
    files = (Path(__file__).parent / "methods").glob("[!_]*.py")
    return {f"{METHODS}.{file.stem}" for file in files}


def write() -> None:
    """Find all of it, and keep it, but for what plug-ins bring."""
    found = find()
    own = replace(found, methods=[one for one in found.methods if one.package is None])
    tables = (f"{json.dumps(name)}: [\n{_lines(rows)}\n]" for name, rows in asdict(own).items())
    FILE.write_text("{\n" + ",\n".join(tables) + "\n}\n", "utf-8")


def _lines(rows: list[dict[str, Any]]) -> str:
    """A line a row, so that a new method is a new line."""
    return ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


if __name__ == "__main__":
    write()
