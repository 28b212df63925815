"""Headers of records that nothing was trained for, in the length that a run's and a trial's have."""

from __future__ import annotations

from typing import Any

from petl_study import store
from petl_study.store import Kind

EXAMPLES, CLASSES = 200, 10  # of a record: what validation of an embedded task has
TASKS, METHODS, EPOCHS = 6, 25, 40


def header(number: int, kind: Kind = "run") -> dict[str, Any]:
    """What a final run or a search trial would say."""
    looked_at = "test" if kind == "run" else "val"
    spec = {
        "kind": kind,
        "task": f"task_{number % TASKS}",
        "data": store.fingerprint(number % TASKS),
        "backbone": "micro_vit",
        "weights": store.fingerprint("weights"),
        "method": f"method_{number // TASKS % METHODS}",
        "hyperparameters": {"rank": 8},
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "head": "new",
        "protocol": {"name": "bench", "epochs": EPOCHS, "batch_size": 64},
        "seeds": {"init": number, "order": number, "sampling": 0},
        "fit": "trainval" if kind == "run" else "train",
    }
    row = {"lr": 1e-3, "train_loss": 0.5, "train_accuracy": 0.9, **({} if kind == "run" else {"val_accuracy": 0.8})}
    selected = {"trial": "0" * 16, "path": "", "val_accuracy": 0.9, "trials": 4, "failed": 0}
    return {
        "kind": kind,
        "status": "finished",
        "error": None,
        "study": {"name": "bench"},
        "spec": spec,
        "task": {"group": "natural", "classes": [f"class {c}" for c in range(CLASSES)], "train_examples": 1000},
        "environment": {"versions": {}, "device": "cpu", "hardware": "x86_64", "threads": 1},
        "parameters": {"tuned": 1000, "classifier": 970, "model": 700_000},
        "curve": [{"epoch": epoch + 1, **row} for epoch in range(EPOCHS)],
        "cost": {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_memory_bytes": 1, "tuned_bytes": 1},
        **({"selected": selected} if kind == "run" else {}),
        "results": {looked_at: {"accuracy": 0.1, "loss": 2.5, "examples": EXAMPLES}},
    }


def plan(runs: int, trials: int) -> dict[str, Any]:
    """The study file of so many runs and trials of every method on every task."""
    return {
        "name": "bench",
        "tasks": [f"task_{number}" for number in range(TASKS)],
        "methods": [{"name": f"method_{number}", "space": {}} for number in range(METHODS)],
        "search": {"sampler": "random", "trials": trials, "lr": [1e-3], "weight_decay": [1e-4]},
        "seeds": list(range(runs)),
        "protocol": {"name": "bench", "epochs": EPOCHS},
    }
