"""The model card: as data, which the package reads, and as text, made from the data so that the two cannot differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

from petl_study import __version__
from petl_study.pretraining import pen
from petl_study.pretraining.source import CLASSES, FAMILIES
from petl_study.render.glyphs import HELD_OUT_FONTS

LOOKED_AT = """\
No image of `digits` was trained on, and no step, checkpoint, recipe or form was chosen by its accuracy. What was looked
at while the source was written: the accuracies of two short trainings on the 200 examples of the validation split
(AdamW, 1,200 steps: zero-shot 32.5%, probe 79.5%; Muon with plain images first, 1,000 steps: 66.0% and 96.5%; the
change between them was decided on the training loss of source images); and on the test split, to see that the code
ran, the accuracies after 40 steps (9.8% and 86.1%), and whether the second training met the tests' thresholds. The
author of the pen-drawn forms knew what handwritten digits look like."""


def describe(
    *,
    command: str,
    recipe: dict[str, Any],
    classes: Sequence[str],
    parameters: int,
    sha256: str,
    seconds: float,
    validation_images: int,
    validation: dict[str, float],
    digits: dict[str, Any],
) -> dict[str, Any]:
    """The card as plain data; accuracies are fractions, 0 to 1."""
    return {
        "name": "micro_vit",
        "command": command,
        "recipe": recipe,
        "images_seen": recipe["steps"] * recipe["batch"],
        "hours": round(seconds / 3600, 3),
        "parameters": parameters,
        "sha256": sha256,
        "validation_images": validation_images,
        "validation_accuracy": validation,
        "digits": digits,
        "versions": {"petl_study": __version__, "torch": torch.__version__, "matplotlib": mpl.__version__},
        "classes": list(classes),
    }


def write(card: dict[str, Any], folder: Path) -> None:
    """Both forms of the card into `folder`."""
    (folder / "micro_vit.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(text(card), encoding="utf-8")


def text(card: dict[str, Any]) -> str:
    """The card for readers, in Markdown."""
    recipe, validation, digits = card["recipe"], card["validation_accuracy"], card["digits"]
    rows = "\n".join(
        f"| {family} | {len(names)} | {validation[family]:.1%} | {' '.join(names)} |"
        for family, names in FAMILIES.items()
    )
    forms = sum(len(forms) for forms in pen.FORMS.values())
    fonts, versions = ", ".join(recipe["fonts"]), card["versions"]
    return f"""# Micro ViT

The backbone that ships with petl_study, so that a first study needs no download. A timm `VisionTransformer`:
32 x 32 RGB, patches of 8 x 8, a class token, 6 blocks of width 96 with 3 heads, {card["parameters"]:,} parameters.
Inputs in [0, 1] are normalised as (x - 0.5) / 0.5.

## How it was made

```
{card["command"]}
```

{recipe["steps"]:,} steps of {recipe["batch"]} images ({card["images_seen"]:,} in all, each drawn once), seed
{recipe["seed"]}, {card["hours"]:.2f} hours. Muon for the blocks' matrices (learning rate {recipe["matrix_rate"]:g}),
AdamW for the rest ({recipe["learning_rate"]:g}), warm-up, then cosine to 0; weight decay {recipe["weight_decay"]:g},
label smoothing {recipe["smoothing"]:g}, gradients clipped to norm {recipe["clip"]:g}. Over the first
{recipe["calm"]:.0%} of the steps the images go from all plain to the source's own mixture. The weights are those of the
last step; no checkpoint was chosen.

- torch {versions["torch"]}, matplotlib {versions["matplotlib"]}
- SHA-256 of the weights: `{card["sha256"]}`

## What it has seen

Rendered images only, from `petl_study.pretraining.source`: no photograph, no scan, no data set.

- Characters of {len(recipe["fonts"])} faces that matplotlib bundles, filled, or redrawn along their centre line with
  a pen; rotated, slanted, stretched, bent. The faces: {fonts}.
- {forms} pen-drawn forms of the ten digits that print lacks (open four, crossed seven, plain one), written as splines
  in `petl_study/pretraining/pen.py`.
- Shapes at any angle; textures; colours, gradients, clutter, distractors, blur, lost resolution, noise, contrast.
- Never the faces that downstream tasks draw: {", ".join(HELD_OUT_FONTS)}.

## What it knows

On {card["validation_images"]:,} source images that training did not draw (same forms, fresh geometry, colours, noise)
it is right on **{validation["overall"]:.1%}**, over {len(CLASSES)} classes. Some of the rest cannot be told apart
(0 and O, 1 and I, a hollow disc and a ring).

| family | classes | accuracy | |
|---|---|---|---|
{rows}

On the task `digits`, real handwriting, {digits["split"]} split ({digits["examples"]} examples):

- zero-shot, the source head's rows of the ten digits: **{digits["zero_shot"]:.1%}**
- linear probe on class-token features, fitted to {digits["fitted"]} examples: **{digits["linear_probe"]:.1%}**

{LOOKED_AT}

## Limits

Made for trying methods out in minutes, not for use. It knows little of natural images.
"""
