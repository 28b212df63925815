"""A small study as the runner would leave it, made of drawn logits instead of trained models: written in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_study.store import Study, fingerprint, key_of, write

GROUPS = {"digits": "natural", "letters": "natural", "textures": "specialized", "count": "structured"}
CLASSES = {"digits": 10, "letters": 8, "textures": 6, "count": 4}
SHIFTED = ("digits", "letters")
KINDS = ("noise", "blur", "polarity")
SEVERITIES = (1, 2, 3)
METHODS = {"linear": 0, "full": 900_000, "bitfit": 4_000, "lora": 12_000, "ssf": 6_000}  # tuned parameters
SKILL = {"linear": 1.6, "full": 2.6, "bitfit": 2.2, "lora": 2.5, "ssf": 2.4}  # mean logit of the true class
PROTOCOL = {"name": "synthetic", "epochs": 10, "batch_size": 64, "final_fit": "trainval"}
FAILED = ("count", "full", 1)  # task, method, seed of the run that failed


def write_study(
    path: Path,
    *,
    name: str = "synthetic",
    tasks: Sequence[str] = tuple(GROUPS),
    methods: Sequence[str] = tuple(METHODS),
    seeds: Sequence[int] = (0, 1),
    examples: int = 200,
    protocol: Mapping[str, Any] = PROTOCOL,
    failed: tuple[str, str, int] | None = FAILED,
    draw: int = 0,
) -> Path:
    """Write a study of `methods` on `tasks` under `path`, and return `path`.

    Parameters
    ----------
    examples : int
        Examples of ``test`` and of every shift set of a task in `SHIFTED`; ``val`` has a quarter.
    failed : (task, method, seed), optional
        The run that is stored as failed; a trial of the same task and method failed, too.
    draw : int
        Seed of everything drawn: labels, logits and the data's fingerprint.
    """
    study = Study.create(path, {"name": name, "tasks": list(tasks), "methods": list(methods), "seeds": list(seeds)})
    for task in tasks:
        for method in methods:
            winner = _write_trials(study, name, task, method, examples // 4, protocol, failed, draw)
            for seed in seeds:
                _write_run(
                    study, name, task, method, seed, examples, protocol, failed == (task, method, seed), winner, draw
                )
    return path


def _write_trials(
    study: Study,
    name: str,
    task: str,
    method: str,
    examples: int,
    protocol: Mapping[str, Any],
    failed: tuple[str, str, int] | None,
    draw: int,
) -> dict[str, Any]:
    """The trials of one search; returns what a run says of the best: its key, hyperparameters and logits."""
    best: dict[str, Any] = {"val_accuracy": -1.0}
    rates = (1e-3, 1e-2, 1e-1)
    for rate in rates:
        diverged = failed is not None and (task, method) == failed[:2] and rate == rates[-1]
        spec = _spec(task, method, 0, protocol, draw) | {"lr": rate, "fit": "train"}
        header = _header(name, "trial", spec, method)
        if diverged:
            _write_failed(study, header)
            continue
        labels = _labels(task, examples, draw, "val")
        logits = _logits(labels, task, method, SKILL[method] - 4 * rate, draw, f"val-{rate}")
        header["results"] = {"val": _score(logits, labels)}
        write(
            study.directory("trial", spec),
            header,
            logits={"val": logits},
            examples={"val": (_ids("val", labels), labels)},
        )
        if header["results"]["val"]["accuracy"] > best["val_accuracy"]:
            best = {
                "trial": key_of(spec),
                "val_accuracy": header["results"]["val"]["accuracy"],
                "lr": rate,
                "logits": logits,
            }
    return best | {"trials": len(rates), "failed": int(failed is not None and (task, method) == failed[:2])}


def _write_run(
    study: Study,
    name: str,
    task: str,
    method: str,
    seed: int,
    examples: int,
    protocol: Mapping[str, Any],
    fails: bool,
    winner: Mapping[str, Any],
    draw: int,
) -> None:
    spec = _spec(task, method, seed, protocol, draw) | {"lr": winner["lr"], "fit": "trainval"}
    header = _header(name, "run", spec, method)
    header["selected"] = {key: winner[key] for key in ("trial", "val_accuracy", "trials", "failed")}
    if fails:
        _write_failed(study, header)
        return
    on_val, on_test = _labels(task, examples // 4, draw, "val"), _labels(task, examples, draw, "test")
    logits = {"val": winner["logits"], "test": _logits(on_test, task, method, SKILL[method], draw, f"test-{seed}")}
    seen = {"val": (_ids("val", on_val), on_val), "test": (_ids("test", on_test), on_test)}
    for kind in KINDS if task in SHIFTED else ():
        for severity in SEVERITIES:
            skill = SKILL[method] * (1 - 0.15 * severity - 0.1 * KINDS.index(kind))
            logits[f"{kind}:{severity}"] = _logits(on_test, task, method, skill, draw, f"{kind}-{severity}-{seed}")
            seen[f"{kind}:{severity}"] = seen["test"]
    header["results"] = {set_: _score(said, seen[set_][1]) for set_, said in logits.items()}
    header["curve"] = [
        {"epoch": e + 1, "lr": 1e-3, "train_loss": 1 / (e + 1), "train_accuracy": 1 - 0.5 / (e + 1)} for e in range(10)
    ]
    tensors = {"head.weight": _rng(draw, task, method, seed).normal(size=(CLASSES[task], 4)).astype(np.float32)}
    write(study.directory("run", spec), header, logits=logits, examples=seen, tensors=tensors)


def _spec(task: str, method: str, seed: int, protocol: Mapping[str, Any], draw: int) -> dict[str, Any]:
    return {
        "task": task,
        "data": fingerprint([task, draw]),
        "backbone": "micro_vit",
        "weights": fingerprint("weights"),
        "method": method,
        "hyperparameters": {"rank": 8} if method == "lora" else {},
        "weight_decay": 1e-4,
        "head": "new",
        "protocol": dict(protocol),
        "seeds": {"init": seed, "order": seed, "sampling": seed},
    }


def _header(name: str, kind: str, spec: Mapping[str, Any], method: str) -> dict[str, Any]:
    task = spec["task"]
    return {
        "kind": kind,
        "status": "finished",
        "error": None,
        "study": {"name": name},
        "spec": spec,
        "task": {
            "group": GROUPS[task],
            "classes": [f"class {c}" for c in range(CLASSES[task])],
            "train_examples": 1000,
        },
        "results": {},
        "parameters": {"tuned": METHODS[method], "classifier": 193 * CLASSES[task], "model": 1_000_000},
        "cost": {
            "fit_seconds": 3.0 + METHODS[method] / 1e6,
            "predict_seconds": 0.5,
            "peak_memory_bytes": 400_000_000 + METHODS[method],
            "tuned_bytes": 4 * (METHODS[method] + 193 * CLASSES[task]),
        },
        "curve": [],
        "environment": {"petl_study": "0", "torch": "0"},
    }


def _write_failed(study: Study, header: dict[str, Any]) -> None:
    failure = {
        "status": "failed",
        "error": {"kind": "Diverged", "message": "the training loss became nan in epoch 3 of 10"},
    }
    write(study.directory(header["kind"], header["spec"]), {**header, **failure, "results": {}})


def _rng(*name: object) -> np.random.Generator:
    return np.random.default_rng(int(fingerprint([str(part) for part in name])[:16], 16))


def _labels(task: str, examples: int, draw: int, split: str) -> NDArray[np.int64]:
    return _rng(draw, task, split).integers(CLASSES[task], size=examples)


def _ids(split: str, labels: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.array([f"{split}/{number:05d}" for number in range(len(labels))])


def _logits(
    labels: NDArray[np.int64], task: str, method: str, skill: float, draw: int, what: str
) -> NDArray[np.float32]:
    """(N, C): how hard an example is is the same for every method; the rest is the method's own, or the seed's."""
    shape = (len(labels), CLASSES[task])
    hard = _rng(draw, task, len(labels)).normal(size=shape)
    logits = (
        0.7 * hard
        + 0.5 * _rng(draw, task, method).normal(size=shape)
        + 0.5 * _rng(draw, task, method, what).normal(size=shape)
    )
    logits[np.arange(len(labels)), labels] += skill
    return (2 * logits).astype(np.float32)


def _score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    wide = logits.astype(np.float64)
    true = wide[np.arange(len(labels)), labels]
    loss = np.log(np.exp(wide).sum(axis=1)) - true
    return {"accuracy": float((logits.argmax(1) == labels).mean()), "loss": float(loss.mean()), "examples": len(labels)}
