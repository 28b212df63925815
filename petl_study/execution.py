"""What becomes of a trial: its training, what is asked of the model then, and the record of both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import nn

from petl_study import checkpoint, environment, failures, methods, models, places, privacy, store, tasks, training
from petl_study.checkpoint import Checkpoint
from petl_study.errors import InputError
from petl_study.learning import Learning
from petl_study.store import Record, Study
from petl_study.tasks import Split, Task
from petl_study.trials import Trial


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
    environment.restart_peak_memory(device)
    try:
        return _executed(trial, Study(directory), device, header)
    except (InputError, OSError):
        raise
    except Exception as error:
        why = failures.reason(error, environment.peak_memory(device))
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
        "environment": environment.described(device),
        "curve": [],
    }
    if places.here().compile:
        header["environment"]["compiled"] = True
    if places.here().lean:
        header["environment"]["lean"] = True
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
    model, normalise = models.build(trial, task, device)
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
        "peak_memory_bytes": environment.peak_memory(device),
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
