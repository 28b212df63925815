"""CLIP's image tower, with a classifier made of class names (arXiv 2103.00020).

    logits = s z t^T        z = P f / |P f|        t_c = sum_k u_ck / |sum_k u_ck|

    f (B, d) the image tower's class token   P (e, d) the projection, kept   s the learned logit scale
    u_ck (e,) the text tower's embedding, of length 1, of class c in prompt k

The classifier is linear in z, with the rows s t_c and biases 0: the text tower is needed once, to make them. Names are
open_clip's, ``clip:ViT-B-16/openai``, or a file of its weights, ``clip:ViT-B-16@/path/to/file.safetensors``. A file
does not say how it was trained: OpenAI's own weights want ``clip:ViT-B-16-quickgelu@...``; mean and std are taken to be
OpenAI's. The image tower, if it is a vision transformer, becomes timm's; the prompts are the 80 that CLIP was published
with for ImageNet. So are the names of ImageNet's classes: one that ends in its WordNet id, ``crane (n02012849)``, is
asked for by the name that CLIP was asked by, "crane bird".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import ImageNetInfo  # type: ignore[attr-defined]
from torch import Tensor, nn

from petl_study.backbones import checkpoints, timm_models
from petl_study.backbones._info import BackboneInfo
from petl_study.errors import InputError, unknown

PREFIX = "clip:"
_SYNSET = re.compile(r"(.+) \((n\d{8})\)")
# What an image tower may say of itself; others (ResNets, timm's own, pooled by attention) are other architectures.
GEOMETRY = {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"}


class Embedding(nn.Module):
    """Image features (B, d) to CLIP's embedding (B, e), of length 1: z of the equation."""

    def __init__(self, projection: Tensor):
        super().__init__()
        self.projection = nn.Parameter(projection.detach().clone())  # P (e, d): no layer of its own to methods

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(F.linear(x, self.projection), dim=-1)


@dataclass(frozen=True)
class Named:
    """A name in its parts: open_clip's model, and its tag of weights or a file's path; the other is ``""``."""

    name: str
    model: str
    tag: str
    path: str

    @property
    def config(self) -> dict[str, Any]:
        """open_clip's own: `embed_dim`, `vision_cfg`, `text_cfg`."""
        return dict(_open_clip().get_model_config(self.model))

    @property
    def weights(self) -> dict[str, Any]:
        """What open_clip knows of the tagged weights: where they are, mean and std, activation."""
        return dict(_open_clip().get_pretrained_cfg(self.model, self.tag)) if self.tag else {}

    @property
    def quick_gelu(self) -> bool:
        return bool(self.config.get("quick_gelu") or self.weights.get("quick_gelu"))


def parse(name: str) -> Named:
    """The parts of a name.

    Raises
    ------
    InputError
        open_clip is not installed, or knows no such model or weights; the file is missing; the tower is no plain ViT.
    """
    model, at, path = name.removeprefix(PREFIX).partition("@")
    tag = ""
    if not at:
        model, _, tag = model.rpartition("/")
    open_clip = _open_clip()
    if not model and tag in open_clip.list_models():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(tag)) or "none"
        raise InputError(
            f"{name} does not say which weights: name those that open_clip knows ({tags}), as in {PREFIX}{tag}/openai,"
            f" or a file, {PREFIX}{tag}@/path/to/weights.safetensors."
        )
    if model not in open_clip.list_models():
        raise unknown(
            "CLIP model", model or tag, open_clip.list_models(), where="clip:MODEL/WEIGHTS or clip:MODEL@FILE"
        )
    if at:
        checkpoints.local(path)
    elif tag not in (tags := open_clip.list_pretrained_tags_by_model(model)):
        raise unknown("weights", tag, tags, where=f"CLIP model {model}")
    named = Named(name, model, tag, path)
    vision = named.config["vision_cfg"]
    if other := sorted(key for key in vision.keys() - GEOMETRY if vision[key]):
        raise InputError(f"the image tower of {model} is no plain vision transformer: it has {', '.join(other)}.")
    if not isinstance(vision["layers"], int):
        raise InputError(f"the image tower of {model} is a ResNet; choose a vision transformer, such as ViT-B-16.")
    return named


def info(named: Named) -> BackboneInfo:
    """What is known of it; the weights are looked for only when their fingerprint is asked for."""
    open_clip = _open_clip()
    name, arguments = _architecture(named)
    source = named.path or named.weights.get("hf_hub") or named.weights.get("url", "")
    return BackboneInfo(
        name=named.name,
        summary=f"CLIP: image tower of {named.model}, weights: {source}",
        parameters=timm_models.parameters(name, **arguments) + named.config["embed_dim"] * arguments["embed_dim"],
        image_size=arguments["img_size"],
        mean=tuple(named.weights.get("mean", open_clip.OPENAI_DATASET_MEAN)),
        std=tuple(named.weights.get("std", open_clip.OPENAI_DATASET_STD)),
        source=source,
        fingerprint=lambda: checkpoints.sha256(weight_file(named)),
        open_vocabulary=True,
    )


def create(named: Named, classes: int, *, drop_path: float, image_size: int | None) -> nn.Module:
    """timm's vision transformer with the tower's weights; before its classifier, the embedding of length 1."""
    path = weight_file(named)
    tower = {name: tensor for name, tensor in checkpoints.read(path).items() if name.startswith("visual.")}
    name, arguments = _architecture(named)
    size = image_size or arguments["img_size"]
    with timm_models.own_chance():
        arguments |= {"img_size": size, "drop_path_rate": drop_path}
        model: Any = timm_models.load_tensors(name, tower, path, arguments)
        if not isinstance(model.head, nn.Linear):
            raise InputError(f"{path} holds no image tower of {named.model}: it lacks visual.proj.")
        # The place between the features and the classifier that no method takes for a layer of its own.
        model.head_drop = Embedding(model.head.weight)
        model.head = nn.Linear(named.config["embed_dim"], classes)
    model.num_classes, model.head_hidden_size = classes, named.config["embed_dim"]
    known = info(named)
    model.pretrained_cfg = {"input_size": (3, size, size), "mean": known.mean, "std": known.std, "num_classes": classes}
    return model.eval()


def zero_shot_head(named: Named, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Rows of a classifier for the named classes: weight (C, e) with the logit scale in it, and biases (C,) of 0."""
    weight = _rows(named, tuple(classes), checkpoints.sha256(weight_file(named)))
    return weight.clone(), torch.zeros(len(classes))


@cache
@torch.no_grad()
def _rows(named: Named, classes: tuple[str, ...], fingerprint: str) -> Tensor:
    model, tokenizer = _both_towers(named), _open_clip().get_tokenizer(named.model)
    rows = []
    for name in classes:
        prompts = [template(_spoken(name)) for template in _open_clip().OPENAI_IMAGENET_TEMPLATES]
        of_prompts = model.encode_text(tokenizer(prompts), normalize=True)  # (K, e)
        rows.append(F.normalize(of_prompts.sum(dim=0), dim=-1))
    return model.logit_scale.exp() * torch.stack(rows)


def _spoken(name: str) -> str:
    """What a class is called in a prompt."""
    lemma, wnid = match.groups() if (match := _SYNSET.fullmatch(name)) else (name, "")
    return _of_imagenet().get(wnid, lemma.replace("_", " "))


@cache
def _of_imagenet() -> dict[str, str]:
    """CLIP's names of ImageNet's classes, by WordNet id."""
    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), _open_clip().IMAGENET_CLASSNAMES, strict=True))


def _both_towers(named: Named) -> Any:
    path = weight_file(named)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # open_clip warns of random weights, which are replaced, all of them, below
    try:
        with timm_models.own_chance():
            model = _open_clip().create_model(named.model, load_weights=False, force_quick_gelu=named.quick_gelu)
    finally:
        logging.disable(before)
    try:
        model.load_state_dict(checkpoints.read(path))
    except RuntimeError as error:
        raise timm_models.mismatch(f"{PREFIX}{named.model}", path, error) from None
    return model.eval()


def weight_file(named: Named) -> Path:
    """The file of both towers' weights, on this machine; fetched first where it has to be."""
    if named.path:
        return checkpoints.local(named.path)
    # Of a file nobody says with which activation it was trained: the model's name has to.
    quick = "-quickgelu" if named.quick_gelu and not named.config.get("quick_gelu") else ""
    use = f"give a file you have: {PREFIX}{named.model}{quick}@/path/to/weights.safetensors"
    repository, _, file = named.weights.get("hf_hub", "").rpartition("/")
    if not repository:
        raise InputError(f"{named.name} is not on the hub: download {named.weights['url']} yourself, and {use}.")
    file = file or "open_clip_pytorch_model.bin"
    safe = file.replace("pytorch_model", "model").rpartition(".")[0] + ".safetensors"
    return checkpoints.hub(repository, list(dict.fromkeys([safe, file])), use)


def _architecture(named: Named) -> tuple[str, dict[str, Any]]:
    """timm's name and arguments for the image tower."""
    vision = named.config["vision_cfg"]
    quick = "_quickgelu" if named.quick_gelu else ""
    return f"vit_base_patch16_clip{quick}_224", {
        "img_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embed_dim": vision["width"],
        "depth": vision["layers"],
        "num_heads": vision["width"] // vision.get("head_width", 64),
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
    }


def _open_clip() -> ModuleType:
    try:
        import open_clip
    except ImportError:
        raise InputError(
            f"{PREFIX} backbones need open_clip, which is not installed: pip install 'petl_study[clip]'"
        ) from None
    return open_clip
