from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor
from torch.testing import assert_close

import families
from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods._tokens import convolved
from petl_study.methods.mona import Filter
from test_contract import tune


def by_hand(m: Filter, image: Tensor) -> Tensor:
    """m of one image (rows, columns, d), pixel by pixel and tap by tap."""
    rows, columns = image.shape[:2]
    mean, variance = image.mean(dim=-1, keepdim=True), image.var(dim=-1, keepdim=True, unbiased=False)
    norm = (image - mean) / (variance + 1e-5).sqrt() * m.norm.weight + m.norm.bias
    t = (m.norm_gain * norm + m.gain * image) @ m.down.weight.T + m.down.bias  # (rows, columns, r)
    f = torch.empty_like(t)
    for i in range(rows):
        for j in range(columns):
            heard = torch.zeros(t.shape[-1])
            for c in m.depthwise:
                reach = c.kernel_size[0] // 2
                heard = heard + c.bias
                for k in range(max(i - reach, 0), min(i + reach + 1, rows)):
                    for n in range(max(j - reach, 0), min(j + reach + 1, columns)):
                        heard = heard + c.weight[:, 0, k - i + reach, n - j + reach] * t[k, n]
            f[i, j] = t[i, j] + heard / 3
    g = f + f @ m.pointwise.weight[:, :, 0, 0].T + m.pointwise.bias
    g = 0.5 * g * (1 + torch.erf(g / 2**0.5))
    return g @ m.up.weight.T + m.up.bias


def behind(m: Filter, x: Tensor, prefix: int, shape: tuple[int, int]) -> Tensor:
    """x + m(x) of one image's tokens (N, d): the prefix tokens are images of one pixel."""
    alone = [by_hand(m, token[None, None])[0, 0] for token in x[:prefix]]
    patches = by_hand(m, x[prefix:].unflatten(0, shape)).flatten(0, 1)
    return x + torch.cat([*(token[None] for token in alone), patches])


@torch.no_grad()
@pytest.mark.parametrize(("family", "prefix"), [("ViT", 1), ("ViT, registers", 4), ("Mixer", 0)])
def test_adapters_stand_behind_both_halves_of_a_block_and_are_their_equation(family, prefix):
    model, x = families.build(family), torch.randn(1, prefix + 16, 24, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(model)
    methods.create("mona", bottleneck=3).apply(model)
    tune(model)
    b, tuned = plain.blocks[0], model.blocks[0]
    if family == "Mixer":
        h = x + b.mlp_tokens(b.norm1(x).transpose(1, 2)).transpose(1, 2)
        mlp = b.mlp_channels
    else:
        h, mlp = x + b.attn(b.norm1(x)), b.mlp
    h = behind(tuned.behind_mixing, h[0], prefix, (4, 4))
    h = behind(tuned.behind_mlp, h + mlp(b.norm2(h)), prefix, (4, 4))
    assert_close(tuned(x)[0], h, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_swins_stream_is_an_image_already():
    model = families.build("Swin")
    x = torch.randn(1, 8, 8, model.embed_dim, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(model)
    methods.create("mona", bottleneck=3).apply(model)
    tune(model)
    b, tuned = plain.layers[0].blocks[1], model.layers[0].blocks[1]
    h = x + b._attn(b.norm1(x))
    h = h + by_hand(tuned.behind_mixing, h[0])
    h = h + b.mlp(b.norm2(h))
    assert_close(tuned(x), h + by_hand(tuned.behind_mlp, h[0]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_patch_is_heard_three_patches_away_and_never_by_the_class_token():
    model = timm.models.VisionTransformer(img_size=72, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=3)
    methods.create("mona", bottleneck=4).apply(model)
    tune(model)
    m, x = model.blocks[0].behind_mlp, torch.randn(1, 82, 24, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[0, 1 + 4 * 9 + 4] += 1  # the middle of 9 x 9 patches
    moved = (m(other) - m(x))[0].abs().amax(dim=-1)
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[1:8, 1:8] = True
    assert torch.equal(moved[1:].view(9, 9) > 0, expected)
    assert moved[0] == 0
    other = x.clone()
    other[0, 0] += 1
    assert torch.equal((m(other) - m(x))[0].abs().amax(dim=-1) > 0, torch.arange(82) == 0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (48, 32), (16, 64)])
def test_tokens_are_filtered_on_the_grid_of_the_image_that_passes(size):
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=3, dynamic_img_size=True
    )
    methods.create("mona", bottleneck=4).apply(model)
    tune(model)
    model(torch.zeros(1, 3, *size))
    m, shape = model.blocks[0].behind_mlp, (size[0] // 8, size[1] // 8)
    image = torch.randn(2, *shape, 4, generator=torch.Generator().manual_seed(0))
    expected = convolved(image, m.filtered, None)
    tokens = torch.cat([torch.zeros(2, 1, 4), image.flatten(1, 2)], dim=1)
    assert_close(convolved(tokens, m.filtered, m.grid)[:, 1:].unflatten(1, shape), expected)


def test_it_starts_as_the_authors_code_does(small_vit):
    torch.manual_seed(0)
    methods.create("mona", bottleneck=32).apply(small_vit)
    m = small_vit.blocks[0].behind_mixing
    assert torch.equal(m.norm_gain, torch.full((48,), 1e-6))
    assert torch.equal(m.gain, torch.ones(48))
    for layer in (m.down, m.up):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not layer.bias.any()
    assert m.pointwise.weight.abs().max() > 0.1  # torch's: uniform to 1 / sqrt(r)


def test_the_count_on_a_swin_grows_with_the_width_of_each_stage():
    model = families.build("Swin")
    widths = [len(block.norm1.weight) for stage in model.layers for block in stage.blocks]
    assert len(set(widths)) == 2
    methods.create("mona", bottleneck=8).apply(model)
    expected = sum(2 * (2 * 8 * d + 5 * d + 8**2 + 88 * 8) for d in widths)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == expected


def test_blocks_without_two_halves_are_refused_before_anything_hangs_on_the_model():
    model = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=3, block_fn=ParallelScalingBlock
    )
    with pytest.raises(InputError, match="a ParallelScalingBlock is not one residual branch"):
        methods.create("mona").apply(model)
    assert not model.patch_embed._forward_pre_hooks


def test_it_keeps_what_every_method_promises():
    methods.check("mona", bottleneck=8)


def test_dropout_falls_behind_the_gelu_while_training_alone(small_vit):
    methods.create("mona", dropout=1.0).apply(small_vit)
    tune(small_vit.eval())
    m, x = small_vit.blocks[0].behind_mlp, torch.randn(2, 17, 48, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(m(x), m.up.bias)
    assert_close(m.train()(x), m.up.bias.expand_as(x))


def test_it_runs_under_autocast(small_vit, images):
    methods.create("mona", bottleneck=4).apply(small_vit)
    tune(small_vit, std=0.02)
    plain = small_vit(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = small_vit(images)
    F.cross_entropy(half.float(), torch.arange(4)).backward()
    assert_close(half.float(), plain, atol=0.1, rtol=0.05)


@pytest.mark.slow
def test_compiled_it_follows_the_size_of_the_image():
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=3, dynamic_img_size=True
    ).eval()
    methods.create("mona", bottleneck=4).apply(model)
    tune(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for size in [(32, 32), (48, 32), (32, 48)]:
        x = torch.randn(2, 3, *size)
        assert_close(compiled(x), model(x))
