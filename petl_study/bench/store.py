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
from petl_study.bench import large_store, machine, output
from petl_study.bench.headers import CLASSES, EXAMPLES, header
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.store import Study

IDENTITY = ("what",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=0, help="also list a study of so many runs (default: none)")
    parser.add_argument("--trials", type=int, default=0, help="and so many trials beside them (default: none)")
    parser.add_argument("--directory", type=Path, help="on which disk they go for the time being (default: /tmp)")
    output.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if options.records < 1:
        raise InputError(f"--records must be a whole number of at least 1, got {options.records}.")
    if options.runs < 0 or options.trials < 0 or bool(options.runs) != bool(options.trials):
        raise InputError(
            "--runs and --trials must both be whole numbers of at least 1, or both be left out; got"
            f" {options.runs} and {options.trials}."
        )
    if options.directory and not options.directory.is_dir():
        raise InputError(f"--directory {options.directory} is no directory. Give one that is there.")
    before = output.earlier(options, "store")
    result = measure(options.records, options.directory)
    if options.runs:
        result["rows"] += large_store.measure(options.runs, options.trials, options.directory)
    show(result)
    output.deliver(result, before, options, IDENTITY)
    return 0


def measure(records: int, directory: Path | None = None) -> dict[str, Any]:
    """Seconds of every operation over all records, one after the other, on the clock on the wall: disks take time."""
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-", dir=directory) as place:
        study = Study.create(Path(place) / "study", {"name": "bench"})
        headers = [header(number) for number in range(records)]
        rng = np.random.default_rng(0)
        logits = {"test": rng.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)}
        ids = np.array([f"test/{number:04d}" for number in range(EXAMPLES)])
        examples = {"test": (ids, rng.integers(CLASSES, size=EXAMPLES))}
        places = [study.directory("run", said["spec"]) for said in headers]

        def write() -> None:
            for where, said in zip(places, headers, strict=True):
                store.write(where, said, logits=logits, examples=examples)

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
    for i, column in enumerate(("what", "records", "ms a record", "seconds in all")):
        table.add_column(column, justify="right" if i else "left")
    for row in result["rows"]:
        table.add_row(row["what"], f"{row['records']:,}", f"{1000 * row['seconds_each']:.3f}", f"{row['seconds']:.2f}")
    out.print(table)
    out.print(
        f"records of {result['examples']} x {result['classes']} logits,"
        f" {result['environment']['processor']}, {result['clock']}",
        markup=False, highlight=False,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _row(what: str, work: Callable[[], object], records: int) -> dict[str, Any]:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"what": what, "records": records, "seconds": seconds, "seconds_each": seconds / records}
