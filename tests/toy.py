"""A task that trains in a blink: which of three colours. As a script: the command line with that task known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from petl_study import models, tasks
from petl_study.learning import Learning
from petl_study.protocols import Protocol
from petl_study.tasks import Split, TaskInfo
from petl_study.trials import Trial

CLASSES = ("red", "green", "blue")


def split(n: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 120, size=(n, 32, 32, 3)).astype(np.uint8)
    images[np.arange(n), :, :, labels] += 25
    return Split(images, labels, np.array([f"toy/{seed}/{i}" for i in range(n)]))


@tasks.register(
    TaskInfo("toy", "natural", CLASSES, "which channel is brighter", shift_sets=("contrast:1", "contrast:2"))
)
def make() -> tuple[Split, Split, Split]:
    return split(64, 0), split(32, 1), split(48, 2)


def study(**changes: object) -> dict[str, object]:
    """A study file's content on the toy task: 2 methods, 2 trials each, 2 seeds."""
    short = {"base": "embedded", "name": "blink", "epochs": 2, "warmup_epochs": 1, "batch_size": 16}
    return {
        "name": "toys",
        "backbone": "micro_vit",
        "tasks": ["toy"],
        "methods": ["bitfit", {"lora": {"rank": [1, 2]}}],
        "protocol": short,
        "search": {"trials": 2, "lr": [1e-3, 1e-2], "weight_decay": [1e-4]},
        "seeds": [0, 1],
        **changes,
    }


def trial(method: str = "linear", protocol: dict[str, object] | None = None, **changes: object) -> Trial:
    """A search trial of it under a protocol of three epochs, with `protocol` changed in that."""
    short = {"base": "embedded", "name": "blink", "epochs": 3, "warmup_epochs": 1, "batch_size": 16, **(protocol or {})}
    given = {"task": "toy", "backbone": "micro_vit", "method": method, "hyperparameters": {}, "lr": 1e-2}
    given |= {"weight_decay": 1e-4, "head": "new", "seed": 0, "fit": "train", "study": "s", **changes}
    return Trial(protocol=Protocol.model_validate(short), **given)


def learn(given: Trial) -> tuple[list[dict[str, float]], NDArray[np.floating], Learning]:
    """The curve of `given`, its logits on test, and what was trained."""
    task = tasks.load(given.data)
    model, normalise = models.build(given, task, "cpu")
    learner = Learning(model, given, task, normalise)
    return learner.fit(), learner.ask("test"), learner


if __name__ == "__main__":
    import sys

    from petl_study.cli import main

    sys.exit(main())
