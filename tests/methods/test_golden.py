"""Logits and gradients equal those of the published implementations (see golden/README.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_study import methods
from petl_study.methods.sct import importance

Tensors = dict[str, torch.Tensor]
GOLDEN = Path(__file__).parent / "golden"
SSF_SITES = {
    "1": "norm1",
    "2": "norm2",
    "qkv": "attn.qkv",
    "linear": "attn.proj",
    "hidden": "mlp.fc1",
    "out": "mlp.fc2",
}


def renamed(*rules: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    """The reference's tensors under our names, by regular expressions."""

    def rename(tensors: Tensors) -> Tensors:
        for pattern, replacement in rules:
            tensors = {re.sub(pattern, replacement, name): tensor for name, tensor in tensors.items()}
        return tensors

    return rename


def fact_tt(tensors: Tensors) -> Tensors:
    """q, k and v have cores of their own there; here they are one, stacked."""
    tensors = renamed((r".*FacTu.weight", BASES + "into"), (r".*FacTv.weight", BASES + "out"))(tensors)
    for i in range(3):
        core = f"blocks.0.attn.fact.per_block_para.{i}"
        parts = [tensors.pop(f"{core}.attn.{k}.weight") for k in range(4)]
        tensors[f"blocks.{i}.attn.qkv.own"] = torch.cat(parts[:3])
        tensors[f"blocks.{i}.attn.proj.own"] = parts[3]
        tensors[f"blocks.{i}.mlp.fc1.own"] = tensors.pop(f"{core}.mlp.0.weight")
        tensors[f"blocks.{i}.mlp.fc2.own"] = tensors.pop(f"{core}.mlp.1.weight")
    return tensors


def rlrr(tensors: Tensors) -> Tensors:
    """q, k and v are layers of their own there; here they are one, stacked."""
    tensors = renamed(
        (r"transformer.embeddings.ssf_(\w+)_patch", r"patch_embed.proj.\1"),
        (r"transformer.encoder.ssf_(\w+)_enc_norm", r"norm.\1"),
        (r"transformer.encoder.layer.", "blocks."),
        (r"ssf_(\w+)_attn_norm", r"norm1.\1"),
        (r"ssf_(\w+)_ffn_norm", r"norm2.\1"),
        (r"ffn\.", "mlp."),
        (r"attn.out\.", "attn.proj."),
        (r"scale_line", "left"),
        (r"scale_col", "right"),
        (r"shift_bias", "shift"),
    )(tensors)
    tensors = {name: t if name.endswith("right") else t.flatten() for name, t in tensors.items()}
    for i in range(3):
        for what in ("left", "right", "shift"):
            parts = [tensors.pop(f"blocks.{i}.attn.{part}.{what}") for part in ("query", "key", "value")]
            tensors[f"blocks.{i}.attn.qkv.{what}"] = torch.cat(parts)
    return tensors


def repadapter(tensors: Tensors) -> Tensors:
    tensors = renamed(
        ("ft_attn_module", "attn.qkv"),
        ("ft_mlp_module", "mlp.fc1"),
        ("conv_A.weight", "down"),
        ("conv_A.bias", "down_bias"),
        ("conv_B.weight", "up"),
        ("conv_B.bias", "up_bias"),
    )(tensors)
    return {name: t.squeeze(-1) if t.ndim == 3 else t for name, t in tensors.items()}


def sct(tensors: Tensors) -> Tensors:
    """Here a block may have several groups of channels; there it is one."""
    tensors = renamed((r"\.sct_attn.adapt_linear", ""), (r"\.sct_mlp.adapt_linear", ".mlp"))(tensors)
    return {name: t[None] for name, t in tensors.items()}


def vpt_deep(tensors: Tensors) -> Tensors:
    return {f"blocks.{i}.prompts": prompts for [stacked] in [tensors.values()] for i, prompts in enumerate(stacked)}


def vpt_shallow(tensors: Tensors) -> Tensors:
    [prompts] = tensors.values()
    return {"blocks.0.prompts": prompts[0]}


def vqt(tensors: Tensors) -> Tensors:
    queries = enumerate(tensors["vqt.query_prompt_embeddings"])
    weight = tensors["vqt.combine_layer.weight"].flatten()
    return {"head_drop.weight": weight} | {f"blocks.{i}.queries": q for i, q in queries}


BASES = "blocks.0.attn.qkv.bases."
adapters = renamed(("ft_attn_module", "attn.adapter"), ("ft_mlp_module", "mlp.adapter"), ("_proj", ""))
ssf = renamed(
    (r"^ssf_(\w+)$", r"norm.\1"),
    (r"patch_embed.ssf_(\w+)_1", r"patch_embed.proj.\1"),
    (r"attn.ssf_(\w+)_qkv", r"attn.qkv.\1"),
    (r"attn.ssf_(\w+)_linear", r"attn.proj.\1"),
    (r"mlp.ssf_(\w+)_hidden", r"mlp.fc1.\1"),
    (r"mlp.ssf_(\w+)_out", r"mlp.fc2.\1"),
    (r"ssf_(\w+)_([12])", r"norm\2.\1"),
)
CASES = {
    "adaptformer": ({"bottleneck": 6, "scale": 0.1}, adapters),
    "bitfit": ({}, renamed()),
    "convpass": ({"bottleneck": 6, "scale": 0.5}, renamed(("_module.adapter_", ".adapter."), (r"\.ft_", "."))),
    "difffit": ({}, renamed(("difffit_gamma1", "attn.proj.gamma"), ("difffit_gamma2", "mlp.fc2.gamma"))),
    "fact_tk": (
        {"rank": 5, "scale": 0.5},
        renamed(
            (r".*FacTu.weight", BASES + "into"),
            (r".*FacTv.weight", BASES + "out"),
            (r".*FacTc", BASES + "centre"),
            (r".*FacTp", BASES + "mix"),
        ),
    ),
    "fact_tt": ({"rank": 5, "scale": 0.5}, fact_tt),
    "houlsby_adapter": ({"bottleneck": 6, "scale": 0.1}, adapters),
    "layernorm": ({}, renamed()),
    "lora": ({"rank": 4}, renamed(("lora.lora_a.weight", "qkv.down"), ("lora.lora_b.weight", "qkv.up"))),
    "pfeiffer_adapter": ({"bottleneck": 6, "scale": 0.1}, adapters),
    "repadapter": ({"bottleneck": 6, "groups": 2, "scale": 0.5}, repadapter),
    "rlrr": ({}, rlrr),
    "sct_attn": ({"channels": 6, "position": "attn"}, sct),
    "sct_mlp": ({"channels": 6, "position": "mlp"}, sct),
    "ssf": ({}, ssf),
    "vpt_deep": ({"prompts": 5}, vpt_deep),
    "vpt_shallow": ({"prompts": 5, "keep": False}, vpt_shallow),
    "vpt_shallow_official": ({"prompts": 5}, vpt_shallow),
    "vqt": ({"queries": 3, "released": True}, vqt),
}
OF = {"sct_attn": "sct", "sct_mlp": "sct", "vpt_shallow_official": "vpt_shallow"}  # files that have another name


def salient_modules(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, "channels")]


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
    data = [(base["input"].to(getattr(torch, dtype)), base["labels"])]
    methods.create(OF.get(method, method), **hyperparameters).apply(vit, data)
    if "extra/channel_index" in golden:
        for module, channels in zip(salient_modules(vit), golden["extra/channel_index"], strict=True):
            module.channels.copy_(channels[None])
    parameters = methods.trainable_parameters(vit)
    for name, value in ours({name[6:]: t for name, t in golden.items() if name.startswith("param/")}).items():
        parameters[name].data.copy_(value)

    logits = vit(base["input"].to(getattr(torch, dtype)))
    F.cross_entropy(logits, base["labels"]).backward()

    torch.testing.assert_close(logits, golden["logits"].to(logits.dtype), atol=logits_atol, rtol=0)
    gradients = ours({name[5:]: g for name, g in golden.items() if name.startswith("grad/")})
    assert gradients.keys() == parameters.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(parameters[name].grad, gradient.to(logits.dtype), atol=gradients_atol, rtol=0)


@pytest.mark.parametrize("position", ["attn", "mlp", "qkv"])
def test_sct_chooses_the_references_channels(position, vit):
    with np.load(GOLDEN / "sct_selection.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name.startswith("e2e")}
    images, labels = golden["e2e/images"], golden["e2e/labels"]
    batches = [(images[:3], labels[:3]), (images[3:], labels[3:])]  # the score must not depend on the batching
    methods.create("sct", channels=6, position=position).apply(vit, batches)
    chosen = torch.stack([module.channels for module in salient_modules(vit)])  # (L, parts, 6)
    if position == "qkv":
        assert torch.equal(chosen[:, 0], golden["e2e/sct_qkv/indices_q"])
        assert torch.equal(chosen[:, 1] - 2 * 48, golden["e2e/sct_qkv/indices_v"])
    else:
        assert torch.equal(chosen[:, 0], golden[f"e2e/sct_{position}/indices"])


def test_sct_scores_are_the_references(vit):
    with np.load(GOLDEN / "sct_selection.npz") as arrays:
        data = [(torch.from_numpy(arrays["e2e/images"]), torch.from_numpy(arrays["e2e/labels"]))]
        expected = torch.from_numpy(arrays["e2e/sct_attn/scores"])
    scores = torch.cat(importance(vit, "attn", data))
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-4), ("float64", 1e-6)])
def test_vqts_queries_read_what_the_reference_computes_and_throws_away(dtype, atol, vit, base):
    with np.load(GOLDEN / "vqt.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]).to(getattr(torch, dtype)) for name in arrays.files}
    vit = vit.to(getattr(torch, dtype))
    methods.create("vqt", queries=3).apply(vit)
    for block, queries in zip(vit.blocks, golden["param/vqt.query_prompt_embeddings"], strict=True):
        block.queries.data.copy_(queries)
    before_norm: list[torch.Tensor] = []
    vit.norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
    vit(base["input"].to(getattr(torch, dtype)))
    expected = torch.cat([golden[f"extra/block{i}_query_out"] for i in range(3)], dim=1)  # (B, L T, d)
    torch.testing.assert_close(before_norm[0][:, -9:], expected, atol=atol, rtol=0)
