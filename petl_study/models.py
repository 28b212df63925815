"""The model that a trial trains, as it is before the first step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from petl_study import backbones, methods, training
from petl_study.errors import InputError
from petl_study.images import Images
from petl_study.inputs import Normalisation, Pixels
from petl_study.tasks import Split, Task
from petl_study.trials import Trial


def build(trial: Trial, task: Task, device: str) -> tuple[nn.Module, Normalisation]:
    """The model that `trial` trains, at its start, and what its inputs go through first."""
    split = task.split("test" if trial.fit == "none" else trial.fit, trial.protocol.view)
    training.seed_everything(trial.seed)
    model = backbones.create(
        trial.backbone,
        len(task.classes),
        drop_path=trial.protocol.drop_path,
        image_size=_square(split.pixels, trial),
        keep=device.startswith("cuda"),  # where a trial takes seconds, and a second copy no memory of the GPU's
    )
    if trial.head == "zero_shot":
        head: nn.Linear = model.get_classifier()  # type: ignore[operator]
        weight, bias = backbones.zero_shot_head(trial.backbone, task.classes)
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)
    known = backbones.info(trial.backbone)
    normalise = training.normalisation(trial.protocol, Normalisation(known.mean, known.std))
    model.to(device)
    if trial.fit == "none":  # the method that adds nothing to the backbone, so that the classifier is kept like others
        methods.create("linear").apply(model)
    else:
        methods.create(trial.method, **trial.hyperparameters).apply(model, _shuffled(split, trial, normalise, device))
    return model, normalise


def _shuffled(split: Split, trial: Trial, normalise: Normalisation, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of `split` for methods that look at the task first; nothing is read for those that do not.

    Shuffled: what a method learns of a batch (GPS contrasts its images) must not depend on how the task is sorted.
    """
    images = Pixels(split, normalise, torch.device(device), hold=False)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(trial.seed)).to(device)
    for index in order.split(trial.protocol.batch_size):
        yield images(index), images.labels[index]


def _square(images: Images, trial: Trial) -> int:
    """Pixels of a side."""
    _, height, width, _ = images.shape
    if height != width:
        raise InputError(
            f"task {trial.task!r} has images of {width} x {height} pixels, and backbones take squares: choose a"
            " protocol that resizes them, such as `protocol: study`."
        )
    return height
