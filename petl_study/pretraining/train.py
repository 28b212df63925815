"""Pre-training of the micro ViT on the rendered source: resumable, and reproducible bit by bit on one machine."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from timm.models import VisionTransformer
from torch import Tensor, nn

from petl_study.backbones import micro
from petl_study.errors import DamagedRecord, InputError
from petl_study.pretraining import atlas as atlases
from petl_study.pretraining.atlas import Atlas
from petl_study.pretraining.card import describe, write
from petl_study.pretraining.muon import Muon
from petl_study.pretraining.source import CLASSES, FAMILIES, Batch, contact_sheet, draw
from petl_study.render.glyphs import SOURCE_FONTS

Report = Callable[[str], None]
CHECKPOINT = "checkpoint.pt"
VALIDATION_IMAGES = 8192


@dataclass(frozen=True)
class Recipe:
    """All that the result depends on, besides the source itself."""

    steps: int = 10_000
    batch: int = 256
    seed: int = 0
    matrix_rate: float = 0.02  # Muon's, for the blocks' matrices
    learning_rate: float = 2e-3  # AdamW's, for the rest
    weight_decay: float = 0.05
    calm: float = 0.3  # part of the steps over which the images go from all plain to the source's own mixture
    smoothing: float = 0.05
    clip: float = 1.0
    fonts: tuple[str, ...] = SOURCE_FONTS


@dataclass
class State:
    """A training run at one moment."""

    model: VisionTransformer
    optimisers: tuple[Muon, torch.optim.AdamW]
    step: int = 0
    seconds: float = 0.0


def pretrain(
    out: Path,
    recipe: Recipe,
    *,
    command: str,
    examine: str = "test",
    report: Report = lambda _: None,
    checkpoint_minutes: float = 3.0,
) -> Path:
    """Train to the recipe's last step, going on from `out`'s checkpoint if there is one, and write weights and card.

    Parameters
    ----------
    out : Path
        Gets ``source.png``, a sheet of the images to be learnt from, ``checkpoint.pt`` and, in the end,
        ``micro_vit.safetensors``, ``micro_vit.json`` and ``MODEL_CARD.md``.
    command : str
        For the card: what a reader types to get the same.
    examine : str
        The split of `digits` that the card's figures are for; "val" while the source is still being changed.
    report : callable
        Gets a line now and then.

    Returns
    -------
    Path
        The weights.

    Raises
    ------
    InputError
        `out` is no folder, or holds a checkpoint of another recipe, or a damaged one.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{out} is a file: name a folder to train in") from None
    atlas = atlases.build(recipe.fonts)
    sheet = contact_sheet(draw(atlas, 32 * 20, stream("sheet", recipe.seed)).images, columns=32)
    Image.fromarray(sheet.numpy()).save(out / "source.png")
    state = start(recipe)
    if (out / CHECKPOINT).exists():
        _resume(out / CHECKPOINT, state, recipe)
        report(f"going on at step {state.step} of {recipe.steps}")

    began, saved, before = time.monotonic(), time.monotonic(), state.seconds
    losses: list[float] = []
    for loss in steps(state, atlas, recipe):
        now = time.monotonic()
        state.seconds = before + now - began
        losses.append(loss)
        if state.step % 100 == 0 or state.step == recipe.steps:
            left = state.seconds / state.step * (recipe.steps - state.step)
            mean = sum(losses) / len(losses)
            report(f"step {state.step}/{recipe.steps}  loss {mean:.3f}  {left / 60:.0f} min left")
            losses.clear()
        if now - saved > checkpoint_minutes * 60 or state.step == recipe.steps:
            _save(out / CHECKPOINT, state, recipe)
            saved = now

    accuracy = validate(state.model, atlas, recipe.seed, VALIDATION_IMAGES)
    report("source validation  " + "  ".join(f"{name} {value:.1%}" for name, value in accuracy.items()))
    return _finish(out, state, recipe, accuracy, command, examine, report)


def install(out: Path, destination: Path = micro.WEIGHTS.parent) -> list[Path]:
    """Put a finished run's weights and cards where `micro.load` finds them; the paths written."""
    names = (micro.WEIGHTS.name, micro.CARD.name, "MODEL_CARD.md")
    if missing := [name for name in names if not (out / name).exists()]:
        raise InputError(f"{out} has no {', '.join(missing)}: let petl-study pretrain --out {out} finish first")
    destination.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(out / name, destination / name)) for name in names]


# Training ------------------------------------------------------------------------------------------------------------


def start(recipe: Recipe) -> State:
    """The model and the optimiser before the first step; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("initialisation", recipe.seed))
        model = micro.build(len(CLASSES))
    parameters = dict(model.named_parameters())
    matrices = {name: p for name, p in parameters.items() if name.startswith("blocks.") and p.ndim == 2}
    muon = Muon(
        ((p, 3 if name.endswith("qkv.weight") else 1) for name, p in matrices.items()),
        lr=recipe.matrix_rate,
        weight_decay=recipe.weight_decay,
    )
    # patch embedding and head; not biases, norms, positions
    decayed = [p for name, p in parameters.items() if name in ("patch_embed.proj.weight", "head.weight")]
    kept = [p for name, p in parameters.items() if name not in matrices and not any(p is d for d in decayed)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return State(model, (muon, torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))))


def steps(state: State, atlas: Atlas, recipe: Recipe) -> Iterator[float]:
    """Train from the state's step to the recipe's last; the loss of every step. Changes `state`."""
    state.model.train()
    while state.step < recipe.steps:
        with torch.no_grad():
            calm = max(0.0, 1 - state.step / (recipe.calm * recipe.steps)) if recipe.calm else 0.0
            batch = draw(atlas, recipe.batch, stream("training", recipe.seed, state.step), calm)
        for optimiser, rate in zip(state.optimisers, (recipe.matrix_rate, recipe.learning_rate), strict=True):
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule(state.step, recipe.steps)
        logits = state.model(normalise(batch.images))  # (n, C)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=recipe.smoothing)
        loss.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
        for optimiser in state.optimisers:
            optimiser.step()
        state.step += 1
        yield float(loss.detach())


def schedule(step: int, total: int) -> float:
    """The learning rate's factor: up a line for a twentieth of the steps (at most 500), then down a cosine to 0."""
    warm_up = min(500, max(1, total // 20))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def normalise(images: Tensor) -> Tensor:
    """Images in [0, 1] as the model takes them; mean and deviation are the same for all channels."""
    return (images - micro.MEAN[0]) / micro.STD[0]


def stream(purpose: str, seed: int, index: int = 0) -> int:
    """A generator's seed of its own for every purpose, seed and index: streams do not meet as seed + index would."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed} {index}".encode()).digest()[:8], "big") >> 1


# Validation ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def validate(model: VisionTransformer, atlas: Atlas, seed: int, images: int) -> dict[str, float]:
    """Accuracy on images of the source that training does not draw: "overall", then by family.

    Same forms, fresh geometry, colours and noise. A fixed set: it depends on `seed` and `images` alone.
    """
    model.eval()
    batches = (draw(atlas, min(images, 512), stream("validation", seed, i)) for i in range(math.ceil(images / 512)))
    right, labels = (torch.cat(parts) for parts in zip(*(_judge(model, b) for b in batches), strict=True))
    found = {"overall": float(right.float().mean())}
    first = 0
    for family, names in FAMILIES.items():
        of_family = (labels >= first) & (labels < first + len(names))
        found[family] = float(right[of_family].float().mean())
        first += len(names)
    return found


def _judge(model: VisionTransformer, batch: Batch) -> tuple[Tensor, Tensor]:
    """Whether the model is right on each image: bool (n,), with the labels (n,)."""
    logits: Tensor = model(normalise(batch.images))  # (n, C)
    return logits.argmax(dim=1) == batch.labels, batch.labels


# Files ---------------------------------------------------------------------------------------------------------------


def _finish(
    out: Path, state: State, recipe: Recipe, accuracy: dict[str, float], command: str, examine: str, report: Report
) -> Path:
    from petl_study.pretraining.digits import (
        evaluate_digits,
    )  # the tasks: not needed, and not looked at, before the end

    weights = out / micro.WEIGHTS.name
    tensors = {name: t.detach().contiguous() for name, t in state.model.state_dict().items()}
    _replace(weights, safetensors.torch.save(tensors))
    digits = evaluate_digits(state.model, examine)
    report(f"digits  zero-shot {digits.zero_shot:.1%}  linear probe {digits.linear_probe:.1%}")
    write(
        describe(
            command=command,
            recipe=asdict(recipe),
            classes=CLASSES,
            parameters=sum(p.numel() for p in state.model.parameters()),
            sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
            seconds=state.seconds,
            validation_images=VALIDATION_IMAGES,
            validation=accuracy,
            digits=asdict(digits),
        ),
        out,
    )
    return weights


def _save(path: Path, state: State, recipe: Recipe) -> None:
    temporary = path.with_suffix(".new")
    content = {
        "recipe": {**asdict(recipe), "fonts": list(recipe.fonts)},
        "step": state.step,
        "seconds": state.seconds,
        "model": state.model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in state.optimisers],
    }
    torch.save(content, temporary)
    _settle(temporary, path)


def _resume(path: Path, state: State, recipe: Recipe) -> None:
    """Bring `state` to where the checkpoint was written."""
    try:
        content = torch.load(path, weights_only=True)
        former = {**content["recipe"], "fonts": tuple(content["recipe"]["fonts"])}
        state.model.load_state_dict(content["model"])
        for optimiser, tensors in zip(state.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(tensors)
        state.step, state.seconds = content["step"], content["seconds"]
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise DamagedRecord(
            f"{path} is no checkpoint of petl-study pretrain ({error}); remove it to start anew"
        ) from error
    if changed := [name for name, value in asdict(recipe).items() if former[name] != value]:
        was = ", ".join(f"{name} {former[name]} (now {getattr(recipe, name)})" for name in changed)
        raise InputError(f"{path} belongs to another recipe: {was}. Give another --out, or remove it to start anew")


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    _settle(temporary, path)


def _settle(temporary: Path, path: Path) -> None:
    """Make a finished file appear at `path` whole or not at all."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
