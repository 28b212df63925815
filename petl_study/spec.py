"""The study file: what is compared, and how. Read from YAML, validated whole before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from petl_study import backbones, halving, methods, plan, tasks
from petl_study.errors import InputError, unknown
from petl_study.keep import Keep
from petl_study.protocols import Protocol
from petl_study.strangers import plain_yaml
from petl_study.strangers.text import one_line
from petl_study.tasks import Source

MOST_TRIALS = 1_000_000  # of one search, and points of a grid that some are drawn from: all are held in memory
HeadKind = Literal["new", "zero_shot"]
Values = list[Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Pruner(_Strict):
    """Which trials are stopped before their last epoch, and when (see `halving`)."""

    name: Literal["halving", "hyperband"]
    factor: int = Field(default=3, ge=2)  # of the trials at a rung one in so many goes on; rungs are as far apart
    first: int = Field(ge=1)  # the fewest epochs after which a trial may be stopped


class Search(_Strict):
    """How each method is searched on each task: which points, how many, in what order."""

    sampler: Literal["grid", "random", "tpe"] = "grid"
    trials: int | None = Field(default=None, ge=1)  # None: every point of the grid
    lr: list[float] = Field(default=[1e-3, 1e-2], min_length=1)
    weight_decay: list[float] = Field(default=[1e-4, 1e-3], min_length=1)
    seed: int = Field(default=0, ge=0)  # of the sampler, and of initialisation and data order in the search's trials
    pruner: Pruner | None = None  # None: every trial is trained to its end

    @field_validator("lr", "weight_decay")
    @classmethod
    def _positive(cls, values: list[float]) -> list[float]:
        if wrong := [v for v in values if not (math.isfinite(v) and v >= 0)]:
            raise ValueError(f"must be finite and not negative, got {wrong}")
        return values

    @model_validator(mode="after")
    def _budget(self) -> Search:
        if self.sampler != "grid" and self.trials is None:
            raise ValueError(
                f"sampler {self.sampler!r} needs a number of trials, such as `trials: 20`; only a grid has an end"
            )
        if self.sampler == "tpe" and self.pruner:
            raise ValueError(
                f"sampler 'tpe' asks for one trial at a time, and pruner {self.pruner.name!r} compares them at a rung"
                " all together. Leave the pruner out, or take sampler grid or random"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A search that trains every trial to its end says nothing of pruners."""
        return {key: value for key, value in handler(self).items() if key != "pruner" or value}


class MethodSpec(_Strict):
    """A method and the values that are searched for each of its hyperparameters."""

    name: str
    space: dict[str, Values] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_entry(cls, entry: Any) -> Any:
        """``lora``, or ``lora: {rank: 8}``, or ``lora: {rank: [1, 8]}``."""
        if isinstance(entry, dict) and set(entry) == {"name", "space"}:
            return entry
        if isinstance(entry, str):
            entry = {entry: {}}
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ValueError(
                f"a method is a name, or one name with hyperparameters such as `lora: {{rank: [1, 8]}}`; got {entry!r}"
            )
        [(name, given)] = entry.items()
        default = methods.search_space(name)
        if not isinstance(given, dict | None):
            raise ValueError(f"the hyperparameters of {name} are a mapping such as `{{rank: [1, 8]}}`; got {given!r}")
        space = {key: value if isinstance(value, list) else [value] for key, value in (given or {}).items()}
        for key, values in space.items():
            if not values:
                raise ValueError(f"{name}: {key} has an empty list of values")
            for value in values:
                methods.create(name, **{key: value})  # refuses unknown names and wrong values
        return {"name": name, "space": {**default, **space}}


class StudySpec(_Strict):
    """A study: every method is searched, then trained for every seed, on every task."""

    name: str = Field(pattern=r"^[\w.-]+$")
    backbone: str
    tasks: list[Source] = Field(min_length=1)
    methods: list[MethodSpec] = Field(min_length=1)
    protocol: Protocol
    search: Search = Search()
    seeds: list[int] = Field(default=[0], min_length=1)
    head: HeadKind | dict[str, HeadKind] = "new"  # of every task, or task by task (the rest: new)
    keep: Keep = Keep()
    zero_shot: bool | list[str] = False  # tasks that the untouched backbone is asked about: all, none, or those named

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, name: str) -> str:
        return backbones.known_here(name)

    @field_validator("tasks", mode="before")
    @classmethod
    def _all_that_a_name_stands_for(cls, given: Any) -> Any:
        """``vtab1k`` is each of its tasks."""
        if not isinstance(given, list):
            return given
        return [one for entry in given for one in (tasks.expand(entry) if isinstance(entry, str) else [entry])]

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, sources: list[Source]) -> list[Source]:
        for source in sources:
            tasks.require_known(source)
        _distinct([source.name for source in sources], "task")
        return sources

    @field_validator("methods")
    @classmethod
    def _distinct_methods(cls, given: list[MethodSpec]) -> list[MethodSpec]:
        _distinct([method.name for method in given], "method")
        return given

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if wrong := [seed for seed in seeds if seed < 0]:
            raise ValueError(f"seeds are whole numbers from 0, got {wrong}")
        return _distinct(seeds, "seed")

    @model_validator(mode="after")
    def _heads_exist(self) -> StudySpec:
        names = [task.name for task in self.tasks]
        for name in self.head if isinstance(self.head, dict) else ():
            if name not in names:
                raise unknown("task", name, names, where="head")
        for name in self.zero_shot if isinstance(self.zero_shot, list) else ():
            if name not in names:
                raise unknown("task", name, names, where="zero_shot")
        return self

    @model_validator(mode="after")
    def _can_be_searched(self) -> StudySpec:
        for method in self.methods:
            asked = self.search.trials or 0
            if self.search.sampler == "grid":
                asked = math.prod(map(len, self.space(method).values()))
            if asked > MOST_TRIALS:
                raise ValueError(
                    f"{method.name}: a search is of at most {MOST_TRIALS:,} points, and this one has {asked:,}. List"
                    " fewer values, or take sampler random with a number of `trials`"
                )
        return self

    @model_validator(mode="after")
    def _can_be_pruned(self) -> StudySpec:
        """Rungs lie within the protocol's epochs, and after its warm-up."""
        if not self.search.pruner:
            return self
        factor, first = self.search.pruner.factor, self.search.pruner.first
        epochs, warm_up = self.protocol.epochs, self.protocol.warmup_epochs
        if not self.rungs:
            known = ", ".join(map(str, halving.rungs(epochs, factor, 1))) or "none"
            raise ValueError(
                f"search.pruner: no trial can be stopped, as {epochs} epochs and factor {factor} allow rungs after"
                f" {known} epochs, and first is {first}. Give a smaller `first`, or another factor"
            )
        if self.rungs[0] <= warm_up:
            raise ValueError(
                f"search.pruner: the first rung is after {self.rungs[0]} epochs, and the learning rate rises for"
                f" {warm_up}: trials cannot be judged before. Give `first: {warm_up + 1}`, or a shorter warm-up"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A study that asks for no zero-shot run says nothing of it."""
        return {key: value for key, value in handler(self).items() if key != "zero_shot" or value}

    def require_data(self) -> None:
        """Raise InputError unless data and backbone are here and have what the study asks of them."""
        backbones.info(self.backbone)
        if self.protocol.image_size is not None:
            backbones.require_size(self.backbone, self.protocol.image_size)
        known = {task.name: tasks.info(task) for task in self.tasks}
        for name, info in known.items():
            if self.head_of(name) == "zero_shot":
                backbones.require_classes(self.backbone, info.classes, name)
            if name in self.zero_shot_tasks:
                backbones.require_classes(self.backbone, info.classes, name, wanted="zero_shot")
        shifts = {shift for info in known.values() for shift in info.shift_sets}
        self.keep.require_known(shifts, {method.name for method in self.methods})

    def head_of(self, task: str) -> HeadKind:
        """How the classifier of `task` starts: at random, or at the backbone's own rows for the task's classes."""
        return self.head.get(task, "new") if isinstance(self.head, dict) else self.head

    @property
    def zero_shot_tasks(self) -> list[str]:
        """The tasks that the untouched backbone is asked about."""
        return plan.asked(self.zero_shot, [task.name for task in self.tasks])

    def space(self, method: MethodSpec) -> dict[str, Values]:
        """What is searched for `method`: its own hyperparameters, the learning rate and the weight decay."""
        return {**method.space, "lr": self.search.lr, "weight_decay": self.search.weight_decay}

    def trials(self, method: MethodSpec) -> int:
        """Number of search trials of `method` on one task."""
        return plan.trials(method.space, self.search.model_dump())

    @property
    def rungs(self) -> list[int]:
        """After how many epochs the trials of a search are compared; none where each is trained to its end."""
        pruner = self.search.pruner
        return halving.rungs(self.protocol.epochs, pruner.factor, pruner.first) if pruner else []

    @property
    def cells(self) -> list[tuple[Source, MethodSpec]]:
        """Every task with every method, task by task, so that what a task needs is loaded once."""
        return list(itertools.product(self.tasks, self.methods))


def load(study: str | Path) -> StudySpec:
    """Read a study file.

    Parameters
    ----------
    study : str or Path
        The name of a study that ships with the package (``quickstart``), or the path of a YAML file.

    Raises
    ------
    InputError
        No such study, no valid YAML, or a key or value that is not allowed: the message names file, place and remedy.
    """
    shipped = {
        Path(f.name).stem: f for f in resources.files("petl_study.studies").iterdir() if f.name.endswith(".yaml")
    }
    if str(study) in shipped:
        return resolve(plain_yaml.parse(shipped[str(study)].read_text("utf-8")), f"{study} (shipped)")
    if Path(study).is_file():
        return resolve(read(Path(study)), str(study))
    raise unknown("study", str(study), shipped, where="no such file, and among the shipped studies")


def read(path: Path) -> Any:
    """What the YAML file at `path` holds: data alone. Raises InputError where it cannot be read."""
    try:
        return plain_yaml.read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read as text: {error.strerror}.") from None
    except plain_yaml.NoYaml as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None


def resolve(content: Any, origin: str = "study") -> StudySpec:
    """The study that `content`, a mapping as in a study file, describes; `origin` names it in errors."""
    if not isinstance(content, Mapping):
        raise InputError(
            f"{origin}: a study file is a mapping with the keys {', '.join(StudySpec.model_fields)};"
            f" got {one_line(repr(content))}."
        )
    try:
        study = StudySpec.model_validate(dict(content))
    except ValidationError as error:
        raise InputError("\n".join(f"{origin}: {_explain(e)}" for e in error.errors())) from None
    try:
        study.require_data()
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None
    return study


# --------------------------------------------------------------------------------------------------------------- parts


def _distinct(values: list[Any], kind: str) -> list[Any]:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{kind} {twice[0]!r} is listed twice")
    return values


_MODELS: dict[str, type[BaseModel]] = {
    "search": Search,
    "search.pruner": Pruner,
    "protocol": Protocol,
    "keep": Keep,
}


def _explain(error: Any) -> str:
    """One line for one of Pydantic's errors: where, what, what is allowed."""
    *above, last = error["loc"] or ("",)
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        where = ".".join(map(str, above))
        model = _MODELS.get(where, StudySpec)
        return str(unknown("key", last, model.model_fields, where=where or "top level"))
    if error["type"] == "missing":
        return f"{place}: this key is missing; the study file must give it."
    if error["type"] in ("value_error", "assertion_error"):
        return f"{place}: {error['ctx']['error']}".removeprefix(": ")
    return f"{place}: {error['msg']}, got {one_line(repr(error['input']))} ({type(error['input']).__name__})."
