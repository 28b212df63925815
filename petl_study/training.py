"""One training: fit a model to examples, and ask it about others. Knows nothing of searches, studies or records."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from petl_study import places
from petl_study.checkpoint import Checkpoint, Parts
from petl_study.inputs import Inputs, Normalisation, Pixels
from petl_study.protocols import Precision, Protocol
from petl_study.tasks import Split

# Of images that a model trains on at once without a GPU: what a ViT-B/16 remembers of 8 for the way back is 1 GB.
HELD_PIXELS = 8 * 224**2
PREDICTED = 256  # images that are asked about at once, at the most


class Diverged(ArithmeticError):
    """The loss, or what the model says, became NaN or infinite. `curve` holds the epochs before."""

    curve: list[dict[str, float]] = []  # noqa: RUF012


def normalisation(protocol: Protocol, own: Normalisation) -> Normalisation:
    """What `protocol` does to the inputs of a backbone whose checkpoint was normalised by `own`."""
    match protocol.normalisation:
        case "none":
            return Normalisation((0.0,) * 3, (1.0,) * 3)
        case "imagenet":
            return Normalisation(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        case "backbone":
            return own


def micro_batch(pixels: int, protocol: Protocol, device: str) -> int:
    """Images of `pixels` each that a model is trained on at once: on a GPU a batch, else as many as `HELD_PIXELS`."""
    held = protocol.batch_size if device.startswith("cuda") or pixels == 0 else HELD_PIXELS // pixels
    return min(protocol.batch_size, max(1, places.here().micro_batch or held))


def seed_everything(seed: int) -> None:
    """Seed every global generator that initialisation, dropout or drop path may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (for third-party code that draws from it)
    torch.manual_seed(seed)


def learning_rate(epoch: float, peak: float, protocol: Protocol) -> float:
    """The rate after `epoch` (a fraction counts) epochs: linear warm-up, then half a cosine down to `min_lr`."""
    if epoch < protocol.warmup_epochs:
        return protocol.warmup_lr + (peak - protocol.warmup_lr) * epoch / protocol.warmup_epochs
    done = (epoch - protocol.warmup_epochs) / max(protocol.epochs - protocol.warmup_epochs, 1e-9)
    return protocol.min_lr + (peak - protocol.min_lr) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def parameter_groups(
    parameters: dict[str, nn.Parameter], weight_decay: float, protocol: Protocol
) -> list[dict[str, Any]]:
    """Parameters as AdamW takes them: under ``decay: matrices`` biases, norms and scales are not pulled to zero."""
    decays = {name: protocol.decay == "all" or p.ndim > 1 for name, p in parameters.items()}
    groups = [
        {"params": [p for name, p in parameters.items() if decays[name] is decay], "weight_decay": weight_decay * decay}
        for decay in (True, False)
    ]
    return [group for group in groups if group["params"]]


def precisely(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Where a model is asked under a protocol's precision: ``bf16`` is torch's autocast, weights stay in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    protocol: Protocol,
    at_once: int,
) -> tuple[Tensor, Tensor]:
    """One step of `optimizer` on a batch (B, ...) and its labels (B,), `at_once` examples through the model at a time.

    Returns
    -------
    loss, correct : Tensor
        Summed over the batch, as it was before the step; numbers on the device, so that nobody waits for it.
    """
    optimizer.zero_grad(set_to_none=True)
    parts: Iterable[tuple[Tensor, Tensor]] = [(inputs, targets)]
    if len(inputs) > at_once:
        parts = zip(inputs.split(at_once), targets.split(at_once), strict=True)
    told = [_forth_and_back(model, *part, protocol, len(inputs)) for part in parts]
    optimizer.step()
    losses, corrects = zip(*told, strict=True)
    return reduce(torch.add, losses), reduce(torch.add, corrects)


def _forth_and_back(
    model: nn.Module, inputs: Tensor, targets: Tensor, protocol: Protocol, batch: int
) -> tuple[Tensor, Tensor]:
    """Add the gradients of a part of a `batch`, by its share of it; summed over the part, loss and what was correct."""
    with precisely(protocol.precision, inputs.device):
        logits = model(inputs)
    loss = F.cross_entropy(logits.float(), targets, label_smoothing=protocol.label_smoothing)
    # Where a batch is one part, the product by 1 would be a tenth of a small classifier's step.
    (loss if len(inputs) == batch else loss * (len(inputs) / batch)).backward()
    return loss.detach() * len(inputs), (logits.detach().argmax(-1) == targets).sum()


def fit(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    examples: Inputs,
    protocol: Protocol,
    *,
    lr: float,
    weight_decay: float,
    order: int,
    after_epoch: Callable[[], dict[str, float]] = dict,
    start: Checkpoint | None = None,
    stop: int | None = None,
    leave: Callable[[Checkpoint], None] | None = None,
) -> list[dict[str, float]]:
    """Train `parameters` of `model` on `examples`, in place.

    A batch of more than `micro_batch` images goes through the model in parts, whose gradients are summed: the same step
    but for rounding, and for what dropout and drop path draw, in less memory.

    Parameters
    ----------
    lr, weight_decay : float
        Peak learning rate and decoupled weight decay of AdamW (arXiv 1711.05101).
    order : int
        Seed of the order of examples. Dropout and drop path draw from torch's global generator.
    after_epoch : callable
        Called at the end of every epoch; what it returns joins that epoch's row.
    start : Checkpoint, optional
        Where an earlier call stopped, of the same model as it was at its start, under the same protocol.
    stop : int, optional
        The number of epochs after which to stop; the schedule stays that of all. None: train them all.
    leave : callable, optional
        Given a checkpoint at the end.

    Returns
    -------
    list of dict
        The curve, a row an epoch: `epoch` (from 1), `lr` of its last step, mean `train_loss` and `train_accuracy` over
        the epoch's batches as they were trained on, and what `after_epoch` added.

    Raises
    ------
    Diverged
        A batch's loss is NaN or infinite; says where. The exception's `curve` holds the epochs before.
    """
    labels, count = examples.labels, len(examples.labels)
    at_once = micro_batch(examples.pixels, protocol, labels.device.type)
    optimizer = torch.optim.AdamW(parameter_groups(parameters, weight_decay, protocol), lr=lr, fused=True)
    shuffle = torch.Generator().manual_seed(order)
    steps = math.ceil(count / protocol.batch_size)
    parts = Parts(model, parameters, optimizer, shuffle, examples.augment)
    if start is not None:
        start.restore(parts)
    curve: list[dict[str, float]] = [*start.curve] if start else []
    for epoch in range(len(curve), stop or protocol.epochs):
        model.train()
        loss_sum = torch.zeros((), device=labels.device)
        correct = torch.zeros((), dtype=torch.long, device=labels.device)
        batches = torch.randperm(count, generator=shuffle).to(labels.device).split(protocol.batch_size)
        for done, index in enumerate(batches):
            rate = learning_rate(epoch + done / steps, lr, protocol)
            for group in optimizer.param_groups:
                group["lr"] = rate
            of_batch = step(model, optimizer, examples(index), labels[index], protocol, at_once)
            loss_sum += of_batch[0]
            correct += of_batch[1]
        mean_loss = loss_sum.item() / count  # one wait for the device an epoch, not one a step
        if not math.isfinite(mean_loss):
            error = Diverged(f"the training loss became {mean_loss} in epoch {epoch + 1} of {protocol.epochs}")
            error.curve = curve
            raise error
        row = {"epoch": epoch + 1, "lr": rate, "train_loss": mean_loss, "train_accuracy": correct.item() / count}
        try:
            curve.append({**row, **after_epoch()})
        except Diverged as error:
            error.curve = curve
            raise
    if leave is not None:
        leave(Checkpoint.of(parts, curve))
    return curve


def asked_at_once(examples: Inputs) -> int:
    """Examples that a model is asked about at once: more would be no faster, and take more memory."""
    fits = examples.labels.device.type == "cuda" or examples.pixels == 0
    return PREDICTED if fits else min(PREDICTED, max(1, HELD_PIXELS // examples.pixels))


@torch.inference_mode()
def ask(
    model: nn.Module, examples: Inputs, precision: Precision = "fp32", batch_size: int | None = None
) -> NDArray[np.float32]:
    """Logits of all N examples, in their order: (N, C).

    Raises
    ------
    Diverged
        A logit is NaN or infinite.
    """
    model.eval()
    device, count = examples.labels.device, len(examples.labels)
    batch_size = batch_size or asked_at_once(examples)
    with precisely(precision, device):
        said = [model(examples(slice(i, i + batch_size))).float() for i in range(0, count, batch_size)]
    logits: NDArray[np.float32] = torch.cat(said).cpu().numpy()
    if not np.isfinite(logits).all():
        raise Diverged(
            f"{(~np.isfinite(logits)).any(axis=1).sum()} of {len(logits)} examples have NaN or infinite logits"
        )
    return logits


def predict(
    model: nn.Module,
    split: Split,
    normalise: Normalisation,
    precision: Precision = "fp32",
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """Logits of every example of `split`, in its order: (N, C), or (N, K) where it asks about K classes only.

    Raises
    ------
    Diverged
        A logit is NaN or infinite.
    """
    device = next(iter(model.parameters())).device
    logits = ask(model, Pixels(split, normalise, device, hold=False), precision, batch_size)
    return logits if split.only is None else logits[:, split.only]


def score(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy (fraction), mean cross-entropy (nats) and number of examples; of equal top logits the first counts."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return {"accuracy": accuracy, "loss": float(-log_likelihood.mean()), "examples": len(labels)}
