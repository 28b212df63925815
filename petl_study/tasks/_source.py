"""Which data a task is made of, and which part of it: as a study file says it, and as records keep it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.tasks._base import SPLITS
from petl_study.tasks.corruptions import is_corruption

_PREFIX = re.compile(r"^[\w-]+[:/]")  # of `folder:pets`, `torch/cifar10`
_NAME = re.compile(r"[^\s./\\:][^/\\:\x00-\x1f]{0,99}")
_SHIFT = re.compile(r"\w[\w.-]{0,99}")


class Source(BaseModel):
    """A task as data and what is taken of it.

    Attributes
    ----------
    name : str
        What records, tables and figures call it.
    data : str
        The name of a task that ships with the package, or as the loaders in `petl_study.tasks` say: ``vtab1k:cifar``,
        ``folder:pets``, ...
    group : str, optional
        Where the data themselves do not say it.
    shifts : dict
        Further test sets: ``{sketch: folder:pacs_sketch}``.
    shots : int, optional
        Only so many training examples of each class, and as many, at most 4, to validate on (arXiv 2109.01134).
    examples : int, optional
        Only so many training examples, a fifth of them to validate on, classes in proportion.
    sample : int
        Seed of what is drawn for the last two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    data: str
    group: Literal["natural", "specialized", "structured"] | None = None
    shifts: dict[str, str] = {}
    shots: int | None = Field(default=None, ge=1)
    examples: int | None = Field(default=None, ge=2)
    sample: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_entry(cls, entry: Any) -> Any:
        """``digits``, ``vtab1k:cifar``, or ``folder:/path/to/pets: {group: natural, shots: 4}``; or fields by name."""
        if isinstance(entry, cls):
            return entry
        data, options = _parts(entry)
        if strangers := options.keys() - cls.model_fields.keys():
            raise unknown("option", sorted(strangers)[0], cls.model_fields, where=f"task {data!r}")
        shifts = options.setdefault("shifts", {})
        if not isinstance(shifts, dict) or not all(isinstance(one, str) for pair in shifts.items() for one in pair):
            raise ValueError(
                f"task {data!r}: `shifts` are names and their data, such as `{{sketch: folder:pacs_sketch}}`;"
                f" got {shifts!r}"
            )
        shifts = {name: places.known_here(shift) for name, shift in shifts.items()}
        data = places.known_here(data)
        return {"name": _name(data, options), **options, "data": data, "shifts": shifts}

    @field_validator("name")
    @classmethod
    def _can_be_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a task cannot be called {name!r}: a name has at most 100 characters, no slash, backslash or colon,"
                " and begins with neither a dot nor a space. Give another with `name`"
            )
        return name

    @field_validator("shifts")
    @classmethod
    def _can_be_shifts(cls, shifts: dict[str, str]) -> dict[str, str]:
        for name in shifts:
            if name in SPLITS or is_corruption(name) or not _SHIFT.fullmatch(name):
                raise ValueError(
                    f"a shift set cannot be called {name!r}: a name is of letters, digits, `_`, `-` and `.`, and none"
                    f" of {', '.join(SPLITS)} and corrupt"
                )
        return shifts

    @model_validator(mode="after")
    def _one_size(self) -> Source:
        if self.shots is not None and self.examples is not None:
            raise ValueError(f"task {self.name!r}: give `shots` (of each class) or `examples` (in all), not both")
        return self

    @property
    def recorded(self) -> str | dict[str, Any]:
        """The name alone of a task that ships with the package; otherwise what is not as it is by default."""
        fields = type(self).model_fields
        said = {name: getattr(self, name) for name in fields if getattr(self, name) != fields[name].default}
        return self.name if said == {"name": self.data, "data": self.data} else said

    @model_serializer
    def _as_recorded(self) -> str | dict[str, Any]:
        return self.recorded


def of_record(spec: dict[str, Any]) -> Source:
    """The source that a record with this specification was made of."""
    return source_of(spec.get("source") or spec["task"])


def source_of(entry: Any) -> Source:
    """The source that `entry` says, as in a study file.

    Raises
    ------
    InputError
        An option is unknown or has a value that is not allowed.
    """
    try:
        return Source.model_validate(entry)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, one['loc']))}: {_message(one)}".removeprefix(": ") for one in error.errors())
        raise InputError(f"{entry!r} is no task: {'; '.join(wrong)}.") from None


def _message(error: Any) -> str:
    """What one of Pydantic's errors says, without the kind of error and without a full stop."""
    return str(error["msg"]).removeprefix("Value error, ").removesuffix(".")


def _parts(entry: Any) -> tuple[str, dict[str, Any]]:
    """The data that `entry` names, and its options."""
    match entry:
        case str(data):
            return data, {}
        case {"data": str(data)}:
            return data, {key: value for key, value in entry.items() if key != "data"}
        case dict() if len(entry) == 1:
            [(data, options)] = entry.items()
            if isinstance(data, str) and isinstance(options, dict | None) and "data" not in (options or {}):
                return data, dict(options or {})
    raise ValueError(
        f"a task is a name, or one name with options such as `folder:/path/to/pets: {{group: natural}}`; got {entry!r}"
    )


def _name(data: str, options: dict[str, Any]) -> str:
    name = Path(_PREFIX.sub("", data)).name
    if options.get("shots"):
        name += f"@{options['shots']}shot"
    elif options.get("examples"):
        name += f"@{options['examples']}"
    return name + (f".{options['sample']}" if options.get("sample") else "")
