"""``petl-study bench engines``: what a trial costs beside its training, from the search that asks for it to its record.

A whole study runs, whose trials train nothing: they say an accuracy at once, and store it or not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from petl_study import engines, methods, runner, spec, store
from petl_study.bench import machine, output
from petl_study.console import console
from petl_study.engines import Cluster, Engine
from petl_study.errors import InputError
from petl_study.spec import StudySpec
from petl_study.store import Record, Study
from petl_study.trials import Trial

IDENTITY = ("engine", "stored")
A_SEARCH = 400  # trials of a method at the most: a grid of 20 learning rates and 20 weight decays
# Engines and their results: where the ray engine's workers store them, or the driver does.
WAYS = ("serial", "processes", "ray", "ray --results driver")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=1000, help="of a study, about (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="trials at once (default: %(default)s)")
    parser.add_argument(
        "--engines",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=["serial", "processes", "ray"],
        metavar="NAMES",
        help="which: serial, processes, ray (default: all)",
    )
    parser.add_argument("--directory", type=Path, help="on which disk studies go for the time being (default: /tmp)")
    output.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    for name in ("trials", "workers"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be a whole number of at least 1, got {getattr(options, name)}.")
    if options.directory and not options.directory.is_dir():
        raise InputError(f"--directory {options.directory} is no directory. Give one that is there.")
    for name in options.engines:
        if name not in engines.ENGINES:
            raise InputError(f"--engines: there is no engine {name!r}; known: {', '.join(engines.ENGINES)}.")
    before = output.earlier(options, "engines")
    result = measure(options.trials, options.workers, options.engines, options.directory)
    show(result)
    output.deliver(result, before, options, IDENTITY)
    return 0


def measure(trials: int, workers: int, names: list[str], directory: Path | None = None) -> dict[str, Any]:
    """Seconds of whole studies, the start of workers aside: of the wall clock, and of this process's own work."""
    study = _study(trials)
    rows = [
        _row(study, way, stored, workers, directory)
        for way in WAYS
        if way.split()[0] in names
        for stored in (False, True)
        if stored or not way.endswith("driver")  # what is sent is files
    ]
    return {
        "bench": "engines",
        "trials": trials,
        "workers": workers,
        "clock": "wall clock",
        "environment": machine.describe(),
        "rows": rows,
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(("engine", "records", "trials", "seconds in all", "ms a trial", "of them the driver's")):
        table.add_column(column, justify="right" if i > 1 else "left")
    for row in result["rows"]:
        table.add_row(
            row["engine"],
            row["stored"],
            f"{row['trials']:,}",
            f"{row['seconds']:.1f}",
            f"{1000 * row['seconds_each']:.2f}",
            f"{1000 * row['driver_seconds_each']:.2f}",
        )
    out.print(table)
    out.print(
        f"trials that train nothing, {result['workers']} at once (serial: one), {result['environment']['processor']},"
        f" {result['clock']}; the driver's: processor time of this process",
        markup=False, highlight=False,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


class _Silent:
    def started(self, trial: Trial) -> None: ...

    def finished(self, trial: Trial, record: Record, stored_before: bool) -> None: ...

    def without_result(self, task: str, method: str, trials: int) -> None: ...


def _study(trials: int) -> StudySpec:
    """A study of about so many trials, final runs among them."""
    count = -(-trials // A_SEARCH)
    each = -(-trials // count)
    rates = np.geomspace(1e-5, 1e-1, 20).round(8).tolist()
    names = [name for name in methods.list_methods() if ":" not in name]
    if count > len(names):
        raise InputError(f"--trials must be at most {A_SEARCH * len(names)}, got {trials}.")
    return spec.resolve(
        {
            "name": "bench",
            "backbone": "micro_vit",
            "tasks": ["digits"],
            "methods": [{name: {}} for name in names[:count]],
            "protocol": "embedded",
            "search": {"trials": each, "lr": rates, "weight_decay": rates},
            "seeds": [0],
        }
    )


def _row(study: StudySpec, way: str, stored: bool, workers: int, directory: Path | None) -> dict[str, Any]:
    name, *driver = way.split(" --results ")
    cluster = Cluster(results="driver" if driver else "shared") if name == "ray" else None
    engine: Engine = engines.create(name, workers=workers, threads=1, device="cpu", cluster=cluster)
    engine.work = _stored if stored else _said
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-", dir=directory) as place, engine:
        _warm_up(study, engine, Path(place) / "warm")
        began, worked = time.perf_counter(), time.process_time()
        trained = runner.run(study, Path(place) / "study", engine, _Silent()).trained
        seconds, driver_seconds = time.perf_counter() - began, time.process_time() - worked
    return {
        "engine": way,
        "stored": "stored" if stored else "in memory",
        "trials": trained,
        "seconds": seconds,
        "seconds_each": seconds / trained,
        "driver_seconds_each": driver_seconds / trained,
    }


def _warm_up(study: StudySpec, engine: Engine, directory: Path) -> None:
    """Have workers started and the task's fingerprint known."""
    first = study.model_copy(update={"methods": study.methods[:1]})
    small = first.model_copy(update={"search": first.search.model_copy(update={"trials": 2 * engine.capacity})})
    runner.run(small, directory, engine, _Silent())


def _said(trial: Trial, directory: Path, device: str) -> Record:
    """A record of `trial` that is nowhere."""
    header = _header(trial)
    return Record(Study(directory).directory(trial.kind, header["spec"]), header)


def _stored(trial: Trial, directory: Path, device: str) -> Record:
    header = _header(trial)
    return store.write(Study(directory).directory(trial.kind, header["spec"]), header)


def _header(trial: Trial) -> dict[str, Any]:
    of = "val" if trial.kind == "trial" else "test"
    return {
        "kind": trial.kind,
        "status": "finished",
        "error": None,
        "study": {"name": trial.study},
        "spec": trial.spec,
        "curve": [],
        "results": {of: {"accuracy": 0.5, "loss": trial.lr, "examples": 0}},
        "cost": {},
    }
