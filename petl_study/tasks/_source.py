"""Which data a task is made of, and which part of it: as a study file says it, and as records keep it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from petl_study import places

_PREFIX = re.compile(r"^[\w-]+[:/]")  # of `folder:pets`, `torch/cifar10`


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

    name: str = Field(pattern=r"^[^\s/\\:][^/\\:]*$")
    data: str
    group: Literal["natural", "specialized", "structured"] | None = None
    shifts: dict[str, str] = {}
    shots: int | None = Field(default=None, ge=1)
    examples: int | None = Field(default=None, ge=2)
    sample: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_entry(cls, entry: Any) -> Any:
        """``digits``, ``vtab1k:cifar``, or ``folder:/path/to/pets: {group: natural, shots: 4}``."""
        if isinstance(entry, dict) and "data" in entry:
            return entry
        if isinstance(entry, str):
            entry = {entry: {}}
        if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), dict | None):
            raise ValueError(
                "a task is a name, or one name with options such as `folder:/path/to/pets: {group: natural}`;"
                f" got {entry!r}"
            )
        [(data, given)] = entry.items()
        options = dict(given or {})
        data = places.known_here(data)
        options["shifts"] = {kind: places.known_here(shift) for kind, shift in dict(options.get("shifts", {})).items()}
        return {"name": _name(data, options), "data": data, **options}

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
    return Source.model_validate(spec.get("source") or spec["task"])


def _name(data: str, options: dict[str, Any]) -> str:
    name = Path(_PREFIX.sub("", data)).name
    if options.get("shots"):
        name += f"@{options['shots']}shot"
    elif options.get("examples"):
        name += f"@{options['examples']}"
    return name + (f".{options['sample']}" if options.get("sample") else "")
