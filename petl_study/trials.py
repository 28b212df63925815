"""A trial, whole: its specification, and the training and the record that follow from it.

The same code serves a search trial (trained on train, looked at on val) and a final run (trained on train + val, looked
at on test and shift sets); which it is stands in `fit`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from petl_study import backbones, checkpoint, failures, memory, methods, places, privacy, store, tasks, training
from petl_study.checkpoint import Checkpoint
from petl_study.errors import InputError
from petl_study.images import Images
from petl_study.inputs import Normalisation, Pixels
from petl_study.keep import Keep
from petl_study.learning import Learning
from petl_study.protocols import Protocol
from petl_study.store import Record, Study
from petl_study.tasks import Source, Split, Task


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


def needed(trial: Trial, study: Study) -> list[Path]:
    """The files of `study` that `execute` reads: what a run was selected by, or where a trial was stopped."""
    if trial.selected is not None:
        best = store.read(study.path / trial.selected["path"])
        return [best.path / name for name in ("record.json", *best.header["files"])]
    left = study.checkpoint(trial.spec)
    return [left] if trial.kind == "trial" and left.exists() else []


def execute(trial: Trial, directory: Path, device: str = "cpu") -> Record:
    """Train what `trial` says, if anything, and store what came of it in the study at `directory`.

    A training that diverges is stored too, as failed, with its reason; so is one that runs out of memory or meets a
    fault of the program. One that stops early leaves a checkpoint, from which a later call goes on if it was made with
    the same versions on the same kind of machine; without one it trains anew, to the same result.

    Raises
    ------
    InputError
        Data, weights or a stored record that it needs are not there or not right: no other trial would fare better.
    OSError
        Something cannot be read or stored.
    """
    header = _header(trial, device)
    _restart_peak_memory(device)
    try:
        return _executed(trial, Study(directory), device, header)
    except (InputError, OSError):
        raise
    except Exception as error:
        why = failures.reason(error, _peak_memory(device))
        if curve := getattr(error, "curve", None):
            header["curve"] = curve
    return _store_failed(trial, directory, header, why)  # out here, where what the error held is free again


def fail(trial: Trial, directory: Path, device: str, threads: int, kind: str, message: str) -> Record:
    """Store that `trial` failed where nobody could say so: its worker, of so many threads, is gone, or was ended."""
    header = _header(trial, device)
    header["environment"]["threads"] = threads  # the driver that says it has as many as it likes
    return _store_failed(trial, directory, header, {"kind": kind, "message": message})


def _store_failed(trial: Trial, directory: Path, header: dict[str, Any], why: dict[str, Any]) -> Record:
    whole = trial.whole.spec  # to its last epoch it had failed alike
    why = {**why, "message": privacy.without_places(why["message"], directory)}
    failed = {"spec": whole, "status": "failed", "error": why, "results": {}, "cost": {}}
    return store.write(Study(directory).directory(trial.kind, whole), {**header, **failed})


def _header(trial: Trial, device: str) -> dict[str, Any]:
    """What a record says of `trial` before anything is loaded."""
    info = tasks.info(trial.data)
    header: dict[str, Any] = {
        "kind": trial.kind,
        "status": "finished" if trial.until is None else "stopped",
        "error": None,
        "study": {"name": trial.study},
        "spec": trial.spec,
        "task": {"group": info.group, "classes": list(info.classes)},
        "environment": _environment(device),
        "curve": [],
    }
    if places.here().compile:
        header["environment"]["compiled"] = True
    if trial.selected is not None:
        header["selected"] = trial.selected
    return header


def _executed(trial: Trial, study: Study, device: str, header: dict[str, Any]) -> Record:
    """`execute` where all goes well; `header` is completed on the way, for whoever stores a failure."""
    task, view = tasks.load(trial.data), trial.protocol.view
    learned = None if trial.fit == "none" else task.split(trial.fit, view)
    header["task"] |= {"train_examples": len(learned) if learned else 0, **_untrained(learned, task)}
    if learned:
        _, height, width, _ = learned.pixels.shape
        header["environment"]["micro_batch"] = training.micro_batch(height * width, trial.protocol, device)
    model, normalise = build(trial, task, device)
    methods.forget_start(model)  # it is trained, and goes nowhere else
    learning = Learning(model, trial, task, normalise)
    header["parameters"] = _count(model, trial)
    started = time.perf_counter()
    begun = _begun(trial, study, header)
    before = begun.made["seconds"] if begun else 0.0  # of the epochs that need not be trained again

    def spent() -> float:
        reused = 0.0 if begun else learning.reused_seconds  # the first leg has counted it
        return before + time.perf_counter() - started + reused

    def leave(state: Checkpoint) -> None:
        state.save(study.checkpoint(header["spec"]), environment=header["environment"], seconds=spent())

    header["curve"] = learning.fit(start=begun, leave=leave if trial.until is not None else None)
    fit_seconds = spent()
    logits, examples, skipped, predict_seconds = {}, {}, dict(learned.skipped) if learned else {}, 0.0
    for name in _looked_at(trial, task):
        split = task.split(name, view)  # one at a time, as all may not fit; making them is no cost of the method's
        made = time.perf_counter() + learning.reused_seconds
        logits[name] = trial.keep.rounded(learning.ask(name))
        predict_seconds += time.perf_counter() + learning.reused_seconds - made
        examples[name] = (split.ids, split.labels)
        skipped |= split.skipped
    tuned = methods.state_dict(model)
    header["cost"] = {
        "fit_seconds": fit_seconds,
        "predict_seconds": predict_seconds,
        "peak_memory_bytes": _peak_memory(device),
        "tuned_bytes": sum(tensor.nbytes for tensor in tuned.values()),
    }
    if skipped:
        header["task"]["skipped"] = {name: privacy.without_places(why) for name, why in skipped.items()}
    if trial.selected is not None:  # val was not held out of this training: keep what the selected trial said of it
        best = store.read(study.path / trial.selected["path"])
        logits["val"], examples["val"] = best.logits("val"), best.examples("val")
    header["results"] = {name: training.score(logits[name], examples[name][1]) for name in logits}
    kept = trial.kind == "run" and trial.keep.tensors_of(trial.method)
    tensors = {name: tensor.cpu().numpy() for name, tensor in tuned.items()} if kept else {}
    where = study.directory(trial.kind, header["spec"])
    return store.write(where, header, logits=logits, examples=examples, tensors=tensors)


def _begun(trial: Trial, study: Study, header: dict[str, Any]) -> Checkpoint | None:
    """Where the trial's training stopped before, if it can go on from there to the bits that it would have had."""
    if trial.kind != "trial":
        return None
    found = checkpoint.load(study.checkpoint(header["spec"]))
    if found is None or found.made.get("environment") != header["environment"]:
        return None
    return found if len(found.curve) <= (trial.until or trial.protocol.epochs) else None


def build(trial: Trial, task: Task, device: str) -> tuple[nn.Module, Normalisation]:
    """The model that `trial` trains, at its start, and what its inputs go through first."""
    split = task.split("test" if trial.fit == "none" else trial.fit, trial.protocol.view)
    training.seed_everything(trial.seed)
    model = backbones.create(
        trial.backbone,
        len(task.classes),
        drop_path=trial.protocol.drop_path,
        image_size=_square(split.pixels, trial),
        keep=device.startswith("cuda"),  # where a trial takes seconds, and a second copy no memory of the GPU's
    )
    if trial.head == "zero_shot":
        head: nn.Linear = model.get_classifier()  # type: ignore[operator]
        weight, bias = backbones.zero_shot_head(trial.backbone, task.classes)
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)
    known = backbones.info(trial.backbone)
    normalise = training.normalisation(trial.protocol, Normalisation(known.mean, known.std))
    model.to(device)
    if trial.fit == "none":  # the method that adds nothing to the backbone, so that the classifier is kept like others
        methods.create("linear").apply(model)
    else:
        methods.create(trial.method, **trial.hyperparameters).apply(model, _shuffled(split, trial, normalise, device))
    return model, normalise


def _shuffled(split: Split, trial: Trial, normalise: Normalisation, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of `split` for methods that look at the task first; nothing is read for those that do not.

    Shuffled: what a method learns of a batch (GPS contrasts its images) must not depend on how the task is sorted.
    """
    images = Pixels(split, normalise, torch.device(device), hold=False)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(trial.seed)).to(device)
    for index in order.split(trial.protocol.batch_size):
        yield images(index), images.labels[index]


def _square(images: Images, trial: Trial) -> int:
    """Pixels of a side."""
    _, height, width, _ = images.shape
    if height != width:
        raise InputError(
            f"task {trial.task!r} has images of {width} x {height} pixels, and backbones take squares: choose a"
            " protocol that resizes them, such as `protocol: study`."
        )
    return height


def fit(model: nn.Module, trial: Trial, task: Task, normalise: Normalisation) -> list[dict[str, float]]:
    """Train `model`, as `build` made it, in place: the curve, a row an epoch, in a search with validation's figures."""
    return Learning(model, trial, task, normalise).fit()


def _untrained(learned: Split | None, task: Task) -> dict[str, list[str]]:
    """The classes that nothing is learned of, where there are some: no accuracy on them is the method's doing."""
    if learned is None:
        return {}
    there = set(learned.labels.tolist())
    lacking = [name for label, name in enumerate(task.classes) if label not in there]
    return {"untrained_classes": lacking} if lacking else {}


def _looked_at(trial: Trial, task: Task) -> list[str]:
    if trial.kind == "trial":
        return ["val"]
    return ["test", *trial.keep.shifts_of(tuple(task.shifts)), *(["val"] if trial.fit == "none" else [])]


def _count(model: nn.Module, trial: Trial) -> dict[str, int]:
    """Numbers tuned in the backbone, in the classifier, and all that the model has (in numbers, not bytes)."""
    tuned = methods.trainable_parameters(model)
    both = {} if trial.fit == "none" else methods.trainable_parameters(model, classifier=True)
    sizes = {name: p.numel() for name, p in both.items()}
    return {
        "tuned": sum(sizes[name] for name in tuned),
        "classifier": sum(size for name, size in sizes.items() if name not in tuned),
        "model": sum(p.numel() for p in model.parameters()),
    }


# --------------------------------------------------------------------------------------------------------- environment


@cache
def versions() -> dict[str, str]:
    """Of what computes a result, by name."""
    names = ("petl_study", "torch", "torchvision", "timm", "numpy", "pillow", "optuna")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _environment(device: str) -> dict[str, Any]:
    # A failure may be told by a driver that has no GPU.
    on_gpu = device.startswith("cuda") and torch.cuda.is_available()
    kind = torch.cuda.get_device_name(device) if on_gpu else platform.machine()
    # Which of several GPUs it was makes no difference: a trial that was stopped on one goes on on another.
    return {
        "versions": versions(),
        "device": torch.device(device).type,
        "hardware": kind,
        "threads": torch.get_num_threads(),
    }


def _restart_peak_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        memory.restart_peak()


def _peak_memory(device: str) -> int:
    """Bytes: allocated on the GPU, or resident in this process on a CPU, at the most since `_restart_peak_memory`."""
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else memory.peak()
