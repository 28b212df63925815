"""What ``bench train`` and ``bench predict`` have in common: steps timed beside their own products, in turns."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import nn

from petl_study import backbones, methods, places
from petl_study.bench import held, machine, minimum, output, products, subjects, turns
from petl_study.bench.subjects import PEFT, Setting, Subject
from petl_study.bench.turns import Clock
from petl_study.console import console
from petl_study.devices import require_device
from petl_study.errors import InputError
from petl_study.learning import compile_blocks
from petl_study.memory import keep_freed
from petl_study.methods import Method

IDENTITY = ("method",)
SQUARE = {"cpu": 2048, "cuda": 8192}  # a side of the matrices by which the machine's own rate is measured
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Kind:
    """Training or prediction: its name, whether it trains, and what makes a step of a model, images and setting."""

    name: str
    trains: bool
    step: Callable[..., Callable[[], object]]


TRAIN = Kind("train", True, subjects.training_step)
PREDICT = Kind("predict", False, subjects.prediction)


def add_arguments(parser: argparse.ArgumentParser, kind: Kind) -> None:
    plain = "" if kind.trains else ", and `plain`, the backbone alone"
    parser.add_argument("--backbone", default="random:vit_base_patch16_224", help="its name (default: %(default)s)")
    parser.add_argument(
        "--methods", default="linear,lora,full" if kind.trains else "plain,lora",
        help=f"names, by commas{plain} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--rank", type=int, help="of methods that have one (default: the method's own)")
    parser.add_argument("--batch", type=int, default=64, help="images a step (default: %(default)s)")
    parser.add_argument(
        "--micro-batch", type=int, metavar="N", help="images of it that go through the model at once, as for `run`"
    )
    parser.add_argument("--precision", choices=tuple(_DTYPES), default="fp32", help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each is measured (default: %(default)s)")
    if kind.trains:
        parser.add_argument("--drop-path", type=float, default=0.0, help="its rate (default: %(default)s)")
    parser.add_argument(
        "--beside", choices=("peft",), help="measure Hugging Face PEFT's LoRA of the same rank in the same turns"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile blocks, as for `run`, and say how long that takes; time alone"
    )
    parser.add_argument("--lean", action="store_true", help="as for `run`: less memory, in more time")
    parser.add_argument("--no-memory", action="store_true", help="leave out memory, measured in a process of its own")
    output.add_arguments(parser)


def run(options: argparse.Namespace, kind: Kind) -> int:
    for name in ("batch", "rounds", "threads", "rank", "micro_batch"):
        given = getattr(options, name)
        if given is not None and given < 1:
            raise InputError(f"--{name.replace('_', '-')} must be a whole number of at least 1, got {given}.")
    drop_path = getattr(options, "drop_path", 0.0)
    if not 0 <= drop_path < 1:
        raise InputError(f"--drop-path must be at least 0 and below 1, got {drop_path}.")
    if options.compile and options.beside:
        raise InputError("--compile compiles what petl_study makes, and not what it is measured beside: leave one out.")
    require_device(options.device)
    before = output.earlier(options, kind.name)
    names = options.methods.split(",")
    for name in names:
        if kind.trains or name != "plain":
            methods.get(name)
    backbones.info(options.backbone)
    setting = Setting(options.backbone, options.batch, options.precision, options.device, drop_path, options.compile)
    chosen = [Subject(name, options.rank if _has_rank(name) else None) for name in names]
    with (
        subjects.placed(micro_batch=options.micro_batch, lean=options.lean),
        turns.threads(options.threads),
        console().status(names[0]) as status,  # shown on a terminal alone
    ):
        result = measure(
            kind, chosen, setting, rounds=options.rounds, beside=options.beside == "peft",
            memory=not (options.no_memory or options.compile), tell=status.update,
        )  # fmt: skip
    show(result)
    output.deliver(result, before, options, IDENTITY)
    return 0


def measure(
    kind: Kind,
    chosen: list[Subject],
    setting: Setting,
    *,
    rounds: int,
    beside: bool = False,
    memory: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Steps of every method: time, products, memory; one method after another, so that few models are held at once."""
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    keep_freed(not places.here().lean)  # as in a worker of `run`
    clock = Clock(setting.device)
    for subject in chosen:
        tell(subject.method)
        try:
            rows += _of_one(kind, subject, setting, clock, rounds, beside=beside, memory=memory)
        except InputError as reason:  # it has no meaning on this backbone
            left_out.append({"method": subject.method, "reason": str(reason)})
    return {
        "bench": kind.name,
        "backbone": setting.backbone,
        "image_size": setting.image_size,
        "batch": setting.batch,
        "at_once": setting.at_once if kind.trains else None,
        "precision": setting.precision,
        "drop_path": setting.drop_path,
        **({"compiled": True} if setting.compile else {}),
        **({"lean": True} if places.here().lean else {}),
        "rounds": rounds,
        "clock": clock.name,
        "environment": machine.describe(setting.device),
        "rows": rows,
        "left_out": left_out,
    }


def show(result: dict[str, Any]) -> None:
    """Print the measurements."""
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    titles = (
        "method",
        "images/s",
        "ms a step",
        "outside products",
        "GFLOP/s",
        "of the machine's",
        "peak MB",
        "least MB",
    )
    for i, title in enumerate((*titles, "over PEFT's LoRA: time", "memory")):
        table.add_column(title, justify="right" if i else "left")
    for row in result["rows"]:
        outside = f"{row['outside']:.1%} [{row['outside_low']:.1%}, {row['outside_high']:.1%}]"
        over = (
            f"{row['over_peft']:.3f} [{row['over_peft_low']:.3f}, {row['over_peft_high']:.3f}]"
            if "over_peft" in row
            else ""
        )
        least = f"{row['least_bytes'] / 1e6:,.0f} (x{row['over_least']:.2f})" if "over_least" in row else ""
        table.add_row(
            row["method"], f"{row['images_per_second']:.4g}", f"{1000 * row['seconds']:.4g}", outside,
            f"{row['flops_per_second'] / 1e9:.4g}", f"{row['of_machine']:.1%}",
            f"{row['peak_bytes'] / 1e6:,.0f}" if "peak_bytes" in row else "", least, over,
            f"{row['memory_over_peft']:.3f}" if "memory_over_peft" in row else "",
        )  # fmt: skip
    out.print(table)
    for row in result["rows"]:
        if "least" in row and not row["method"].startswith(PEFT):
            _show_least(row)
    for row in result["rows"]:
        if "compile_seconds" in row:
            text = f"{row['method']}: compiled in {row['compile_seconds']:.0f} s, first step and all"
            out.print(text, markup=False, highlight=False, soft_wrap=True)
    for row in result["left_out"]:
        out.print(row["reason"], markup=False, highlight=False, soft_wrap=True)
    where = result["environment"]
    at_once = f", {result['at_once']} at once" if result["at_once"] else ""
    out.print(
        f"median and quartiles of {result['rounds']} pairs, {result['backbone']}, batches of {result['batch']}"
        f"{at_once}, {result['precision']}, {where['processor']}, {where['device']}, {where['threads']} thread(s),"
        f" {result['clock']}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _of_one(
    kind: Kind, subject: Subject, setting: Setting, clock: Clock, rounds: int, *, beside: bool, memory: bool
) -> list[dict[str, Any]]:
    """The row of `subject`, and where asked for that of PEFT's LoRA, measured in the same turns."""
    examples = subjects.drawn(setting)
    model = subjects.plain(setting.backbone, setting.drop_path).to(setting.device)
    shape = minimum.Shape.of(model)
    side = SQUARE["cuda" if setting.device.startswith("cuda") else "cpu"]
    big = products.square(side, _DTYPES[setting.precision])
    works: dict[str, Callable[[], object]] = {"machine": products.Products([big], setting.device)}
    flops: dict[str, int] = {}
    compiled: dict[str, dict[str, float]] = {}
    compared = [subject]
    if beside:
        compared.append(Subject(PEFT, subject.hyperparameters.get("rank", 8)))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()} if beside else {}
    for one in compared:
        if one is not subject:
            model = subjects.plain(setting.backbone, setting.drop_path).to(setting.device)
            model.load_state_dict(weights)
        carrying = one.on(model, examples)
        step = kind.step(carrying, examples, setting)
        recorded = products.record(step)
        if setting.compile:  # after its products were recorded, which a compiled step does not show
            compiled[one.method] = {"compile_seconds": _compile(carrying, step)}
        works |= {one.method: step, f"{one.method}, products": products.Products(recorded, setting.device)}
        flops[one.method] = products.flops(recorded)
    times = turns.in_turns(works, rounds, clock)
    rows = [_row(one, setting, times, flops[one.method], big.flops) | compiled.get(one.method, {}) for one in compared]
    if memory:
        for one, row in zip(compared, rows, strict=True):
            row["peak_bytes"] = held.peak_bytes(one, setting, trains=kind.trains, threads=torch.get_num_threads())
        if kind.trains and shape and setting.precision == "fp32":
            for one, row in zip(compared, rows, strict=True):
                row |= _least(one, row["peak_bytes"], shape, setting)
    if beside:
        low, middle, high = turns.ratio(times[subject.method], times[PEFT])
        rows[0] |= {"over_peft": middle, "over_peft_low": low, "over_peft_high": high}
        if memory:
            rows[0]["memory_over_peft"] = rows[0]["peak_bytes"] / rows[1]["peak_bytes"]
        rows[1]["method"] = f"{PEFT} beside {subject.method}"
    return rows


def _compile(model: nn.Module, step: Callable[[], object]) -> float:
    """Seconds that it takes to compile the blocks of `model`, which the first `step` does."""
    began = time.perf_counter()
    compile_blocks(model)
    step()
    return time.perf_counter() - began


def _row(
    subject: Subject, setting: Setting, times: dict[str, list[float]], flops: int, of_square: int
) -> dict[str, Any]:
    own, alone = times[subject.method], times[f"{subject.method}, products"]
    low, seconds, high = turns.quartiles(own)
    inside = turns.ratio(alone, own)
    rate = of_square / turns.quartiles(times["machine"]).middle
    return {
        "method": subject.method,
        "hyperparameters": subject.hyperparameters if subject.method != "plain" else {},
        "seconds": seconds,
        "seconds_low": low,
        "seconds_high": high,
        "images_per_second": setting.batch / seconds,
        "products_seconds": turns.quartiles(alone).middle,
        "outside": 1 - inside.middle,  # share of a step's time that its products alone do not take
        "outside_low": 1 - inside.high,
        "outside_high": 1 - inside.low,
        "flops": flops,
        "flops_per_second": flops / seconds,
        "machine_flops_per_second": rate,
        "of_machine": flops / seconds / rate,
    }


def _least(subject: Subject, peak: int, shape: minimum.Shape, setting: Setting) -> dict[str, Any]:
    method = "lora" if subject.method == PEFT else subject.method
    if method not in minimum.DERIVED:
        return {}
    rank = subject.hyperparameters.get("rank", 8)
    terms = minimum.terms(shape, method, batch=setting.batch, at_once=setting.at_once, rank=rank)
    least = sum(term.bytes for term in terms)
    listed = [{"term": term.name, "bytes": term.bytes, "why": term.why} for term in terms]
    return {"least_bytes": least, "over_least": peak / least, "least": listed}


def _show_least(row: dict[str, Any]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=f"the least memory of a step: {row['method']}")
    table.title_justify = "left"
    table.add_column("what")
    table.add_column("MB", justify="right")
    table.add_column("why")
    for term in row["least"]:
        table.add_row(term["term"], f"{term['bytes'] / 1e6:,.1f}", term["why"])
    table.add_row("together", f"{row['least_bytes'] / 1e6:,.1f}", f"measured: x{row['over_least']:.2f}", style="bold")
    out.print(table)


def _has_rank(name: str) -> bool:
    if name == "plain":
        return False
    known: type[Method] = methods.get(name)
    return "rank" in known.__dataclass_fields__
