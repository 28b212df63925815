"""A stored record as a row of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from petl_study.errors import DamagedRecord
from petl_study.store import Record, fingerprint

Row = dict[str, Any]
T = TypeVar("T")

MADE_UNDER = ["protocol", "protocol_fingerprint", "data", "backbone", "weights", "head", "key", "study"]
MEASURED_ON = ["hardware", "device", "threads"]
MEASURED_SO = ["compiled", "lean"]  # what else changes times and memory, and no result
RUN = [
    *("task", "group", "method", "seed", "order_seed", "sampling_seed", "hyperparameters", "lr", "weight_decay"),
    *("test_accuracy", "test_loss", "test_examples", "val_accuracy", "val_loss", "val_examples", "train_examples"),
    *("tuned_parameters", "classifier_parameters", "model_parameters", "bytes"),
    *("fit_seconds", "predict_seconds", "peak_memory_bytes", "search_trials", "search_failed", "search_stopped"),
    *MEASURED_ON,
    *MEASURED_SO,
    *MADE_UNDER,
]
TRIAL = [
    *("task", "group", "method", "hyperparameters", "lr", "weight_decay", "status", "selected"),
    *("epochs", "val_accuracy", "val_loss", "val_examples", "best_val_accuracy", "stopped_val_accuracy", "classes"),
    *("tuned_parameters", "fit_seconds", "peak_memory_bytes"),
    *MEASURED_ON,
    *MEASURED_SO,
    *MADE_UNDER,
]
FAILURE = [
    *("kind", "task", "method", "seed", "hyperparameters", "lr", "weight_decay"),
    *("error", "reason", "key", "study"),
]
ACCURACY = [
    *("task", "group", "method", "seed", "set", "kind", "severity", "accuracy", "loss", "examples"),
    *MADE_UNDER,
]
ENSEMBLE = [
    *("task", "group", "method", "combine", "members", "size"),
    *("test_accuracy", "test_loss", "test_examples", "val_accuracy", "best_member_accuracy", "mean_member_accuracy"),
    *("tuned_parameters", "fit_seconds", "predict_seconds"),
    *MADE_UNDER,
]


def read_row(record: Record, read: Callable[[Record], T]) -> T:
    """`read(record)`; a header that is intact but lacks something was not written by this project's runner."""
    try:
        return read(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedRecord(
            f"{record.path / 'record.json'} is intact but not as this version writes it"
            f" ({type(error).__name__}: {error}). Read it with the version that wrote it, or move {record.path} away."
        ) from error


def run_row(record: Record) -> Row:
    header, spec = record.header, record.spec
    results, selected = header["results"], header.get("selected", {})
    return {
        **_trained(record),
        "order_seed": spec["seeds"]["order"],
        "sampling_seed": spec["seeds"]["sampling"],
        **_scores(results, "test"),
        "test_examples": results["test"]["examples"],
        **_scores(results, "val"),
        "val_examples": results.get("val", {}).get("examples"),
        "predict_seconds": header["cost"]["predict_seconds"],
        "search_trials": selected.get("trials"),
        "search_failed": selected.get("failed"),
        "search_stopped": selected.get("stopped", 0) if selected else None,
    }


def trial_row(record: Record) -> Row:
    header, results = record.header, {} if record.stopped else record.header["results"]
    seen = [row["val_accuracy"] for row in header.get("curve") or () if "val_accuracy" in row]
    return {
        **_trained(record),
        "status": header["status"],
        "epochs": record.epochs,
        **_scores(results, "val"),
        "val_examples": header["results"].get("val", {}).get("examples"),
        # A failed trial has no result, so the epochs before are none either.
        "best_val_accuracy": max(seen, default=None) if results else None,
        "stopped_val_accuracy": header["results"]["val"]["accuracy"] if record.stopped else None,
        "classes": len(header["task"]["classes"]),
    }


def _trained(record: Record) -> Row:
    """What trials and runs have in common; a failed one may have got nowhere near counting or timing."""
    header, spec = record.header, record.spec
    parameters, cost = header.get("parameters") or {}, header.get("cost") or {}
    machine = header.get("environment") or {}
    return {
        **_made_under(record),
        "seed": spec["seeds"]["init"],
        "train_examples": header["task"].get("train_examples"),
        "hyperparameters": spec["hyperparameters"],
        "lr": spec["lr"],
        "weight_decay": spec["weight_decay"],
        **{f"{part}_parameters": parameters.get(part) for part in ("tuned", "classifier", "model")},
        "bytes": cost.get("tuned_bytes"),
        "fit_seconds": cost.get("fit_seconds"),
        "peak_memory_bytes": cost.get("peak_memory_bytes"),
        **{name: machine.get(name) for name in MEASURED_ON},
        **{name: machine.get(name, False) for name in MEASURED_SO},
    }


def failure_row(record: Record) -> Row:
    error = record.header["error"] or {}
    told = {"kind": record.header["kind"], "error": error.get("kind"), "reason": error.get("message")}
    return {**_trained(record), **told}


def accuracy_rows(record: Record) -> list[Row]:
    common = {**_made_under(record), "seed": record.spec["seeds"]["init"]}
    return [
        {**common, "set": name, **dict(zip(("kind", "severity"), parse_set(name), strict=True)), **result}
        for name, result in record.header["results"].items()
    ]


def ensemble_row(record: Record) -> Row:
    header, members = record.header, record.header["members"]
    of_members = [member["accuracies"]["test"] for member in members]
    return {
        **_made_under(record),
        "seed": None,
        "combine": record.spec["combine"],
        "members": members,
        "size": len(members),
        **_scores(header["results"], "test"),
        "test_examples": header["results"]["test"]["examples"],
        **_scores(header["results"], "val"),
        "best_member_accuracy": max(of_members),
        "mean_member_accuracy": float(np.mean(of_members)),
        "tuned_parameters": header["parameters"]["tuned"],
        "fit_seconds": header["cost"]["fit_seconds"],
        "predict_seconds": header["cost"]["predict_seconds"],
    }


def _made_under(record: Record) -> Row:
    header, spec = record.header, record.spec
    return {
        "task": spec["task"],
        "group": header["task"]["group"],
        "method": spec["method"],
        "protocol": spec["protocol"]["name"],
        "protocol_fingerprint": fingerprint(spec["protocol"]),
        "data": spec["data"],
        "backbone": spec["backbone"],
        "weights": spec["weights"],
        "head": spec.get("head"),
        "key": record.key,
        "study": header["study"]["name"],
    }


def _scores(results: dict[str, Any], name: str) -> Row:
    of_set = results.get(name, {})
    return {f"{name}_accuracy": of_set.get("accuracy"), f"{name}_loss": of_set.get("loss")}


def parse_set(name: str) -> tuple[str, int | None]:
    """The kind and severity of a set of examples.

    >>> parse_set("noise:2"), parse_set("test"), parse_set("sketch")
    (('noise', 2), ('test', 0), ('sketch', None))
    """
    kind, colon, severity = name.rpartition(":")
    if colon and severity.isdigit():
        return kind, int(severity)
    return name, 0 if name == "test" else None
