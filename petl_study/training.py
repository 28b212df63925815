"""One training: fit a model to a split, and ask it about others. Knows nothing of searches, studies or records."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from petl_study import places
from petl_study.augmentation import Augmentation
from petl_study.checkpoint import Checkpoint, Parts
from petl_study.images import Images
from petl_study.protocols import Protocol
from petl_study.tasks import Split

HELD_BYTES = 2 * 2**30  # of a split's images that a training holds in memory; more are read batch by batch
# Of images that a model trains on at once without a GPU: what a ViT-B/16 remembers of 8 for the way back is 1 GB.
HELD_PIXELS = 8 * 224**2
PREDICTED = 256  # images that are asked about at once, at the most


class Diverged(ArithmeticError):
    """The loss, or what the model says, became NaN or infinite. `curve` holds the epochs before."""

    curve: list[dict[str, float]] = []  # noqa: RUF012


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of inputs in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> Tensor:  # uint8 (B, 3, H, W) -> float32 (B, 3, H, W)
        mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))


def normalisation(protocol: Protocol, own: Normalisation) -> Normalisation:
    """What `protocol` does to the inputs of a backbone whose checkpoint was normalised by `own`."""
    match protocol.normalisation:
        case "none":
            return Normalisation((0.0,) * 3, (1.0,) * 3)
        case "imagenet":
            return Normalisation(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        case "backbone":
            return own


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as a contiguous uint8 (N, 3, H, W) on `device`."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def reader(images: Images, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What gives the images at an index (B,) as uint8 (B, 3, H, W): held on `device` where they are not too many."""
    if images.nbytes <= HELD_BYTES:
        held = to_tensor(images[:], device)
        return lambda index: held[index]
    return lambda index: to_tensor(images[index.cpu().numpy()], device)


def micro_batch(images: Images, protocol: Protocol, device: str) -> int:
    """Images of a batch that a model is trained on at once: on a GPU all, elsewhere as many as `HELD_PIXELS`."""
    _, height, width, _ = images.shape
    held = protocol.batch_size if device.startswith("cuda") else HELD_PIXELS // (height * width)
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
    return [
        {"params": [p for name, p in parameters.items() if decays[name] is decay], "weight_decay": weight_decay * decay}
        for decay in (True, False)
    ]


def fit(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    split: Split,
    protocol: Protocol,
    *,
    lr: float,
    weight_decay: float,
    normalise: Normalisation,
    order: int,
    after_epoch: Callable[[], dict[str, float]] = dict,
    start: Checkpoint | None = None,
    stop: int | None = None,
    leave: Callable[[Checkpoint], None] | None = None,
) -> list[dict[str, float]]:
    """Train `parameters` of `model` on `split`, in place.

    A batch of more than `micro_batch` images goes through the model in parts, whose gradients are summed: the same step
    but for rounding, and for what dropout and drop path draw, in less memory.

    Parameters
    ----------
    lr, weight_decay : float
        Peak learning rate and decoupled weight decay of AdamW (arXiv 1711.05101).
    order : int
        Seed of the order of examples and of their augmentation. Dropout and drop path draw from torch's global
        generator.
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
    device = next(iter(model.parameters())).device
    at_once = micro_batch(split.pixels, protocol, device.type)
    images, labels = reader(split.pixels, device), torch.from_numpy(split.labels).to(device)
    optimizer = torch.optim.AdamW(parameter_groups(parameters, weight_decay, protocol), lr=lr, fused=True)
    shuffle = torch.Generator().manual_seed(order)
    augment = Augmentation(protocol.augmentation, order)
    steps = math.ceil(len(split) / protocol.batch_size)
    parts = Parts(model, parameters, optimizer, shuffle, augment)
    if start is not None:
        start.restore(parts)
    curve: list[dict[str, float]] = [*start.curve] if start else []
    for epoch in range(len(curve), stop or protocol.epochs):
        model.train()
        loss_sum = torch.zeros((), device=device)
        correct = torch.zeros((), dtype=torch.long, device=device)
        batches = torch.randperm(len(split), generator=shuffle).to(device).split(protocol.batch_size)
        for step, index in enumerate(batches):
            rate = learning_rate(epoch + step / steps, lr, protocol)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            inputs = augment(images(index), normalise)
            for part, targets in zip(inputs.split(at_once), labels[index].split(at_once), strict=True):
                logits = model(part)
                loss = F.cross_entropy(logits, targets, label_smoothing=protocol.label_smoothing)
                (loss * (len(part) / len(index))).backward()
                loss_sum += loss.detach() * len(part)
                correct += (logits.detach().argmax(-1) == targets).sum()
            optimizer.step()
        mean_loss = loss_sum.item() / len(split)  # one wait for the device an epoch, not one a step
        if not math.isfinite(mean_loss):
            error = Diverged(f"the training loss became {mean_loss} in epoch {epoch + 1} of {protocol.epochs}")
            error.curve = curve
            raise error
        row = {"epoch": epoch + 1, "lr": rate, "train_loss": mean_loss, "train_accuracy": correct.item() / len(split)}
        try:
            curve.append({**row, **after_epoch()})
        except Diverged as error:
            error.curve = curve
            raise
    if leave is not None:
        leave(Checkpoint.of(parts, curve))
    return curve


@torch.inference_mode()
def predict(
    model: nn.Module, split: Split, normalise: Normalisation, batch_size: int | None = None
) -> NDArray[np.float32]:
    """Logits of every example of `split`, in its order: (N, C), or (N, K) where it asks about K classes only.

    Raises
    ------
    Diverged
        A logit is NaN or infinite.
    """
    model.eval()
    device = next(iter(model.parameters())).device
    _, height, width, _ = split.pixels.shape
    # Without a way back, a model remembers one layer of its images, not all: four times as many take less memory still.
    held = PREDICTED if device.type == "cuda" else max(1, 4 * HELD_PIXELS // (height * width))
    batch_size = batch_size or min(PREDICTED, held)
    batches = (
        to_tensor(split.pixels[start : start + batch_size], device) for start in range(0, len(split), batch_size)
    )
    logits = torch.cat([model(normalise(batch)).float() for batch in batches]).cpu().numpy()
    if split.only is not None:
        logits = logits[:, split.only]
    if not np.isfinite(logits).all():
        raise Diverged(
            f"{(~np.isfinite(logits)).any(axis=1).sum()} of {len(logits)} examples have NaN or infinite logits"
        )
    return logits


def score(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy (fraction), mean cross-entropy (nats) and number of examples; of equal top logits the first counts."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return {"accuracy": accuracy, "loss": float(-log_likelihood.mean()), "examples": len(labels)}
