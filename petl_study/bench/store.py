"""``petl-study bench store``: what it takes to write, read and list small records, and to load them as a table."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import analysis
from petl_study import store
from petl_study.bench import machine, output
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.store import Study

IDENTITY = ("what",)
EXAMPLES, CLASSES = 200, 10  # of a record: what validation of an embedded task has


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--directory", type=Path, help="on which disk they go for the time being (default: /tmp)")
    output.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if options.records < 1:
        raise InputError(f"--records must be a whole number of at least 1, got {options.records}.")
    if options.directory and not options.directory.is_dir():
        raise InputError(f"--directory {options.directory} is no directory. Give one that is there.")
    before = output.earlier(options, "store")
    result = measure(options.records, options.directory)
    show(result)
    output.deliver(result, before, options, IDENTITY)
    return 0


def measure(records: int, directory: Path | None = None) -> dict[str, Any]:
    """Seconds of every operation over all records, one after the other, on the clock on the wall: disks take time."""
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-", dir=directory) as place:
        study = Study.create(Path(place) / "study", {"name": "bench"})
        headers = [_header(number) for number in range(records)]
        rng = np.random.default_rng(0)
        logits = {"test": rng.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)}
        ids = np.array([f"test/{number:04d}" for number in range(EXAMPLES)])
        examples = {"test": (ids, rng.integers(CLASSES, size=EXAMPLES))}
        places = [study.directory("run", header["spec"]) for header in headers]

        def write() -> None:
            for where, header in zip(places, headers, strict=True):
                store.write(where, header, logits=logits, examples=examples)

        def logits_of_all() -> None:
            for where in places:
                store.read(where).logits("test")

        works: dict[str, Callable[[], object]] = {
            "write, synced to the disk": write,
            "read the header": lambda: [store.read(where) for where in places],
            "read header and logits, checked": logits_of_all,
            "list, headers read": lambda: list(study.records("run")),
            "load_runs": lambda: analysis.load_runs(study.path),
        }
        rows = [_row(what, work, records) for what, work in works.items()]
    return {
        "bench": "store",
        "records": records,
        "examples": EXAMPLES,
        "classes": CLASSES,
        "clock": "wall clock",
        "environment": machine.describe(),
        "rows": rows,
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(("what", "ms a record", "seconds in all")):
        table.add_column(column, justify="right" if i else "left")
    for row in result["rows"]:
        table.add_row(row["what"], f"{1000 * row['seconds_each']:.3f}", f"{row['seconds']:.2f}")
    out.print(table)
    out.print(
        f"{result['records']:,} records of {result['examples']} x {result['classes']} logits,"
        f" {result['environment']['processor']}, {result['clock']}",
        markup=False, highlight=False,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _row(what: str, work: Callable[[], object], records: int) -> dict[str, Any]:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"what": what, "seconds": seconds, "seconds_each": seconds / records}


def _header(number: int) -> dict[str, Any]:
    """What a final run would say, in the length that it has."""
    spec = {
        "kind": "run",
        "task": f"task_{number % 6}",
        "data": store.fingerprint(number % 6),
        "backbone": "micro_vit",
        "weights": store.fingerprint("weights"),
        "method": f"method_{number // 6 % 25}",
        "hyperparameters": {"rank": 8},
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "head": "new",
        "protocol": {"name": "bench", "epochs": 40, "batch_size": 64},
        "seeds": {"init": number, "order": number, "sampling": 0},
        "fit": "trainval",
    }
    row = {"lr": 1e-3, "train_loss": 0.5, "train_accuracy": 0.9}
    return {
        "kind": "run",
        "status": "finished",
        "error": None,
        "study": {"name": "bench"},
        "spec": spec,
        "task": {"group": "natural", "classes": [f"class {c}" for c in range(CLASSES)], "train_examples": 1000},
        "environment": {"versions": {}, "device": "cpu", "hardware": "x86_64", "threads": 1},
        "parameters": {"tuned": 1000, "classifier": 970, "model": 700_000},
        "curve": [{"epoch": epoch + 1, **row} for epoch in range(40)],
        "cost": {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_memory_bytes": 1, "tuned_bytes": 1},
        "selected": {"trial": "0" * 16, "path": "", "val_accuracy": 0.9, "trials": 4, "failed": 0},
        "results": {"test": {"accuracy": 0.1, "loss": 2.5, "examples": EXAMPLES}},
    }
