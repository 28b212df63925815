"""A trial: everything that determines a result, and the record's name that follows from it.

The same trial serves a search (trained on train, looked at on val) and a final run (trained on train + val, looked at
on test and shift sets); which it is stands in `fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from petl_study import backbones, store, tasks
from petl_study.errors import InputError
from petl_study.keep import Keep
from petl_study.protocols import Protocol
from petl_study.store import Record
from petl_study.tasks import Source


@dataclass(frozen=True)
class Trial:
    """Everything that determines a result, and for a final run the search trial that it was selected by.

    A search trial that stops after `until` epochs of its protocol's has their learning rates: it is the beginning of
    `whole`, bit for bit.

    With ``fit="none"`` nothing is trained: the backbone under its own classifier, as method `store.ZERO_SHOT`.
    """

    task: str
    backbone: str
    method: str
    hyperparameters: dict[str, Any]
    lr: float
    weight_decay: float
    head: str
    protocol: Protocol
    seed: int
    fit: Literal["train", "trainval", "none"]
    study: str = field(compare=False)
    keep: Keep = field(default_factory=Keep)
    source: Source | None = None  # what `task` is made of; None: a task that ships with the package
    until: int | None = None
    selected: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def kind(self) -> store.Kind:
        return "trial" if self.fit == "train" else "run"

    @property
    def data(self) -> Source:
        """What the task is made of."""
        return self.source or Source.model_validate(self.task)

    @property
    def spec(self) -> dict[str, Any]:
        """The part of the record's header whose hash is the record's name."""
        return {
            "kind": self.kind,
            "task": self.task,
            "data": tasks.fingerprint(self.data),
            "backbone": self.backbone,
            "weights": backbones.info(self.backbone).weights,
            "method": self.method,
            "hyperparameters": self.hyperparameters,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "head": self.head,
            "protocol": self.protocol.model_dump(),
            # Three sources of chance, apart, so that one can be varied alone.
            "seeds": {"init": self.seed, "order": self.seed, "sampling": self.data.sample},
            "fit": self.fit,
            # What is the default needs no word in the name: to the last epoch, all that can be kept, a task that its
            # name tells.
            **({"until": self.until} if self.until is not None else {}),
            **({"keep": self.keep.model_dump(mode="json")} if self.keep != Keep() else {}),
            **({"source": self.data.recorded} if self.data.recorded != self.task else {}),
        }

    @property
    def whole(self) -> Trial:
        """The same trial to its last epoch."""
        return replace(self, until=None)

    def describe(self) -> str:
        """One line for people: ``digits lora rank=8 lr=0.001 weight_decay=0.0001``."""
        if self.fit == "none":
            return f"{self.task} {self.method}"
        values = {**self.hyperparameters, "lr": self.lr, "weight_decay": self.weight_decay}
        final = f" seed={self.seed}" if self.kind == "run" else ""
        final += f", {self.until} of {self.protocol.epochs} epochs" if self.until is not None else ""
        return " ".join([self.task, self.method, *(f"{k}={v}" for k, v in values.items())]) + final


def trial_of(record: Record) -> Trial:
    """The trial that `record` is of.

    Raises
    ------
    InputError
        It was made by a version of this project whose protocols this one does not know.
    """
    spec = record.spec
    try:
        protocol, keep = Protocol.model_validate(spec["protocol"]), Keep.model_validate(spec.get("keep", {}))
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise InputError(
            f"{record.path} cannot be built again here: its protocol {spec['protocol'].get('name')!r} is not one that"
            f" this version trains under ({wrong}). Use the version of petl_study that it was made with."
        ) from None
    known = {name: spec[name] for name in _SPELLED_ALIKE}
    return Trial(
        **known,
        protocol=protocol,
        keep=keep,
        source=tasks.of_record(spec),
        seed=spec["seeds"]["init"],
        until=spec.get("until"),
        study=record.header["study"]["name"],
        selected=record.header.get("selected"),
    )


_SPELLED_ALIKE = ("task", "backbone", "method", "hyperparameters", "lr", "weight_decay", "head", "fit")


def rebuildable(record: Record) -> Trial:
    """The trial that `record` is of, of which the model can be made again with what is installed here.

    Raises
    ------
    InputError
        It was made from data, weights or a version that are not those here: the message says what differs.
    """
    trial = trial_of(record)
    was, now = record.spec, trial.spec
    if differing := sorted(name for name in {*was, *now} if was.get(name) != now.get(name)):
        shown = "; ".join(f"{name} was {_short(was.get(name))}, is {_short(now.get(name))} here" for name in differing)
        raise InputError(
            f"{record.path} cannot be built again here: {shown}. Use the version of petl_study, and the data and"
            " weights, that it was made with."
        )
    return trial


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 16 else text
