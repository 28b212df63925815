"""``petl-study bench search``: what a search spends its time on, and what computing a frozen backbone once saves.

Three questions, each in a process of its own, as a worker of `run` begins with nothing kept:

    a trial         how much of it is building the model, data, steps, validation, storing; the first of a process
                    beside the following
    linear probing  its whole grid as `run` computes it, features once, beside every point through the backbone
    an epoch        of `training.fit`, beside its steps alone on batches that are there already
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.table import Table

from petl_study import backbones, environment, execution, frozen, methods, models, places, spec, store, tasks, training
from petl_study import search as searching
from petl_study.bench import machine, output, stopwatch, subjects, turns
from petl_study.bench.stopwatch import Place, Stopwatch
from petl_study.bench.turns import Clock
from petl_study.console import console
from petl_study.devices import require_device
from petl_study.errors import InputError
from petl_study.inputs import Normalisation, Pixels
from petl_study.learning import Learning
from petl_study.protocols import Protocol
from petl_study.spec import StudySpec
from petl_study.tasks import Task

IDENTITY = ("what",)
ONCE, EVERY = "linear grid, frozen part once", "linear grid, every point through the backbone"
EPOCH = "an epoch"
PARTS: dict[str, list[Place]] = {
    "data": [(tasks, "load"), (tasks, "fingerprint"), (Task, "split"), (Pixels, "__init__"), (Pixels, "__call__")],
    "build": [(models, "build")],
    "frozen part": [(frozen, "made"), (frozen, "cut")],
    "steps": [(training, "step")],
    "validation": [(training, "ask"), (training, "score")],
    "storing": [(store, "write")],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="digits", help="its name (default: %(default)s)")
    parser.add_argument("--backbone", default="micro_vit", help="its name (default: %(default)s)")
    parser.add_argument("--method", default="lora", help="of the trials and the epoch (default: %(default)s)")
    parser.add_argument("--protocol", default="embedded", help="how it is trained (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="other than the protocol's")
    parser.add_argument(
        "--drop-path-in",
        choices=("all", "tuned"),
        help="other than the protocol's: `tuned` leaves a frozen backbone whole, so that it can be computed once",
    )
    parser.add_argument("--trials", type=int, default=4, help="the first and those after it (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="epochs that are measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    output.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    for name, least in (("trials", 2), ("rounds", 1), ("threads", 1), ("epochs", 1)):
        given = getattr(options, name)
        if given is not None and given < least:
            raise InputError(f"--{name} must be a whole number of at least {least}, got {given}.")
    require_device(options.device)
    before = output.earlier(options, "search")
    methods.get(options.method)
    other = {"epochs": options.epochs, "drop_path_in": options.drop_path_in}
    protocol = {"base": options.protocol, **{name: value for name, value in other.items() if value is not None}}
    study = _study(options.task, options.backbone, options.method, protocol, options.trials)
    result = measure(study, rounds=options.rounds, threads=options.threads, device=options.device)
    show(result)
    output.deliver(result, before, options, IDENTITY)
    return 0


def measure(study: StudySpec, *, rounds: int, threads: int, device: str) -> dict[str, Any]:
    """Trials, linear probing's grid both ways, and an epoch, of a study of one task and one method."""
    probing = spec.resolve({**study.model_dump(), "methods": ["linear"], "search": {}})

    first, following = alone(threads, _trials, study, device)
    once, every = alone(threads, _grid, probing, device, True), alone(threads, _grid, probing, device, False)
    epoch = alone(threads, _epoch, study, device, rounds)
    with turns.threads(threads):
        environment = machine.describe(device)
    return {
        "bench": "search",
        "task": study.tasks[0].name,
        "backbone": study.backbone,
        "method": study.methods[0].name,
        "protocol": study.protocol.model_dump(),
        "rounds": rounds,
        "clock": "wall clock; of an epoch, as of `bench train`",
        "environment": environment,
        "rows": [first, following, once, every, epoch],
        "grid_speedup": every["seconds"] / once["seconds"],
        "grid_fit_speedup": every["fit_seconds"] / once["fit_seconds"],
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    out = console()
    rows = {row["what"]: row for row in result["rows"]}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=f"a trial of {result['method']}, seconds")
    table.title_justify = "left"
    names = [*PARTS, stopwatch.REST]
    for i, column in enumerate(("", "in all", *names)):
        table.add_column(column, justify="right" if i else "left")
    for row in result["rows"]:
        if stopwatch.REST in row:
            table.add_row(row["what"], f"{row['seconds']:.3f}", *(f"{row[name]:.3f}" for name in names))
    out.print(table)
    once, every, epoch = rows[ONCE], rows[EVERY], rows[EPOCH]
    out.print(
        f"linear probing, {once['points']} points: {once['seconds']:.2f} s with the frozen part computed once,"
        f" {every['seconds']:.2f} s through the backbone: {result['grid_speedup']:.1f} times faster"
        f" ({result['grid_fit_speedup']:.1f} without loading, building and storing);"
        f" selected on validation {100 * once['val_accuracy']:.2f} % and {100 * every['val_accuracy']:.2f} %,"
        f" test {100 * once['test_accuracy']:.2f} % and {100 * every['test_accuracy']:.2f} %",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    spread = f"[{epoch['over_steps_low']:.4f}, {epoch['over_steps_high']:.4f}]"
    out.print(
        f"an epoch of {epoch['images']} images: {epoch['seconds']:.3f} s, over its steps alone"
        f" {epoch['over_steps']:.4f} {spread} (median and quartiles of {result['rounds']})",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    where = result["environment"]
    out.print(
        f"{result['task']}, {result['backbone']}, {result['protocol']['epochs']} epochs, {where['processor']},"
        f" {where['device']}, {where['threads']} thread(s)",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _study(task: str, backbone: str, method: str, protocol: dict[str, Any], points: int) -> StudySpec:
    return spec.resolve(
        {
            "name": "bench",
            "backbone": backbone,
            "tasks": [task],
            "methods": [method],
            "protocol": protocol,
            "search": {"sampler": "random", "trials": points},
            "keep": {"shifts": []},
        },
        "bench search",
    )


def alone(threads: int, work: Callable[..., Any], *given: Any) -> Any:
    """What `work` returns in a new process, which is what a worker of `run` is."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_as_a_worker, work, given, threads, places.here()).result()


def _as_a_worker(work: Callable[..., Any], given: tuple[Any, ...], threads: int, where: places.Places) -> Any:
    environment.settle(where, threads)
    return work(*given)


def _trials(study: StudySpec, device: str) -> list[dict[str, Any]]:
    """A row of the first trial of this process, and one of the medians over those after it."""
    watch = Stopwatch(_now(device))
    [asked] = [next(batches) for batches in searching.searches(study)]
    taken = []
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-") as place:
        for trial in asked:
            with watch.watching(PARTS):
                execution.execute(trial, Path(place), device)
            taken.append({name: watch.seconds.get(name, 0.0) for name in (*PARTS, stopwatch.REST)})
    first, *following = [{"seconds": sum(parts.values()), **parts} for parts in taken]
    medians = {name: float(np.median([one[name] for one in following])) for name in first}
    return [{"what": "the first", **first}, {"what": f"the following {len(following)}", **medians}]


def _grid(study: StudySpec, device: str, once: bool) -> dict[str, Any]:
    """The search of linear probing, seconds of its trials, and what it selected; `once`: features are kept."""
    watch = Stopwatch(_now(device))
    whole = nullcontext() if once else patch.object(frozen, "cut", lambda *_: None)
    [batches] = searching.searches(study)
    with tempfile.TemporaryDirectory(prefix="petl-study-bench-") as place, whole:
        asked = next(batches)
        with watch.watching({"fit": [(Learning, "fit")]}):
            records = [execution.execute(trial, Path(place), device) for trial in asked]
        [final] = batches.send(records)
        tested = execution.execute(final, Path(place), device)
        accuracies = [record.header["results"]["val"]["accuracy"] for record in records]
        return {
            "what": ONCE if once else EVERY,
            "points": len(asked),
            "seconds": sum(watch.seconds.values()),
            "fit_seconds": watch.seconds["fit"],
            "val_accuracy": final.selected["val_accuracy"] if final.selected else None,
            "val_accuracies": accuracies,
            "test_accuracy": tested.header["results"]["test"]["accuracy"],
        }


def _epoch(study: StudySpec, device: str, rounds: int) -> dict[str, Any]:
    """Epochs over what a final run learns from, and the same number of steps on batches made before, in turns."""
    task = tasks.load(study.tasks[0])
    protocol = study.protocol.model_copy(update={"epochs": rounds + 1, "warmup_epochs": 0})
    split = task.split("trainval", protocol.view)
    inputs = Pixels(split, Normalisation((0.5,) * 3, (0.5,) * 3), torch.device(device))
    image_size = int(split.pixels.shape[1])
    model, other = (_carrying(study, len(task.classes), image_size, inputs, device) for _ in range(2))
    batches = [(inputs(i), inputs.labels[i]) for i in torch.arange(len(split)).to(device).split(protocol.batch_size)]
    alone = _steps(other, batches, protocol, inputs, device)
    clock, times = Clock(device), {"epoch": [0.0], "steps": [0.0]}
    began = [clock.now()]

    def after_epoch() -> dict[str, float]:
        times["epoch"].append(clock.now() - began[0])
        times["steps"].append(clock(alone))
        began[0] = clock.now()
        return {}

    learns = methods.trainable_parameters(model, classifier=True)
    training.fit(model, learns, inputs, protocol, lr=1e-6, weight_decay=1e-4, order=0, after_epoch=after_epoch)
    epoch, steps = times["epoch"][2:], times["steps"][2:]  # the first of each warms up
    low, middle, high = turns.ratio(epoch, steps)
    return {
        "what": EPOCH,
        "images": len(split),
        "seconds": turns.quartiles(epoch).middle,
        "steps_seconds": turns.quartiles(steps).middle,
        "over_steps": middle,
        "over_steps_low": low,
        "over_steps_high": high,
    }


def _carrying(study: StudySpec, classes: int, image_size: int, inputs: Pixels, device: str) -> torch.nn.Module:
    model = backbones.create(study.backbone, classes, drop_path=study.protocol.drop_path, image_size=image_size)
    first = slice(study.protocol.batch_size)
    examples = subjects.Drawn(inputs(first), inputs.labels[first], inputs.pixels)
    return subjects.Subject(study.methods[0].name).on(model.to(device), examples)


def _steps(
    model: torch.nn.Module, batches: list[tuple[Any, Any]], protocol: Protocol, inputs: Pixels, device: str
) -> Callable[[], None]:
    learns = methods.trainable_parameters(model, classifier=True)
    optimizer = torch.optim.AdamW(training.parameter_groups(learns, 1e-4, protocol), lr=1e-6, fused=True)
    at_once = training.micro_batch(inputs.pixels, protocol, device)
    model.train()

    def steps() -> None:
        for images, labels in batches:
            training.step(model, optimizer, images, labels, protocol, at_once)

    return steps


def _now(device: str) -> Callable[[], float]:
    """The clock on the wall, with all that was begun on a GPU done."""

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    return now
