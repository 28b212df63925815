"""``petl-study bench merged``: predicting with a method beside the model and folded in, against the plain model."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from rich.table import Table
from torch import Tensor, nn

from petl_study import backbones, methods
from petl_study.cli import require_device
from petl_study.console import console
from petl_study.errors import InputError, NotMergeable

ALL = "all"


class Timed(NamedTuple):
    """Times of the plain model and of another, pair by pair, in seconds a batch: (rounds,) each."""

    plain: list[float]
    other: list[float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="vit_tiny_patch16_224", help="its name (default: %(default)s)")
    parser.add_argument(
        "--methods", default="lora,ssf,repadapter", help=f"names, by commas, or {ALL} (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=16, help="images at once (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=15, help="times that each model is measured (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the measurements to this file, for analysis.load_inference")


def run(options: argparse.Namespace) -> int:
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be a whole number of at least 1, got {getattr(options, name)}.")
    require_device(options.device)
    names = methods.list_methods() if options.methods == ALL else options.methods.split(",")
    for name in names:
        methods.get(name)
    how = {"batch": options.batch, "rounds": options.rounds, "device": options.device}
    with console().status("plain") as status:  # shown on a terminal alone
        result = measure(options.backbone, names, **how, tell=status.update)
    show(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def measure(
    backbone: str,
    names: list[str],
    *,
    batch: int,
    rounds: int,
    device: str,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Seconds of prediction with every method at its defaults, random weights throughout, beside the plain model's.

    One method after another, so that no more than three models are held at once. Each is timed in turns with the plain
    model, right before or after it, so that a busy machine slows both. `tell` is told which method is next.
    """
    plain, size = _plain(backbone)
    images = torch.randn(batch, 3, size, size)
    task = [(images, torch.arange(batch) % 2)]
    plain.to(device)
    seen = images.to(device)
    rows, left_out = [_row("plain", "again", _timed(plain, copy.deepcopy(plain), seen, rounds), batch)], []
    for name in names:
        tell(name)
        try:
            method = methods.create(name)
            model = method.apply(copy.deepcopy(plain).cpu(), task).eval().to(device)
            own = dataclasses.asdict(method)
            rows.append(_row(name, "beside", _timed(plain, model, seen, rounds), batch, own))
            merged = methods.merge(model).eval()
            rows.append(_row(name, "merged", _timed(plain, merged, seen, rounds), batch, own))
        except NotMergeable as reason:
            left_out.append({"method": name, "way": "merged", "reason": str(reason)})
        except InputError as reason:  # it has no meaning on this backbone, or its package is not installed
            left_out.append({"method": name, "way": "beside", "reason": str(reason)})
    on_gpu = device.startswith("cuda")
    return {
        "backbone": backbone,
        "batch": batch,
        "rounds": rounds,
        "clock": "wall clock" if on_gpu else "processor time of this process, over all its threads",
        "environment": {
            "hardware": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "device": device,
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in ("petl_study", "torch", "timm")},
        },
        "rows": rows,
        "left_out": left_out,
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (("method", "left"), ("way", "left"), ("ms an image", "right"), ("against plain", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in result["rows"]:
        ratio = f"{row['ratio']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]"
        table.add_row(row["method"], row["way"], f"{1000 * row['seconds']:.3f}", ratio)
    out.print(table)
    for row in result["left_out"]:
        out.print(row["reason"], markup=False, highlight=False, soft_wrap=True)
    machine = result["environment"]
    out.print(
        f"median and quartiles of {result['rounds']} pairs, {result['backbone']}, batches of {result['batch']},"
        f" {machine['hardware']}, {machine['device']}, {machine['threads']} thread(s), {result['clock']}",
        markup=False,
        highlight=False,
    )


# --------------------------------------------------------------------------------------------------------------- parts


def _plain(backbone: str) -> tuple[nn.Module, int]:
    """The backbone with random weights, for no weights take longer than others, and the size of its images."""
    name, arguments = backbones.architecture(backbone)
    model = timm.create_model(name, **{"num_classes": 100, **arguments}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.02)  # numbers next to zero are slow
    return model, backbones.info(backbone).image_size


def _row(name: str, way: str, timed: Timed, batch: int, own: dict[str, Any] | None = None) -> dict[str, Any]:
    ratios = np.array(timed.other) / np.array(timed.plain)
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    seconds = float(np.median(timed.other)) / batch
    measured = {"seconds": seconds, "ratio": middle, "low": low, "high": high}
    return {"method": name, "way": way, "hyperparameters": own or {}, **measured}


def _timed(plain: nn.Module, other: nn.Module, images: Tensor, rounds: int) -> Timed:
    timed = Timed([], [])
    for round_number in range(rounds + 1):
        if round_number % 2:
            first, second = _seconds(plain, images), _seconds(other, images)
        else:
            second, first = _seconds(other, images), _seconds(plain, images)
        if round_number:  # the first warms up
            timed.plain.append(first)
            timed.other.append(second)
    return timed


@torch.inference_mode()
def _seconds(model: nn.Module, images: Tensor) -> float:
    if images.device.type == "cuda":  # the processor only hands out the work
        torch.cuda.synchronize()
        started = time.perf_counter()
        model(images)
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()  # of this process alone: others on the machine do not count
    model(images)
    return time.process_time() - started
