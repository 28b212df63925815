"""A trial, whole: its specification, and the training and the record that follow from it.

The same code serves a search trial (trained on train, looked at on val) and a final run (trained on train + val, looked
at on test and shift sets); which it is stands in `fit`.
"""

from __future__ import annotations

import platform
import resource
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from petl_study import backbones, methods, store, tasks, training
from petl_study.keep import Keep
from petl_study.protocols import Protocol
from petl_study.store import Record, Study
from petl_study.tasks import Task


@dataclass(frozen=True)
class Trial:
    """Everything that determines a result, and for a final run the search trial that it was selected by."""

    task: str
    backbone: str
    method: str
    hyperparameters: dict[str, Any]
    lr: float
    weight_decay: float
    head: str
    protocol: Protocol
    seed: int
    fit: Literal["train", "trainval"]
    study: str = field(compare=False)
    keep: Keep = field(default_factory=Keep)
    selected: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def kind(self) -> store.Kind:
        return "trial" if self.fit == "train" else "run"

    @property
    def spec(self) -> dict[str, Any]:
        """The part of the record's header whose hash is the record's name."""
        return {
            "kind": self.kind,
            "task": self.task,
            "data": tasks.fingerprint(self.task),
            "backbone": self.backbone,
            "weights": backbones.info(self.backbone).weights,
            "method": self.method,
            "hyperparameters": self.hyperparameters,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "head": self.head,
            "protocol": self.protocol.model_dump(),
            # Three sources of chance, apart, so that one can be varied alone. The embedded splits are not sampled.
            "seeds": {"init": self.seed, "order": self.seed, "sampling": 0},
            "fit": self.fit,
            # All that can be kept is the default, and needs no word in the name.
            **({"keep": self.keep.model_dump(mode="json")} if self.keep != Keep() else {}),
        }

    def describe(self) -> str:
        """One line for people: ``digits lora rank=8 lr=0.001 weight_decay=0.0001``."""
        values = {**self.hyperparameters, "lr": self.lr, "weight_decay": self.weight_decay}
        final = f" seed={self.seed}" if self.kind == "run" else ""
        return " ".join([self.task, self.method, *(f"{k}={v}" for k, v in values.items())]) + final


def execute(trial: Trial, directory: Path, device: str = "cpu") -> Record:
    """Train what `trial` says and store what came of it in the study at `directory`.

    A training that diverges is stored too, as failed, with its reason.
    """
    study = Study(directory)
    task = tasks.load(trial.task)
    header: dict[str, Any] = {
        "kind": trial.kind,
        "status": "finished",
        "error": None,
        "study": {"name": trial.study},
        "spec": trial.spec,
        "task": {
            "group": task.group,
            "classes": list(task.classes),
            "train_examples": len(task.split(trial.fit)),
        },
        "environment": _environment(device),
    }
    if trial.selected is not None:
        header["selected"] = trial.selected
    where = study.directory(trial.kind, header["spec"])
    _restart_peak_memory(device)
    try:
        model, normalise = build(trial, task, device)
        header["parameters"] = _count(model)
        started = time.perf_counter()
        header["curve"] = fit(model, trial, task, normalise)
        fitted = time.perf_counter()
        logits, examples, predict_seconds = {}, {}, 0.0
        for name in _looked_at(trial, task):
            split = task.split(name)  # one at a time, as all may not fit; rendering them is no cost of the method's
            made = time.perf_counter()
            logits[name] = trial.keep.rounded(training.predict(model, split, normalise))
            predict_seconds += time.perf_counter() - made
            examples[name] = (split.ids, split.labels)
    except training.Diverged as error:
        curve = getattr(error, "curve", header.get("curve", []))
        reason = {"kind": "Diverged", "message": str(error)}
        return store.write(
            where, {**header, "status": "failed", "error": reason, "curve": curve, "results": {}, "cost": {}}
        )
    header["cost"] = {
        "fit_seconds": fitted - started,
        "predict_seconds": predict_seconds,
        "peak_memory_bytes": _peak_memory(device),
    }
    tuned = methods.state_dict(model)
    header["cost"]["tuned_bytes"] = sum(tensor.nbytes for tensor in tuned.values())
    if trial.selected is not None:  # val was not held out of this training: keep what the selected trial said of it
        best = store.read(study.path / trial.selected["path"])
        logits["val"], examples["val"] = best.logits("val"), best.examples("val")
    header["results"] = {name: training.score(logits[name], examples[name][1]) for name in logits}
    kept = trial.kind == "run" and trial.keep.tensors_of(trial.method)
    tensors = {name: tensor.cpu().numpy() for name, tensor in tuned.items()} if kept else {}
    return store.write(where, header, logits=logits, examples=examples, tensors=tensors)


def build(trial: Trial, task: Task, device: str) -> tuple[nn.Module, training.Normalisation]:
    """The model that `trial` trains, at its start, and what its inputs go through first."""
    training.seed_everything(trial.seed)
    model = backbones.create(
        trial.backbone,
        len(task.classes),
        drop_path=trial.protocol.drop_path,
        image_size=task.split(trial.fit).images.shape[1],
    )
    if trial.head == "zero_shot":
        head: nn.Linear = model.get_classifier()  # type: ignore[operator]
        weight, bias = backbones.zero_shot_head(trial.backbone, task.classes)
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)
    known = backbones.info(trial.backbone)
    plain = trial.protocol.normalisation == "none"
    normalise = (
        training.Normalisation((0.0,) * 3, (1.0,) * 3) if plain else training.Normalisation(known.mean, known.std)
    )
    model.to(device)
    train = training.to_tensor(task.split(trial.fit).images, torch.device(device))
    labels = torch.from_numpy(task.split(trial.fit).labels).to(device)
    # Shuffled: what a method learns of a batch (GPS contrasts its images) must not depend on how the task is sorted.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(trial.seed)).to(device)
    data = ((normalise(train[i]), labels[i]) for i in order.split(trial.protocol.batch_size))
    methods.create(trial.method, **trial.hyperparameters).apply(model, data)
    return model, normalise


def fit(model: nn.Module, trial: Trial, task: Task, normalise: training.Normalisation) -> list[dict[str, float]]:
    """Train `model`, as `build` made it, in place: the curve, a row an epoch, in a search with validation's figures."""

    def look_at_val() -> dict[str, float]:
        result = training.score(training.predict(model, task.val, normalise), task.val.labels)
        return {"val_accuracy": result["accuracy"], "val_loss": result["loss"]}

    return training.fit(
        model,
        methods.trainable_parameters(model, classifier=True),
        task.split(trial.fit),
        trial.protocol,
        lr=trial.lr,
        weight_decay=trial.weight_decay,
        normalise=normalise,
        order=trial.seed,
        after_epoch=look_at_val if trial.kind == "trial" else dict,
    )


def _looked_at(trial: Trial, task: Task) -> list[str]:
    return ["val"] if trial.kind == "trial" else ["test", *trial.keep.shifts_of(tuple(task.shifts))]


def _count(model: nn.Module) -> dict[str, int]:
    """Numbers tuned in the backbone, in the classifier, and all that the model has (in numbers, not bytes)."""
    tuned = methods.trainable_parameters(model)
    both = methods.trainable_parameters(model, classifier=True)
    sizes = {name: p.numel() for name, p in both.items()}
    return {
        "tuned": sum(sizes[name] for name in tuned),
        "classifier": sum(size for name, size in sizes.items() if name not in tuned),
        "model": sum(p.numel() for p in model.parameters()),
    }


# --------------------------------------------------------------------------------------------------------- environment


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("petl_study", "torch", "timm", "numpy", "optuna")}


def _environment(device: str) -> dict[str, Any]:
    kind = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    versions = {"python": platform.python_version(), **_versions()}
    return {"versions": versions, "device": device, "hardware": kind, "threads": torch.get_num_threads()}


def _restart_peak_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:  # Linux lets a process restart the count of its own peak; elsewhere it is the peak since the process began
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device: str) -> int:
    """Bytes: allocated on the GPU, or resident in this process on a CPU, at the most since `_restart_peak_memory`."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
