"""Logits and gradients equal those of the published implementations (see golden/README.md)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from petl_study import methods

GOLDEN = Path(__file__).parent / "golden"
SSF_SITES = {
    "1": "norm1",
    "2": "norm2",
    "qkv": "attn.qkv",
    "linear": "attn.proj",
    "hidden": "mlp.fc1",
    "out": "mlp.fc2",
}


def ours_for_ssf(name: str) -> str:
    """``blocks.0.attn.ssf_scale_qkv`` is our ``blocks.0.attn.qkv.scale``."""
    what, site = re.search(r"ssf_(scale|shift)_?(\w*)$", name).groups()
    if name.startswith("ssf_"):
        return f"norm.{what}"
    if name.startswith("patch_embed"):
        return f"patch_embed.proj.{what}"
    return f"{re.match(r'blocks.[0-9]+', name)[0]}.{SSF_SITES[site]}.{what}"


CASES = {
    "bitfit": ({}, lambda name: name),
    "lora": (
        {"rank": 4},
        lambda n: n.replace("lora.lora_a.weight", "qkv.down").replace("lora.lora_b.weight", "qkv.up"),
    ),
    "ssf": ({}, ours_for_ssf),
}


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "base.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture
def vit(base: dict[str, torch.Tensor]) -> VisionTransformer:
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7)
    model.load_state_dict({name.removeprefix("base/"): t for name, t in base.items() if name.startswith("base/")})
    return model.eval()


def test_the_base_model_is_the_references(vit, base):
    torch.testing.assert_close(vit(base["input"]), base["base_logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "logits_atol", "gradients_atol"), [("float32", 1e-5, 1e-4), ("float64", 1e-6, 1e-6)])
@pytest.mark.parametrize("method", CASES)
def test_logits_and_gradients_equal_the_references(method, dtype, logits_atol, gradients_atol, vit, base):
    hyperparameters, ours = CASES[method]
    with np.load(GOLDEN / f"{method}.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    vit = vit.to(getattr(torch, dtype))
    methods.create(method, **hyperparameters).apply(vit)
    parameters = methods.trainable_parameters(vit)
    for name, value in golden.items():
        if name.startswith("param/"):
            parameters[ours(name.removeprefix("param/"))].data.copy_(value)

    logits = vit(base["input"].to(getattr(torch, dtype)))
    F.cross_entropy(logits, base["labels"]).backward()

    torch.testing.assert_close(logits, golden["logits"].to(logits.dtype), atol=logits_atol, rtol=0)
    gradients = {ours(name.removeprefix("grad/")): g for name, g in golden.items() if name.startswith("grad/")}
    assert gradients.keys() == parameters.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(parameters[name].grad, gradient.to(logits.dtype), atol=gradients_atol, rtol=0)
