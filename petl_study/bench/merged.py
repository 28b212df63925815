"""``petl-study bench merged``: predicting with a method beside the model and folded in, against the plain model."""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from petl_study import backbones, methods
from petl_study.bench import machine, output, subjects, turns
from petl_study.bench.turns import Clock
from petl_study.console import console
from petl_study.devices import require_device
from petl_study.errors import InputError, NotMergeable

ALL = "all"
IDENTITY = ("method", "way")


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
    output.add_arguments(parser, read_by=", for analysis.load_inference")


def run(options: argparse.Namespace) -> int:
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be a whole number of at least 1, got {getattr(options, name)}.")
    require_device(options.device)
    before = output.earlier(options, "merged")
    names = methods.list_methods() if options.methods == ALL else options.methods.split(",")
    for name in names:
        methods.get(name)
    how = {"batch": options.batch, "rounds": options.rounds, "device": options.device}
    with console().status("plain") as status:  # shown on a terminal alone
        result = measure(options.backbone, names, **how, tell=status.update)
    show(result)
    output.deliver(result, before, options, IDENTITY)
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
    plain, size, clock = subjects.plain(backbone), backbones.info(backbone).image_size, Clock(device)
    images = torch.randn(batch, 3, size, size)
    task = [(images, torch.arange(batch) % 2)]
    plain.to(device)
    seen = images.to(device)
    rows, left_out = [_row("plain", "again", _timed(plain, copy.deepcopy(plain), seen, rounds, clock), batch)], []
    for name in names:
        tell(name)
        try:
            method = methods.create(name)
            model = method.apply(copy.deepcopy(plain).cpu(), task).eval().to(device)
            own = dataclasses.asdict(method)
            rows.append(_row(name, "beside", _timed(plain, model, seen, rounds, clock), batch, own))
            merged = methods.merge(model).eval()
            rows.append(_row(name, "merged", _timed(plain, merged, seen, rounds, clock), batch, own))
        except NotMergeable as reason:
            left_out.append({"method": name, "way": "merged", "reason": str(reason)})
        except InputError as reason:  # it has no meaning on this backbone, or its package is not installed
            left_out.append({"method": name, "way": "beside", "reason": str(reason)})
    return {
        "bench": "merged",
        "backbone": backbone,
        "batch": batch,
        "rounds": rounds,
        "clock": clock.name,
        "environment": machine.describe(device),
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


def _row(
    name: str, way: str, times: dict[str, list[float]], batch: int, own: dict[str, Any] | None = None
) -> dict[str, Any]:
    low, middle, high = turns.ratio(times["other"], times["plain"])
    seconds = turns.quartiles(times["other"]).middle / batch
    measured = {"seconds": seconds, "ratio": middle, "low": low, "high": high}
    return {"method": name, "way": way, "hyperparameters": own or {}, **measured}


def _timed(plain: nn.Module, other: nn.Module, images: Tensor, rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Seconds a batch of both, pair by pair."""

    def prediction(model: nn.Module) -> Callable[[], object]:
        return torch.inference_mode()(lambda: model(images))

    return turns.in_turns({"plain": prediction(plain), "other": prediction(other)}, rounds, clock)
