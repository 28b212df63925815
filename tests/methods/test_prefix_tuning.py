from __future__ import annotations

import copy
import math

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor, nn
from torch.testing import assert_close

from petl_study import methods
from petl_study.errors import InputError
from random_vits import (
    assert_any_size_and_a_batch_of_one_pass,
    assert_checkpointing_changes_nothing,
    assert_compiling_changes_nothing,
    build,
    images,
)
from test_contract import tune

MODELS: dict[str, dict[str, object]] = {
    "class token": {},
    "average, fc_norm": {"class_token": False, "global_pool": "avg"},
    "SigLIP": {"class_token": False, "global_pool": "map"},
    "registers, LayerScale": {"reg_tokens": 3, "init_values": 0.5},
    "CLIP": {"pre_norm": True},
    "norms of queries and keys": {"qk_norm": True},
    "norm of the output": {"scale_attn_norm": True},
    "no bias": {"qkv_bias": False},
}


def tuned(model: nn.Module, prefixes: int = 3) -> nn.Module:
    methods.create("prefix_tuning", prefixes=prefixes).apply(model)
    tune(model, std=0.5)
    return model


def attended(attn: nn.Module, z: Tensor, keys: Tensor, values: Tensor, alpha: float) -> Tensor:
    """What `attn` says of tokens z (B, N, d) with learned `keys` and `values` (P, d), head by head."""
    heads = []
    q, k, v = attn.qkv(z).chunk(3, dim=-1)
    for h in range(attn.num_heads):
        s = slice(h * attn.head_dim, (h + 1) * attn.head_dim)
        k_all = torch.cat([k[..., s], keys[:, s].expand(len(z), -1, -1)], dim=1)
        v_all = torch.cat([v[..., s], values[:, s].expand(len(z), -1, -1)], dim=1)
        weights = (attn.q_norm(q[..., s]) @ attn.k_norm(k_all).mT / math.sqrt(attn.head_dim)).exp()
        weights = torch.cat([weights[..., : -len(keys)], alpha * weights[..., -len(keys) :]], dim=-1)
        heads.append(weights @ v_all / weights.sum(dim=-1, keepdim=True))
    return attn.proj(attn.norm(torch.cat(heads, dim=-1)))


def by_hand(plain: VisionTransformer, prefixes: list[tuple[Tensor, Tensor]], alpha: float = 1) -> Tensor:
    x = plain.norm_pre(plain._pos_embed(plain.patch_embed(images())))
    for block, (keys, values) in zip(plain.blocks, prefixes, strict=True):
        x = x + block.ls1(attended(block.attn, block.norm1(x), keys, values, alpha))
        x = x + block.ls2(block.mlp(block.norm2(x)))
    return plain.forward_head(plain.norm(x))


def learned(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(block.attn.base.qkv.keys, block.attn.base.qkv.values) for block in model.blocks]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_the_equations(kind, fused):
    model = build(**MODELS[kind])
    for block in model.blocks:
        block.attn.fused_attn = fused
    plain = copy.deepcopy(model)
    tuned(model)
    plain.head.load_state_dict(model.head.state_dict())
    parameters = methods.trainable_parameters(model)
    by = {}
    for name, logits in (("method", model(images())), ("hand", by_hand(plain, learned(model)))):
        loss = F.cross_entropy(logits, torch.arange(4))
        by[name] = logits, dict(zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True))
    assert_close(by["method"][0], by["hand"][0], atol=1e-10, rtol=0)
    for name, gradient in by["hand"][1].items():
        assert_close(by["method"][1][name], gradient, atol=1e-10, rtol=1e-8)
        assert gradient.abs().max() > 1e-5


@pytest.mark.parametrize("alpha", [1e-6, 0.3, 0.8])
def test_on_the_path_attention_to_the_prefix_is_weighted_by_alpha(alpha):
    model = build()
    plain = copy.deepcopy(model)
    tuned(model)
    methods.scale(model, alpha)
    plain.head.load_state_dict(model.head.state_dict())
    assert_close(model(images()), by_hand(plain, learned(model), alpha), atol=1e-10, rtol=0)


def test_without_a_weight_the_prefix_is_not_there_at_all():
    model = build()
    pretrained = model(images())
    tuned(model)
    for _, values in learned(model):
        values.data.fill_(math.inf)
    methods.scale(model, 0)
    assert torch.equal(model(images()), pretrained)


def test_keys_alike_and_values_alike_are_one_prefix_counted_twice():
    """ln 2 more on its logit: what a duplicate does to a softmax."""
    model, doubled = build(), build()
    tuned(model, prefixes=1)
    tuned(doubled, prefixes=2)
    for (keys, values), (both_keys, both_values) in zip(learned(model), learned(doubled), strict=True):
        both_keys.data.copy_(keys.expand(2, -1))
        both_values.data.copy_(values.expand(2, -1))
    doubled.head.load_state_dict(model.head.state_dict())
    assert not torch.allclose(model(images()), doubled(images()), atol=1e-4)
    methods.scale(doubled, 0.5)
    doubled.head.load_state_dict(model.head.state_dict())  # the classifier moves along the path too
    assert_close(doubled(images()), model(images()), atol=1e-10, rtol=0)


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_of_attention_falls_on_the_prefix_too(fused):
    """Of the values, the prefix's alone are not zero: what is left to vary is what dropout did to them."""
    model = build(attn_drop_rate=0.5)
    for block in model.blocks:
        block.attn.fused_attn = fused
        block.attn.qkv.weight.data[48:].zero_()
        block.attn.qkv.bias.data[48:].zero_()
    tuned(model)
    same = images(1).expand(2, -1, -1, -1)
    first, second = model.eval()(same)
    assert_close(first, second)
    first, second = model.train()(same)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("attn_layer", ["attn", "diff"])
def test_checkpointed_blocks_give_the_same_gradients(attn_layer):
    model = tuned(build(class_token=False, global_pool="avg", attn_layer=attn_layer))
    assert_checkpointing_changes_nothing(model, least=1e-5)


def test_a_compiled_model_is_the_same_function_with_the_same_gradients():
    assert_compiling_changes_nothing(tuned(build()))


@pytest.mark.parametrize("alpha", [1, 0.5])
@pytest.mark.parametrize("fused", [True, False])
def test_bfloat16_autocast_stays_near_double_precision(fused, alpha):
    model = tuned(build(qk_norm=True))
    methods.scale(model, alpha)
    expected = model(images()).float()
    for block in model.blocks:
        block.attn.base.fused_attn = fused
    said: list[Tensor] = []
    model.blocks[0].attn.base.qkv.register_forward_hook(lambda _, __, qkv: said.append(qkv))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.float()(images().float())
    assert logits.dtype == said[0].dtype == torch.bfloat16
    assert_close(logits.float(), expected, atol=0.05 * expected.abs().max().item(), rtol=0)


def test_any_image_size_and_a_batch_of_one_pass():
    assert_any_size_and_a_batch_of_one_pass(tuned(build(dynamic_img_size=True)))


def test_prefixes_start_small_and_each_its_own():
    model = methods.create("prefix_tuning", prefixes=50).apply(build())
    drawn = torch.cat([torch.cat(pair) for pair in learned(model)])  # (2 L P, d)
    assert 0.018 < drawn.std() < 0.022
    assert len(drawn.unique(dim=0)) == len(drawn)


def test_on_vit_b16_ten_prefixes_are_the_documented_count():
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0, weight_init="skip")
        methods.create("prefix_tuning", prefixes=10).apply(model)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == 184_320


def test_blocks_without_an_attention_of_their_own_are_refused():
    with pytest.raises(InputError, match="a VisionTransformer has no attn"):
        methods.create("prefix_tuning").apply(build(block_fn=ParallelScalingBlock))
