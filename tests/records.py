"""Small records by the dozen."""

from __future__ import annotations

from typing import Any

import numpy as np

from petl_study import store
from petl_study.store import Kind, Record, Study

EXAMPLES = {"val": (np.array(["a", "b", "c"]), np.array([0, 1, 0]))}


def spec(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "task": f"task:{number % 3}",
        "method": f"method_{number % 2}",
        "lr": number / 10,
        "protocol": {"name": "made", "epochs": 8},
        **changes,
    }


def write(study: Study, number: int, kind: Kind = "trial", *, said: float = 0.0, **changes: Any) -> Record:
    """The record of trial `number`; what its logits are is `said`, and its header has `changes`."""
    told = spec(number, **changes.pop("spec", {}))
    logits = {"val": np.full((3, 2), said, np.float32)}
    epochs = told.get("until", 8)
    header = {
        "kind": kind,
        "status": "stopped" if "until" in told else "finished",
        "error": None,
        "spec": told,
        "curve": [{"epoch": epoch + 1, "train_loss": 1.0 / (epoch + 1)} for epoch in range(epochs)],
        "results": {"val": {"accuracy": said}},
        **changes,
    }
    return store.write(study.directory(kind, told), header, logits=logits, examples=EXAMPLES)
