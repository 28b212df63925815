from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock, VisionTransformer
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
    "average, norm": {"class_token": False, "global_pool": "avg", "fc_norm": False},
    "SigLIP": {"class_token": False, "global_pool": "map"},
    "registers, LayerScale": {"reg_tokens": 3, "init_values": 0.5, "no_embed_class": True},
    "CLIP": {"pre_norm": True},
    "norms of queries and keys": {"qk_norm": True},
    "prr": {"global_pool": "prr"},
}
OTHERS: dict[str, dict[str, object]] = {
    "parallel branches": {"block_fn": ParallelScalingBlock},
    "parallel blocks": {"block_fn": ParallelThingsBlock},
    "differential attention": {"attn_layer": "diff"},
}


def tuned(model: nn.Module, **hyperparameters: object) -> nn.Module:
    methods.create("vqt", **{"queries": 3, **hyperparameters}).apply(model)
    tune(model)
    return model


def by_hand(plain: VisionTransformer, queries: list[Tensor], weight: Tensor, images: Tensor) -> Tensor:
    """The tuned feature (B, d) from the plain model, head by head; `queries` (T, d) of each block."""
    x = plain.norm_pre(plain._pos_embed(plain.patch_embed(images)))
    read = []
    for block, q0 in zip(plain.blocks, queries, strict=True):
        attn, d = block.attn, x.shape[-1]
        w, b = attn.qkv.weight, attn.qkv.bias
        asked = block.norm1(q0) @ w[:d].T + b[:d]  # (T, d)
        k, v = (block.norm1(x) @ w[s].T + b[s] for s in (slice(d, 2 * d), slice(2 * d, 3 * d)))  # (B, N, d)
        heads = []
        for h in range(attn.num_heads):
            s = slice(h * attn.head_dim, (h + 1) * attn.head_dim)
            scores = attn.q_norm(asked[:, s]) @ attn.k_norm(k[..., s]).mT / attn.head_dim**0.5
            heads.append(scores.softmax(dim=-1) @ v[..., s])
        y = q0 + block.ls1(attn.proj(torch.cat(heads, dim=-1)))
        read.append(y + block.ls2(block.mlp(block.norm2(y))))
        x = block(x)
    f = plain.forward_head(plain.norm(x), pre_logits=True)
    added = torch.zeros_like(f)
    for w, y in zip(weight[:-1], torch.cat(read, dim=1).unbind(1), strict=True):
        added = added + w * y / y.norm(dim=1, keepdim=True)
    return weight[-1] * f + f.norm(dim=1, keepdim=True) * added


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_the_equations(kind, fused):
    model = build(**MODELS[kind])
    for block in model.blocks:
        block.attn.fused_attn = fused
    plain = copy.deepcopy(model)
    tuned(model)
    parameters = methods.trainable_parameters(model)
    feature = by_hand(plain, [block.queries for block in model.blocks], model.head_drop.weight, images())
    by = {}
    for name, logits in (("method", model(images())), ("hand", model.head(feature))):
        loss = F.cross_entropy(logits, torch.arange(4))
        by[name] = logits, dict(zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True))
    assert_close(by["method"][0], by["hand"][0], atol=1e-10, rtol=0)
    for name, gradient in by["hand"][1].items():
        assert_close(by["method"][1][name], gradient, atol=1e-10, rtol=1e-8)
        assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("kind", [*MODELS, *OTHERS])
def test_queries_read_the_tokens_and_leave_them_as_they_are(kind):
    model = build(**(MODELS | OTHERS)[kind])
    plain = copy.deepcopy(model)
    methods.create("vqt", queries=2).apply(model)
    assert_close(model.forward_features(images()), plain.forward_features(images()), atol=1e-12, rtol=0)
    assert_close(model(images()), plain(images()), atol=1e-12, rtol=0)
    tune(model)
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    assert all(block.queries.grad.abs().amin(dim=1).max() > 0 for block in model.blocks)


def test_a_query_reads_the_same_whatever_the_others_ask():
    many, one = build(), build()
    tuned(many, queries=3)
    tuned(one, queries=1)
    for alone, beside in zip(one.blocks, many.blocks, strict=True):
        alone.queries.data.copy_(beside.queries[1:2])
    for model in (many, one):
        model(images())
    read = many.norm.read.outputs.unflatten(1, (2, 3))[:, :, 1]
    assert_close(one.norm.read.outputs, read, atol=1e-12, rtol=0)


def test_the_path_is_the_line_from_the_pretrained_feature_to_the_tuned_one():
    model = build()
    plain = copy.deepcopy(model)
    tuned(model)
    features = {}
    for alpha in (0, 1e-9, 0.3, 1):
        methods.scale(model, alpha)
        features[alpha] = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert torch.equal(features[0], plain.forward_head(plain.forward_features(images()), pre_logits=True))
    assert_close(features[1e-9], features[0], atol=1e-7, rtol=0)
    assert_close(features[0.3], 0.7 * features[0] + 0.3 * features[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_checkpointed_blocks_give_the_same_gradients(dropout):
    model = tuned(build(class_token=False, global_pool="avg"), dropout=dropout)
    assert_checkpointing_changes_nothing(model, least=1e-4)


def test_dropout_falls_on_the_queries_of_each_image_while_training():
    model = tuned(build(), dropout=0.5).eval()
    same = images(1).expand(2, -1, -1, -1)
    first, second = model(same)
    assert_close(first, second)
    first, second = model.train()(same)
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_compiled_model_is_the_same_function_with_the_same_gradients():
    assert_compiling_changes_nothing(tuned(build()))


@pytest.mark.parametrize("fused", [True, False])
def test_bfloat16_autocast_stays_near_double_precision(fused):
    model = tuned(build(class_token=False, global_pool="map"))
    expected = model(images()).float()
    for block in model.blocks:
        block.base.attn.fused_attn = fused
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.float()(images().float())
    assert logits.dtype == torch.bfloat16
    assert_close(logits.float(), expected, atol=0.05 * expected.abs().max().item(), rtol=0)


def test_any_image_size_and_a_batch_of_one_pass():
    assert_any_size_and_a_batch_of_one_pass(tuned(build(dynamic_img_size=True)))


def test_a_distilled_model_hears_the_queries_at_both_heads():
    model = build(VisionTransformerDistilled)
    plain = copy.deepcopy(model)
    tuned(model)
    logits = []
    for token, head in enumerate((model.head, model.head_dist)):
        plain.forward_head = lambda x, pre_logits, token=token: x[:, token]
        queries = [block.queries for block in model.blocks]
        logits.append(head(by_hand(plain, queries, model.head_drop.weight, images())))
    assert_close(model(images()), (logits[0] + logits[1]) / 2, atol=1e-10, rtol=0)


def test_a_model_can_be_copied_amid_training():
    model = tuned(build())
    logits = model(images())
    other = copy.deepcopy(model)
    logits.sum().backward()
    assert torch.equal(other(images()), logits)
    tokens = model.forward_features(images())
    other(-images())
    assert torch.equal(model.forward_head(tokens), logits)  # what the copy's queries read stays with the copy


def test_the_studys_variant_does_not_hear_the_queries():
    model = tuned(build(), released=True)
    before = model(images())
    for block in model.blocks:
        block.queries.data.normal_()
    assert torch.equal(model(images()), before)


def test_the_studys_variant_starts_as_its_initialiser_leaves_it():
    weights = {}
    for released in (False, True):
        model = methods.create("vqt", queries=20, released=released).apply(build())
        weights[released] = model.head_drop.weight.detach()
    assert 0.01 < weights[True].std() < 0.03
    assert weights[False].tolist() == [0.0] * 40 + [1.0]


def test_on_vit_b16_ten_queries_are_the_documented_count():
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0, weight_init="skip")
        methods.create("vqt", queries=10).apply(model)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == 92_281


def test_a_model_that_pools_nothing_is_refused_and_left_alone():
    model = build(global_pool="")
    modules = [type(module) for module in model.modules()]
    with pytest.raises(InputError, match="vqt adds to the pooled feature, but the model has global_pool=''"):
        methods.create("vqt").apply(model)
    assert [type(module) for module in model.modules()] == modules
