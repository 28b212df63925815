"""``petl-study plan``: what a study will take on this machine, said before anything of it is run.

Counts are exact: trials, final runs, images through the model, and floating-point operations. Hours are these counts
times what an image cost in a calibration of some ten seconds (see `calibration`). What a process computes once of a
frozen backbone (`frozen.cut`) is counted as it is run: once for every set of images and worker.

Not in it: images that are decoded for the first time, storing, workers that slow each other, trials that fail.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from petl_study import calibration, memory, tasks
from petl_study.bench import machine, turns
from petl_study.calibration import Cost
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.plan import Plan
from petl_study.spec import StudySpec
from petl_study.store import KINDS, ZERO_SHOT, Study, furthest
from petl_study.tasks import Source, Split


@dataclass(frozen=True)
class Sizes:
    """Examples of a task: of its splits, and of all the sets together that a final run looks at."""

    train: int
    val: int
    looked_at: int


@dataclass
class Stored:
    """What a begun study has of a method on a task: trials, the epochs that they were trained for, and final runs."""

    trials: int = 0
    epochs: int = 0
    runs: int = 0


@dataclass
class Row:
    """What is left of a method on all tasks; of `trials` and `runs`, all there are, `stored` are done.

    Attributes
    ----------
    images : int
        Through the backbone, on all ways there; of one that is cut, those that its frozen part is computed of.
    flops : float
    hours : float
        Of one worker; NaN as None where the method has no meaning on the backbone, for the `reason`.
    saved_hours : float
        That it would take more if a frozen backbone were computed in every step.
    peak_bytes : int
        Of one worker.
    timed : bool
        Whether its own steps were on the clock.
    """

    method: str
    trials: int
    runs: int
    stored: int
    images: int
    flops: float
    hours: float
    saved_hours: float
    peak_bytes: int
    timed: bool
    hyperparameters: dict[str, Any]
    reason: str


def show(study: StudySpec, out: Path, *, workers: int, threads: int, device: str, as_json: bool) -> int:
    """Calibrate, and print what `study` will take without what is stored of it at `out`."""
    stored = done(study, out)
    with turns.threads(threads):
        told = forecast(study, stored, workers=workers, device=device)
    if as_json:
        print(json.dumps(told, indent=1))  # noqa: T201
    else:
        _print(told)
    return 0


def forecast(study: StudySpec, stored: dict[tuple[str, str], Stored], *, workers: int, device: str) -> dict[str, Any]:
    """What `study` will take, as JSON content: `rows`, one a method, and their sums.

    Parameters
    ----------
    stored : dict
        What is done already, by task and method; as from `done`.
    """
    sizes = {task.name: size_of(study, task) for task in study.tasks}
    base = _resident(device)
    started = time.perf_counter()
    *costs, plain = calibration.costs(study, len(tasks.info(study.tasks[0]).classes), device)
    taken = time.perf_counter() - started
    cores = int(machine.computer()["cores"])
    at_once = workers if device.startswith("cuda") else min(workers, max(1, cores // torch.get_num_threads()))
    rows = [_row(study, cost, sizes, stored, at_once, base) for cost in costs]
    if study.zero_shot_tasks:
        rows.append(_zero_shot(study, plain, sizes, stored, base))
    peak, hours = max(row.peak_bytes for row in rows), sum(row.hours for row in rows)
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("trials", "runs", "stored", "images", "flops")}
    return {
        "study": study.name,
        "backbone": study.backbone,
        "protocol": study.protocol.model_dump(),
        "tasks": {name: asdict(size) for name, size in sizes.items()},
        "workers": workers,
        "workers_that_have_a_core": at_once,
        "rows": [asdict(row) for row in rows],
        **counts,
        "worker_hours": hours,
        "hours": hours / at_once,
        "saved_worker_hours": sum(row.saved_hours for row in rows),
        "peak_bytes_of_a_worker": peak,
        "peak_bytes": peak * workers,
        "calibration_seconds": taken,
        "environment": machine.describe(device),
    }


def done(study: StudySpec, out: Path) -> dict[tuple[str, str], Stored]:
    """What is stored at `out` of `study`, by task and method; nothing where no study was begun.

    Raises
    ------
    InputError
        `out` belongs to another study.
    """
    if not (out / "study.json").exists():
        return {}
    begun = Study.open(out)
    if {**begun.spec, "zero_shot": None} != {**study.model_dump(), "zero_shot": None}:
        raise InputError(
            f"{out} belongs to another study, {begun.spec.get('name')!r}, or to this one as its file was before."
            " Choose another --out."
        )
    found: dict[tuple[str, str], Stored] = {}
    for entry in furthest(entry for kind in KINDS[:2] for entry in begun.entries(kind)):
        of = found.setdefault((entry.task, entry.method), Stored())
        if entry.kind == "run":
            of.runs += 1
        else:
            of.trials += 1
            of.epochs += entry.epochs
    return found


def size_of(study: StudySpec, source: Source) -> Sizes:
    """Examples of a task; images are neither decoded nor, where its sizes are known without, made."""
    shifts = study.keep.shifts_of(tasks.info(source).shift_sets)
    if (known := tasks.expected_sizes(source)) and not source.shifts:
        train, val, test = known
        return Sizes(train, val, test * (1 + len(shifts)))
    task = tasks.load(source)
    made = [task.shifts.get(name) for name in shifts]
    looked_at = [len(one) if isinstance(one, Split) else len(task.test) for one in made]
    return Sizes(len(task.train), len(task.val), len(task.test) + sum(looked_at))


# --------------------------------------------------------------------------------------------------------------- parts


def _resident(device: str) -> int:
    if device.startswith("cuda"):
        return 0
    memory.restart_peak()
    return memory.peak()


def _row(
    study: StudySpec,
    cost: Cost,
    sizes: dict[str, Sizes],
    stored: dict[tuple[str, str], Stored],
    at_once: int,
    base: int,
) -> Row:
    plan, epochs = Plan(study.model_dump()), study.protocol.epochs
    legs, trials = plan.legs(cost.method), plan.trials(cost.method)
    row = Row(
        cost.method, trials * len(sizes), plan.runs * len(sizes), 0, 0, 0.0, 0.0, 0.0, base + cost.held_bytes,
        cost.timed, cost.hyperparameters, cost.reason,
    )  # fmt: skip
    for task, size in sizes.items():
        had = stored.get((task, cost.method), Stored())
        row.stored += had.trials + had.runs
        # Once there is a final run the search is over, whatever it stopped or lost.
        searched = 0 if had.runs else max(0, sum(legs) - had.epochs)
        models = 0 if had.runs else max(0, trials - had.trials)
        runs = plan.runs - had.runs
        trained = size.train * searched + (size.train + size.val) * epochs * runs
        asked = size.val * searched + size.looked_at * runs
        seconds = trained * cost.train.seconds + asked * cost.ask.seconds + (models + runs) * cost.build_seconds
        flops, images = trained * cost.train.flops + asked * cost.ask.flops, trained + asked
        if cost.before and (models or runs):
            sets = size.train + size.val + (size.looked_at if runs else 0)
            images = sets * min(at_once, models + runs)  # every worker keeps its own
            flops += images * cost.before.flops
            seconds += images * cost.before.seconds
            row.saved_hours += (trained + asked - images) * cost.before.seconds / 3600
        if not cost.reason:
            row.images, row.flops, row.hours = row.images + images, row.flops + flops, row.hours + seconds / 3600
    return row


def _zero_shot(
    study: StudySpec, plain: Cost, sizes: dict[str, Sizes], stored: dict[tuple[str, str], Stored], base: int
) -> Row:
    names = study.zero_shot_tasks
    left = [name for name in names if not stored.get((name, ZERO_SHOT), Stored()).runs]
    images = sum(sizes[name].looked_at + sizes[name].val for name in left)
    hours = (images * plain.ask.seconds + len(left) * plain.build_seconds) / 3600
    return Row(
        ZERO_SHOT, 0, len(names), len(names) - len(left), images, images * plain.ask.flops, hours, 0.0,
        base + plain.held_bytes, True, {}, "",
    )  # fmt: skip


def _print(told: dict[str, Any]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, title in enumerate(("method", "trials", "runs", "stored", "images", "PFLOP", "hours", "GB", "seconds from")):
        table.add_column(title, justify="right" if 0 < i < 8 else "left")
    for row in told["rows"]:
        counts = [f"{row[name]:,}" for name in ("trials", "runs", "stored", "images")]
        source = "no cost: see below" if row["reason"] else "its steps" if row["timed"] else "its operations"
        figures = f"{row['flops'] / 1e15:,.3g}", f"{row['hours']:,.3g}", f"{row['peak_bytes'] / 1e9:.2f}"
        table.add_row(row["method"], *counts, *figures, source)
    together = [f"{told[name]:,}" for name in ("trials", "runs", "stored", "images")]
    table.add_row(
        "together", *together, f"{told['flops'] / 1e15:,.3g}", f"{told['worker_hours']:,.3g}",
        f"{told['peak_bytes_of_a_worker'] / 1e9:.2f}", "", style="bold",
    )  # fmt: skip
    out.print(table)
    lines = [row["reason"] for row in told["rows"] if row["reason"]]
    if told["saved_worker_hours"]:
        lines.append(
            "What is frozen in front of all that learns is computed once for every set of images and worker: that"
            f" saves {told['saved_worker_hours']:,.3g} hours of a worker."
        )
    few = told["workers_that_have_a_core"]
    crowded = f", of which the cores are enough for {few}" if few < told["workers"] else ""
    where = told["environment"]
    lines.append(
        f"{told['hours']:,.3g} hours and {told['peak_bytes'] / 1e9:.2f} GB with {told['workers']} worker(s){crowded} of"
        f" {where['threads']} thread(s), {where['device']}, {where['processor']}; from"
        f" {told['calibration_seconds']:.0f} seconds of calibration."
    )
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
