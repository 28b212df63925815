"""What a model trained on rendered images alone knows about real handwriting: the project's `digits` task.

Looked at once, after training: nothing here may choose a step, a checkpoint or a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.models import VisionTransformer
from torch import Tensor

from petl_study import tasks
from petl_study.backbones import micro
from petl_study.pretraining.source import CLASSES


@dataclass(frozen=True)
class DigitsFigures:
    """Accuracies (0 to 1) on `examples` images of the `digits` task's `split`; the probe saw `fitted` others."""

    split: str
    examples: int
    fitted: int
    zero_shot: float
    linear_probe: float


def evaluate_digits(model: VisionTransformer, split: str = "test") -> DigitsFigures:
    """Zero-shot and linear-probe accuracy of a model that has the source's head.

    Zero-shot takes the largest of the head's ten logits of "0" to "9". The probe is a logistic regression
    (scikit-learn's defaults, nothing searched) on standardised class-token features, fitted to the 1000 examples of
    train + val; for a `split` other than "test", to train alone.
    """
    task = tasks.load("digits")
    fitted, examined = (task.trainval if split == "test" else task.train), task.split(split)
    features = _features(model, examined.pixels[:])  # (N, 96)
    with torch.no_grad():
        logits = model.get_classifier()(features)[:, [CLASSES.index(name) for name in task.classes]]  # (N, 10)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(_features(model, fitted.pixels[:]).numpy(), fitted.labels)
    return DigitsFigures(
        split=split,
        examples=len(examined),
        fitted=len(fitted),
        zero_shot=float((logits.argmax(dim=1).numpy() == examined.labels).mean()),
        linear_probe=float((probe.predict(features.numpy()) == examined.labels).mean()),
    )


@torch.no_grad()
def _features(model: VisionTransformer, images: NDArray[np.uint8]) -> Tensor:
    """Class-token features, (N, H, W, 3) -> (N, 96)."""
    model.eval()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    inputs = (pixels - micro.MEAN[0]) / micro.STD[0]
    features: Tensor = model.forward_head(model.forward_features(inputs), pre_logits=True)
    return features
