"""``petl-study bench merged``: predicting with a method beside the model and folded in, against the plain model."""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
from rich.table import Table
from timm.data.config import resolve_model_data_config
from torch import nn

from petl_study import methods
from petl_study.console import console
from petl_study.errors import NotMergeable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="vit_tiny_patch16_224", help="a timm model (default: %(default)s)")
    parser.add_argument("--methods", default="lora,ssf,repadapter", help="names, by commas (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="images at once (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=15, help="times that each model is measured (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write the measurements to this file as JSON")


def run(options: argparse.Namespace) -> int:
    plain = timm.create_model(options.backbone, num_classes=100, weight_init="skip").eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            nn.init.normal_(parameter, std=0.02)  # memory that was never written may hold numbers that are slow
    images = torch.randn(options.batch, *resolve_model_data_config(plain)["input_size"])
    models = {("plain", "again"): copy.deepcopy(plain)}  # what two equal models differ by
    for name in options.methods.split(","):
        task = [(images, torch.arange(options.batch) % 2)]
        models[name, "beside"] = methods.create(name).apply(copy.deepcopy(plain), task).eval()
        try:
            models[name, "merged"] = methods.merge(copy.deepcopy(models[name, "beside"])).eval()
        except NotMergeable as reason:
            console().print(str(reason), markup=False)
    ratios = _ratios(plain, models, images, options.rounds)
    table = Table("method", "way", "time against the plain model", box=None, pad_edge=False)
    rows = []
    for (name, way), values in ratios.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        rows.append({"method": name, "way": way, "ratio": middle, "low": low, "high": high})
        table.add_row(name, way, f"{middle:.3f}  [{low:.3f}, {high:.3f}]")
    console().print(table)
    console().print(
        f"median and quartiles of {options.rounds} pairs, {options.backbone}, batches of {options.batch},"
        f" {torch.get_num_threads()} thread(s)",
        markup=False,
    )
    if options.out:
        options.out.write_text(
            json.dumps({"backbone": options.backbone, "batch": options.batch, "rows": rows}, indent=1)
        )
    return 0


def _ratios(
    plain: nn.Module, models: dict[tuple[str, str], nn.Module], images: torch.Tensor, rounds: int
) -> dict[tuple[str, str], list[float]]:
    """Each model's time over the plain one's, right before or after it in turns, so that a busy machine slows both."""
    ratios: dict[tuple[str, str], list[float]] = {key: [] for key in models}
    for round_number, (key, model) in itertools.product(range(rounds + 1), models.items()):
        pair = [plain, model] if round_number % 2 else [model, plain]
        taken = [_seconds(one, images) for one in pair]
        mine, reference = taken if pair[0] is model else taken[::-1]
        if round_number:  # the first round warms up
            ratios[key].append(mine / reference)
    return ratios


@torch.inference_mode()
def _seconds(model: nn.Module, images: torch.Tensor) -> float:
    started = time.process_time()  # of this process alone: others on the machine do not count
    model(images)
    return time.process_time() - started
