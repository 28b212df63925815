from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_study import methods, training
from petl_study.bench import minimum, products
from petl_study.bench.products import Operand, Product, Products, record
from petl_study.protocols import Protocol

B, N, D, M, L, C, R, P = 4, 17, 48, 192, 3, 7, 8, 3 * 8 * 8  # the small ViT's: images, tokens, widths, depth, patches
BLOCK = 2 * B * N * (3 * D * D + D * D + 2 * D * M)  # qkv, proj, fc1, fc2: floating-point operations of one way
SCORES = 2 * B * N * N * D  # one of attention's products, over all heads
PATCHES = 2 * B * (N - 1) * P * D
HEAD = 2 * B * D * C
FORWARD = PATCHES + L * (BLOCK + 2 * SCORES) + HEAD


def recorded(model: nn.Module, images: torch.Tensor, method: str, at_once: int = B) -> list[Product]:
    """The products of one step of training."""
    methods.create(method).apply(model)
    protocol = Protocol.model_validate({"base": "embedded", "name": "short", "batch_size": B})
    learns = methods.trainable_parameters(model, classifier=True)
    optimizer = torch.optim.AdamW(training.parameter_groups(learns, 1e-4, protocol), lr=1e-3, fused=True)
    return record(lambda: training.step(model.train(), optimizer, images, torch.arange(B), protocol, at_once))


def test_a_step_of_full_fine_tuning_is_counted_as_by_hand(small_vit, images):
    counted = products.flops(recorded(small_vit, images, "full"))
    # On the way back a gradient for each weight and each input, but not for the images; attention has four products.
    assert counted == FORWARD + PATCHES + L * (2 * BLOCK + 4 * SCORES) + 2 * HEAD


def test_a_step_of_linear_probing_is_counted_as_by_hand(small_vit, images):
    assert products.flops(recorded(small_vit, images, "linear")) == FORWARD + HEAD


def test_a_step_of_lora_is_counted_as_by_hand(small_vit, images):
    down, up = 2 * B * N * D * R, 2 * B * N * R * 3 * D
    backward = L * (BLOCK + 4 * SCORES) - 2 * B * N * D * 3 * D  # inputs alone; none below the first qkv
    added = L * 3 * (down + up) - down  # forward, weights, inputs; again none below the first
    assert products.flops(recorded(small_vit, images, "lora")) == FORWARD + 2 * HEAD + backward + added


def test_a_batch_in_parts_has_the_same_count(small_vit, images):
    whole = products.flops(recorded(small_vit, images, "full", at_once=4))
    methods.merge(small_vit)
    assert products.flops(recorded(small_vit, images, "full", at_once=2)) == whole


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_merged_model_computes_the_products_of_the_plain_one(small_vit, images, precision):
    @torch.inference_mode()
    def said() -> None:
        with training.precisely(precision, torch.device("cpu")):
            small_vit(images)

    plain = record(said)
    assert products.flops(plain) == FORWARD
    methods.create("lora").apply(small_vit)
    assert products.flops(record(said)) > FORWARD
    methods.merge(small_vit)
    assert record(said) == plain


def test_a_convolution_counts_what_each_output_meets_and_only_the_gradients_that_are_wanted():
    image, weight = torch.randn(2, 6, 9, 9), torch.randn(4, 3, 3, 3, requires_grad=True)
    found = record(lambda: F.conv2d(image, weight, groups=2).sum().backward())
    once = 2 * (2 * 4 * 7 * 7) * (3 * 3 * 3)
    assert Counter(one.name for one in found) == {"convolution": 1, "convolution_backward": 1}
    assert [one.flops for one in found] == [once, once]
    [across] = record(lambda: F.conv_transpose2d(image, torch.randn(6, 5, 3, 3)))
    assert across.flops == 2 * image.numel() * 5 * 3 * 3


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_products_are_computed_again_with_the_shapes_and_strides_that_they_had(small_vit, images, method):
    found = recorded(small_vit, images, method)
    again = record(Products(found, "cpu"))
    assert Counter(one.flops for one in again) == Counter(one.flops for one in found)

    def operands(one: Product) -> list[Operand]:
        return [argument for argument in one.arguments if isinstance(argument, Operand)]

    assert [operands(one) for one in again] == [operands(one) for one in found]


def test_drawn_operands_lie_as_the_recorded_ones_did():
    for tensor in (torch.zeros(3, 4).T, torch.zeros(5).expand(2, 5), torch.zeros(4, 6)[:, 1:3]):
        made = Operand.of(tensor).drawn("cpu")
        assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
        assert made.abs().sum() > 0


def test_a_square_is_what_its_count_says():
    assert record(Products([products.square(16, torch.bfloat16)], "cpu"))[0].flops == 2 * 16**3


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("method", ["full", "lora", "linear"])
def test_the_derived_activations_are_what_torch_stores_for_the_way_back(method):
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=4, embed_dim=64, depth=4, num_heads=2, num_classes=5)
    shape = minimum.Shape.of(model)
    assert shape is not None
    methods.create(method).apply(model)
    images, own = torch.randn(3, 3, 32, 32), {p.untyped_storage().data_ptr() for p in model.parameters()}
    stored: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        stored[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other is put in its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.cross_entropy(model(images), torch.arange(3)).backward()
    held = sum(t.untyped_storage().nbytes() for at, t in stored.items() if at not in own and t.shape != images.shape)
    terms = minimum.terms(shape, method, batch=3, at_once=3)
    activations = sum(term.bytes for term in terms[4:-1])
    # The last norm's output is stored whole for the one token of it that the classifier sees.
    assert activations <= held < activations + 4 * 3 * shape.tokens * shape.width + 200


@pytest.mark.parametrize(("method", "streams"), [("linear", 4), ("lora", 2), ("full", 2)])
def test_no_less_is_alive_at_the_widest_moment_than_is_derived(method, streams):
    """Live bytes as torch counts them. timm keeps a norm's output, and the input of a block, while it is not needed."""
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=4, embed_dim=64, depth=3, num_heads=2, num_classes=5)
    shape = minimum.Shape.of(model)
    assert shape is not None
    methods.create(method).apply(model)
    images = torch.randn(3, 3, 32, 32)
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        F.cross_entropy(model(images), torch.arange(3)).backward()
    changes = [(one.start_ns(), one.nbytes()) for one in profile.profiler.kineto_results.events() if one.nbytes()]
    alive = np.cumsum([size for _, size in sorted(changes)])
    derived = sum(term.bytes for term in minimum.terms(shape, method, batch=3, at_once=3)[4:])
    stream = torch.zeros(3, shape.tokens, shape.width).nbytes
    deviations = torch.zeros(2, 3, shape.tokens).nbytes  # of the last norm, which are free by then, too
    assert derived - deviations <= alive.max() < derived + streams * stream


def test_weights_gradients_and_moments_are_the_parameters_own(small_vit):
    shape = minimum.Shape.of(small_vit)
    assert shape is not None
    for method in ("full", "lora", "linear"):
        weights, gradients, moments, images, *_ = minimum.terms(shape, method, batch=4, at_once=2)
        model = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7)
        methods.create(method).apply(model)
        learns = sum(p.numel() for p in methods.trainable_parameters(model, classifier=True).values())
        assert weights.bytes == 4 * sum(p.numel() for p in model.parameters())
        assert (gradients.bytes, moments.bytes) == (4 * learns, 8 * learns)
        assert images.bytes == 4 * 4 * 3 * 32 * 32


def test_activations_grow_with_what_is_there_at_once(small_vit):
    shape = minimum.Shape.of(small_vit)
    assert shape is not None
    few, many = (sum(term.bytes for term in minimum.terms(shape, "full", batch=8, at_once=n)[4:]) for n in (2, 8))
    assert many == 4 * few


def test_a_transformer_that_is_built_otherwise_has_no_closed_form(small_vit):
    methods.create("lora").apply(small_vit)
    assert minimum.Shape.of(small_vit) is not None  # the blocks are the same; a wrapper hangs inside
    assert minimum.Shape.of(nn.Linear(2, 2)) is None
    with_scales = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=4, reg_tokens=2)
    found = minimum.Shape.of(with_scales)
    assert found is not None
    assert found.tokens == 16 + 1 + 2
