"""What holds for every method, from the registry."""

from __future__ import annotations

import copy
import inspect
from dataclasses import fields

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods._plugins import origin

METHODS = methods.list_methods()
# Largest difference of a logit from the pre-trained model's at the start; all others begin as that function.
STARTS_WITHIN = {
    "adapter_plus": 0.1,
    "houlsby_adapter": 0.1,
    "mona": 0.5,
    "peft:c3a": 0.1,
    "peft:fourierft": 5.0,
    "peft:unilora": 0.05,
    "peft:vblora": 0.05,
    "prefix_tuning": 1.0,
    "rlrr": 10.0,
    "sct": 0.5,
    "ssf": 0.5,
    "vpt_deep": 1.0,
    "vpt_shallow": 1.0,
}
# At a zero factor, or one of 1e-6 (mona), the gradient of what it multiplies is zero.
STARTS_AT_A_SADDLE = {
    "adaptformer",
    "convpass",
    "fact_tk",
    "fact_tt",
    "hydra",
    "lora",
    "mona",
    "pfeiffer_adapter",
    "repadapter",
    "vqt",
}
STARTS_AT_A_SADDLE |= {
    f"peft:{name}"
    for name in (
        *("adamss", "delora", "dora", "glora", "gralora", "hira", "loha", "lokr"),
        *("peanut", "pvera", "randlora", "rslora", "vera"),
    )
}
UNMERGEABLE = {
    "adapter_plus": "its adapter is not linear",
    "adaptformer": "its adapter is not linear",
    "convpass": "its adapter is not linear",
    "houlsby_adapter": "its adapter is not linear",
    "mona": "its adapters are not linear",
    "pfeiffer_adapter": "its adapter is not linear",
    "prefix_tuning": "its keys and values belong to no token",
    "sct": "the residual stream between attention and norm2 has no weights",
    "vpt_deep": "prompts are tokens",
    "vpt_shallow": "prompts are tokens",
    "vqt": "its queries are tokens",
}
# Methods with the hyperparameters with which they can be merged.
MERGEABLE = [(name, {}) for name in sorted(set(METHODS) - set(UNMERGEABLE))]
MERGEABLE += [("sct", {"position": "mlp"}), ("sct", {"position": "qkv"})]

# (width, depth) -> numbers tuned in the backbone beside the classifier, from each method's docstring
COUNTS = {
    "adapter_plus": lambda d, L, model: (2 * 8 * d + 8 + 2 * d) * L,
    "adaptformer": lambda d, L, model: (2 * 16 * d + 16 + d) * L,
    "convpass": lambda d, L, model: 2 * (2 * 8 * d + d + 8 + 9 * 8**2 + 8) * L,
    "difffit": lambda d, L, model: (15 * L + 3) * d,
    "fact_tk": lambda d, L, model: 2 * 32 * d + 32**3 + 12 * L * 32,
    "fact_tt": lambda d, L, model: 2 * 16 * d + 12 * L * 16**2,
    "houlsby_adapter": lambda d, L, model: (4 * 8 * d + 2 * 8 + 2 * d) * L,
    "gps": lambda d, L, model: (1 + 1) * (9 * L + 1) * d,
    "hydra": lambda d, L, model: (11 * 2 * d + 4 * 2 + 4 * d) * L,
    "layernorm": lambda d, L, model: (4 * L + 2) * d,
    "mona": lambda d, L, model: 2 * (2 * 64 * d + 5 * d + 64**2 + 88 * 64) * L,
    "linear": lambda d, L, model: 0,
    "pfeiffer_adapter": lambda d, L, model: (2 * 8 * d + 8 + d) * L,
    "prefix_tuning": lambda d, L, model: 2 * 10 * d * L,
    "repadapter": lambda d, L, model: 2 * (8 * d + 8 + 8 * d // 2 + d) * L,
    "rlrr": lambda d, L, model: (31 * L + 4) * d,
    "sct": lambda d, L, model: ((d // 8) ** 2 + d // 8) * L,
    "selective": lambda d, L, model: (4 * d * d + 4 * d) * L,
    "full": lambda d, L, model: (
        sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.head.parameters())
    ),
    "bitfit": lambda d, L, model: (11 * L + 2) * d,
    "lora": lambda d, L, model: 4 * 8 * d * L,
    "ssf": lambda d, L, model: (22 * L + 4) * d,
    "vpt_deep": lambda d, L, model: 10 * d * L,
    "vpt_shallow": lambda d, L, model: 10 * d,
    "vqt": lambda d, L, model: d * L + L + 1,
}
# On attn.qkv, d -> 3 d
COUNTS |= {
    "peft:adamss": lambda d, L, model: (5 * min(100, d + 1) + 3 * d) * L,
    "peft:beft": lambda d, L, model: 3 * d * L,
    "peft:c3a": lambda d, L, model: 3 * d * L,
    "peft:deft": lambda d, L, model: 4 * 8 * d * L,
    "peft:delora": lambda d, L, model: (4 * 8 * d + 1) * L,
    "peft:dora": lambda d, L, model: (4 * 8 * d + 3 * d) * L,
    "peft:fourierft": lambda d, L, model: 1000 * L,
    "peft:frod": lambda d, L, model: (d + d * d // 100) * L,
    "peft:glora": lambda d, L, model: (9 * 8 * d + 8 + 2) * L,
    "peft:gralora": lambda d, L, model: 4 * 8 * d * L,
    "peft:hira": lambda d, L, model: 4 * 32 * d * L,
    "peft:hra": lambda d, L, model: 8 * d * L,
    "peft:ia3": lambda d, L, model: (3 + 4) * d * L,
    "peft:loha": lambda d, L, model: 2 * 4 * 8 * d * L,
    "peft:lokr": lambda d, L, model: {24: 8 * 4 + 9 * 6, 48: 12 * 6 + 12 * 8, 96: 16 * 8 + 8 * (18 + 12)}[d] * L,
    "peft:mica": lambda d, L, model: 8 * d * L,
    "peft:miss": lambda d, L, model: 3 * 8 * d * L,
    "peft:oft": lambda d, L, model: d * ({24: 24, 48: 24, 96: 32}[d] - 1) // 2 * L,
    "peft:olora": lambda d, L, model: 4 * 8 * d * L,
    "peft:peanut": lambda d, L, model: 2 * 3 * 8 * d * L,
    "peft:pissa": lambda d, L, model: 4 * 8 * d * L,
    "peft:psoft": lambda d, L, model: (16 * 15 // 2 + 2 * 16) * L,
    "peft:pvera": lambda d, L, model: (3 * d + 2 * 256) * L,
    "peft:randlora": lambda d, L, model: (32 + d) * -(-d // 32) * L,
    "peft:road": lambda d, L, model: 3 * d * L,
    "peft:rslora": lambda d, L, model: 4 * 8 * d * L,
    "peft:shira": lambda d, L, model: 4 * 8 * d * L,
    "peft:supertuning": lambda d, L, model: 3 * d * d // 100 * L,
    "peft:tinylora": lambda d, L, model: 64 * L,
    "peft:unilora": lambda d, L, model: 23_040,
    "peft:vblora": lambda d, L, model: 256 * d + 4 * (1 + 3) * 256 * L,
    "peft:vera": lambda d, L, model: (3 * d + 256) * L,
    "peft:waveft": lambda d, L, model: 1000 * L,
}
# arXiv 2409.16434, its records; the numbers exclude the classifier
PUBLISHED = [
    ("linear", {}, 0),
    ("adaptformer", {"bottleneck": 16}, 304_320),
    ("adaptformer", {"bottleneck": 32}, 599_424),
    ("bitfit", {}, 102_912),
    ("convpass", {"bottleneck": 8}, 327_552),
    ("convpass", {"bottleneck": 16}, 664_320),
    ("difffit", {}, 140_544),
    ("fact_tk", {"rank": 2}, 3_368),
    ("fact_tk", {"rank": 4}, 6_784),
    ("fact_tk", {"rank": 8}, 13_952),
    ("fact_tk", {"rank": 32}, 86_528),
    ("fact_tk", {"rank": 128}, 2_312_192),
    ("fact_tt", {"rank": 16}, 61_440),
    ("fact_tt", {"rank": 32}, 196_608),
    ("houlsby_adapter", {"bottleneck": 2}, 92_208),
    ("houlsby_adapter", {"bottleneck": 8}, 313_536),
    ("houlsby_adapter", {"bottleneck": 16}, 608_640),
    ("houlsby_adapter", {"bottleneck": 32}, 1_198_848),
    ("houlsby_adapter", {"bottleneck": 256}, 9_461_760),
    ("layernorm", {}, 38_400),
    ("pfeiffer_adapter", {"bottleneck": 32}, 599_424),
    ("pfeiffer_adapter", {"bottleneck": 64}, 1_189_632),
    ("repadapter", {"bottleneck": 16}, 461_184),
    ("repadapter", {"bottleneck": 32}, 903_936),
    ("rlrr", {}, 288_768),  # arXiv 2403.19067
    ("lora", {"rank": 8}, 294_912),
    ("lora", {"rank": 32}, 1_179_648),
    ("lora", {"rank": 64}, 2_359_296),
    ("lora", {"rank": 128}, 4_718_592),
    ("lora", {"rank": 256}, 9_437_184),
    ("ssf", {}, 205_824),
    ("vpt_deep", {"prompts": 10}, 92_160),
    ("vpt_deep", {"prompts": 50}, 460_800),
    ("vpt_shallow", {"prompts": 5}, 3_840),
    ("vpt_shallow", {"prompts": 100}, 76_800),
]
PUBLISHED_ON_CLIP = [("bitfit", {}, 102_912), ("full", {}, 85_799_424), ("vpt_deep", {"prompts": 50}, 460_800)]


def tune(model: nn.Module, std: float = 0.1) -> None:
    """Random tuning: a merge or scale that does nothing would pass at the zero start."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in methods.trainable_parameters(model, classifier=True).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=std)


def carry(model: nn.Module, name: str, **hyperparameters: object) -> nn.Module:
    """`model` with the method; the task that some methods look at first is four images of noise."""
    size = model.patch_embed.img_size
    noise = torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(3))
    return methods.create(name, **hyperparameters).apply(model, [(noise, torch.arange(4))])


def test_every_method_is_covered_here():
    assert set(COUNTS) == {name for name in METHODS if origin(methods.get(name)) is None}  # not of a plug-in


@pytest.mark.parametrize("name", METHODS)
def test_docstring_gives_source_and_class_is_named(name):
    module = inspect.getdoc(inspect.getmodule(methods.get(name)))
    assert len(module.splitlines()) >= 3
    assert "arXiv" in methods.get(name).paper or "openreview" in methods.get(name).paper
    assert methods.create(name).name == name


@pytest.mark.parametrize("name", METHODS)
def test_start_is_the_pretrained_function_or_near_it(name, small_vit, images):
    pretrained = small_vit(images)
    carry(small_vit, name)
    difference = (small_vit(images) - pretrained).abs().max().item()
    if name in STARTS_WITHIN:
        assert 1e-4 < difference < STARTS_WITHIN[name]
    else:
        assert difference < 1e-6


@pytest.mark.parametrize(("width", "depth"), [(24, 2), (48, 3), (96, 6)])
@pytest.mark.parametrize("name", METHODS)
def test_count_is_the_docstrings_closed_form(name, width, depth):
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=width, depth=depth, num_heads=2, num_classes=5, weight_init="skip"
    )
    expected = COUNTS[name](width, depth, model)
    carry(model, name)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == expected
    both = methods.trainable_parameters(model, classifier=True)
    assert sum(p.numel() for p in both.values()) == expected + 5 * width + 5


@pytest.mark.parametrize(
    ("backbone", "name", "hyperparameters", "count"),
    [("vit_base_patch16_224", *row) for row in PUBLISHED]
    + [("vit_base_patch16_clip_224", *row) for row in PUBLISHED_ON_CLIP],
)
def test_count_on_vit_b16_is_the_published_one(backbone, name, hyperparameters, count):
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=0, weight_init="skip")
        methods.create(name, **hyperparameters).apply(model)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == count


@pytest.mark.parametrize("name", METHODS)
def test_a_step_changes_the_listed_tensors_and_no_others(name, small_vit, images):
    carry(small_vit, name)
    listed = methods.trainable_parameters(small_vit, classifier=True)
    if name in STARTS_AT_A_SADDLE:
        tune(small_vit)
    before = {n: p.detach().clone() for n, p in small_vit.named_parameters()}
    optimizer = torch.optim.SGD(listed.values(), lr=1.0)
    F.cross_entropy(small_vit(images), torch.arange(4)).backward()
    optimizer.step()
    changed = {n for n, p in small_vit.named_parameters() if not torch.equal(p, before[n])}
    assert changed == set(listed)
    assert {n for n, p in small_vit.named_parameters() if p.grad is not None} == set(listed)


@pytest.mark.parametrize(("name", "hyperparameters"), MERGEABLE)
def test_merging_gives_the_plain_model_with_the_tuned_logits(name, hyperparameters, small_vit, images):
    keys, modules = list(small_vit.state_dict()), [type(m) for m in small_vit.modules()]
    pretrained = small_vit(images)
    carry(small_vit, name, **hyperparameters)
    tune(small_vit)
    tuned = small_vit(images)
    assert (tuned - pretrained).abs().max() > 0.05
    methods.merge(small_vit)
    assert_close(small_vit(images), tuned, atol=1e-4, rtol=0)
    assert list(small_vit.state_dict()) == keys
    assert [type(m) for m in small_vit.modules()] == modules


@pytest.mark.parametrize("name", METHODS)
def test_scale_goes_from_the_pretrained_model_to_the_tuned_one_and_back(name, small_vit, images):
    plain = copy.deepcopy(small_vit)
    carry(small_vit, name)
    tune(small_vit)
    tuned = small_vit(images)
    methods.scale(small_vit, 0)
    assert_close(small_vit(images), plain(images), atol=1e-6, rtol=0)
    methods.scale(small_vit, 0.3)
    assert not torch.allclose(small_vit(images), tuned, atol=1e-2)
    methods.scale(small_vit, 1)
    assert torch.equal(small_vit(images), tuned)


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_model_whose_start_is_forgotten_keeps_no_second_copy_and_does_all_but_scale(name, small_vit, images):
    carry(small_vit, name)
    held = sum(tensor.untyped_storage().nbytes() for tensor in small_vit.petl.start.values())
    assert (held > 100_000) is (name == "full")
    methods.forget_start(small_vit)
    assert all(tensor.is_meta for tensor in small_vit.petl.start.values())
    tune(small_vit)
    tuned, tensors = small_vit(images), methods.state_dict(small_vit)
    methods.scale(small_vit, 1)  # where it stands already
    with pytest.raises(InputError, match="pre-trained end was forgotten"):
        methods.scale(small_vit, 0.5)
    tune(small_vit)
    methods.load_state_dict(small_vit, tensors)
    assert torch.equal(small_vit(images), tuned)
    methods.merge(small_vit)
    assert_close(small_vit(images), tuned, atol=1e-4, rtol=0)


@pytest.mark.parametrize("alpha", [0.25, 0.7])
@pytest.mark.parametrize(("name", "hyperparameters"), MERGEABLE)
def test_any_alpha_is_the_line_between_the_folded_weights(name, hyperparameters, alpha, small_vit, images):
    start = {n: t.clone() for n, t in small_vit.state_dict().items()}
    carry(small_vit, name, **hyperparameters)
    tune(small_vit)
    folded = methods.merge(copy.deepcopy(small_vit)).state_dict()
    line = {n: torch.lerp(start[n], folded[n], alpha) for n in start}
    methods.scale(small_vit, alpha)
    scaled = small_vit(images)
    methods.merge(small_vit)
    for n, tensor in small_vit.state_dict().items():
        assert_close(tensor, line[n], atol=1e-6, rtol=1e-5)
    assert_close(small_vit(images), scaled, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_state_restores_the_logits_bit_for_bit(name, small_vit, images):
    other = copy.deepcopy(small_vit)
    carry(small_vit, name)
    tune(small_vit)
    kept = methods.state_dict(small_vit)
    buffers = {name for name, _ in small_vit.named_buffers()}  # which channels, for SCT
    assert kept.keys() - buffers == methods.trainable_parameters(small_vit, classifier=True).keys()
    carry(other, name)
    methods.load_state_dict(other, kept)
    assert torch.equal(other(images), small_vit(images))
    methods.scale(small_vit, 0)
    assert all(torch.equal(kept[n], t) for n, t in methods.state_dict(small_vit).items())  # wherever the model stands


@pytest.mark.parametrize("name", sorted(UNMERGEABLE))
def test_what_cannot_be_merged_says_why_and_is_left_as_it_was(name, small_vit, images):
    carry(small_vit, name)
    tune(small_vit)
    tuned = small_vit(images)
    with pytest.raises(methods.NotMergeable, match=rf"{name} cannot be merged at blocks\.0.*: {UNMERGEABLE[name]}"):
        methods.merge(small_vit)
    assert torch.equal(small_vit(images), tuned)


@pytest.mark.parametrize(
    ("part", "blocks", "expected"),
    [
        ("attn.qkv", "1", {"blocks.1.attn.qkv.weight", "blocks.1.attn.qkv.bias"}),
        ("mlp.fc2", "0,-1", {f"blocks.{i}.mlp.fc2.{what}" for i in (0, 2) for what in ("weight", "bias")}),
    ],
)
def test_selective_tunes_the_named_part_of_the_named_blocks(part, blocks, expected, small_vit):
    methods.create("selective", part=part, blocks=blocks).apply(small_vit)
    assert set(methods.trainable_parameters(small_vit)) == expected


def test_selective_refuses_parts_and_blocks_that_are_not_there(small_vit):
    with pytest.raises(InputError, match=r"unknown part of selective 'qkv'; known: attn, attn.proj, attn.qkv"):
        methods.create("selective", part="qkv")
    with pytest.raises(InputError, match="blocks must be 'all' or numbers such as '0,1,-1', got 'first'"):
        methods.create("selective", blocks="first")
    with pytest.raises(InputError, match="the model has 3 blocks, 0 to 2; there is no 3"):
        methods.create("selective", blocks="3").apply(small_vit)


@pytest.mark.parametrize(
    "name", ["adaptformer", "convpass", "fact_tk", "fact_tt", "houlsby_adapter", "lora", "pfeiffer_adapter"]
)
def test_the_released_initialisation_starts_elsewhere(name, small_vit, images):
    pretrained = small_vit(images)
    carry(small_vit, name, init="released", **({} if name == "lora" else {"scale": 10.0}))
    assert (small_vit(images) - pretrained).abs().max() > 1e-3
    with pytest.raises(InputError, match=r"unknown init 'gaussian'; known: .*released"):
        methods.create(name, init="gaussian")


def test_another_methods_tensors_are_refused_by_name(small_vit):
    other = copy.deepcopy(small_vit)
    methods.create("lora").apply(small_vit)
    methods.create("ssf").apply(other)
    with pytest.raises(InputError, match=r"blocks\.0\.attn\.proj\.scale: model absent, file \(48,\)"):
        methods.load_state_dict(small_vit, methods.state_dict(other))


def test_a_second_method_is_refused(small_vit):
    methods.create("lora").apply(small_vit)
    with pytest.raises(InputError, match="carries method 'lora' already"):
        methods.create("ssf").apply(small_vit)


def test_a_plain_model_has_no_method(small_vit):
    with pytest.raises(InputError, match="no method was applied"):
        methods.trainable_parameters(small_vit)


def test_a_missing_bias_makes_ssf_unmergeable_and_changes_nothing(images):
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=2, num_classes=3, qkv_bias=False
    ).eval()
    methods.create("ssf").apply(model)
    before = model(images)
    with pytest.raises(methods.NotMergeable, match=r"ssf cannot be merged at blocks\.0\.attn\.qkv: there is no bias"):
        methods.merge(model)
    assert torch.equal(model(images), before)


def test_unknown_names_and_wrong_values_are_explained():
    with pytest.raises(ValueError, match=r"unknown method 'lorra'; known: .*lora.*Did you mean 'lora'\?"):
        methods.create("lorra")
    with pytest.raises(ValueError, match=r"unknown hyperparameter of lora 'r'; known: dropout, init, rank, sites"):
        methods.create("lora", r=8)
    with pytest.raises(ValueError, match=r"lora: rank must be a whole number of at least 1, got 0"):
        methods.create("lora", rank=0)
    with pytest.raises(ValueError, match=r"rank must be a whole number of at least 1, got True"):
        methods.create("lora", rank=True)
    with pytest.raises(ValueError, match=r"dropout must be a number of at least 0 and at most 1, got 2\.0"):
        methods.create("lora", dropout=2.0)
    with pytest.raises(ValueError, match=r"scale must be a number, got nan"):
        methods.create("adaptformer", scale=float("nan"))
    with pytest.raises(ValueError, match=r"rank must be .* got 'eight'"):
        methods.create("lora", rank="eight")


SCALES = [0.01, 0.1, 1.0, 10.0, 100.0]
STUDYS = {  # arXiv 2409.16434, VTAB-1K
    **{name: {} for name in ("linear", "full", "bitfit", "layernorm", "difffit", "ssf")},
    "vpt_shallow": {"prompts": [5, 10, 50, 100, 200]},
    "vpt_deep": {"prompts": [5, 10, 50, 100]},
    "pfeiffer_adapter": {"bottleneck": [4, 8, 16, 32, 64], "scale": [0.01, 0.1, 1.0, 10.0]},
    "houlsby_adapter": {"bottleneck": [4, 8, 16, 32], "scale": [0.01, 0.1, 1.0, 10.0]},
    "adaptformer": {"bottleneck": [4, 16, 32], "scale": [0.05, 0.1, 0.2]},
    "repadapter": {"bottleneck": [8, 16, 32], "scale": [0.1, 0.5, 1.0, 5.0, 10.0]},
    "convpass": {"bottleneck": [8, 16], "scale": SCALES, "xavier_init": [True, False]},
    "lora": {"rank": [1, 8, 16, 32]},
    "fact_tt": {"rank": [8, 16, 32], "scale": SCALES},
    "fact_tk": {"rank": [16, 32, 64], "scale": SCALES},
}


@pytest.mark.parametrize("name", STUDYS)
def test_search_space_is_the_studys(name):
    assert methods.search_space(name) == STUDYS[name]


def test_a_family_without_sites_is_refused():
    with pytest.raises(InputError, match=r"no sites are known in a ResNet; families that are: VisionTransformer, Swin"):
        methods.create("lora").apply(timm.create_model("resnet10t", num_classes=3))


def test_block_one_is_not_block_eleven():
    from petl_study.methods._sites import sites

    model = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=12, num_heads=2, num_classes=3, weight_init="skip"
    )
    assert [site.path for site in sites(model, "attn.qkv")] == [f"blocks.{i}.attn.qkv" for i in range(12)]


def test_sct_on_vit_b16_trains_the_published_number():
    model = timm.create_model("vit_base_patch16_224", img_size=32, num_classes=0, weight_init="skip")
    carry(model, "sct", channels=96)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == 111_744  # arXiv 2309.08513


def test_sct_needs_the_task_and_channels_that_exist(small_vit):
    with pytest.raises(InputError, match="sct looks at the task first: give apply the training batches"):
        methods.create("sct").apply(small_vit)
    with pytest.raises(InputError, match="data holds no batch"):
        methods.create("sct").apply(small_vit, [])
    with pytest.raises(InputError, match="channels=49 is more than the 48 that there are"):
        carry(small_vit, "sct", channels=49)
    with pytest.raises(InputError, match="unknown position of sct 'head'; known: attn, mlp, qkv"):
        methods.create("sct", position="head")


def test_adapter_plus_is_its_equation(small_vit, images):
    """There are no published vectors: the equation itself, on the plain model's stream from block to block."""
    plain = copy.deepcopy(small_vit)
    carry(small_vit, "adapter_plus", bottleneck=3)
    tune(small_vit)
    x = plain.norm_pre(plain._pos_embed(plain.patch_embed(images)))
    for block, tuned in zip(plain.blocks, small_vit.blocks, strict=True):
        p = tuned.adapter
        y = block(x)
        x = y + p.gain * (F.gelu(y @ p.down.weight.T + p.down.bias) @ p.up.weight.T + p.up.bias)
    assert_close(small_vit(images), small_vit.head(plain.norm(x)[:, 0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["prefix_tuning", "vpt_shallow", "vpt_deep", "vqt"])
def test_prompts_fade_out_towards_the_pretrained_model(name, small_vit, images):
    plain = copy.deepcopy(small_vit)(images)
    carry(small_vit, name)
    distances = []
    for alpha in (1, 0.5, 0.1, 1e-4):
        methods.scale(small_vit, alpha)
        distances.append((small_vit(images) - plain).abs().max().item())
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
def test_dynamic_and_oblong_images_and_a_batch_of_one(name, size):
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3, dynamic_img_size=True
    ).eval()
    carry(model, name)
    tune(model)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert model(image).shape == (1, 3)
    assert_close(model(image.expand(2, -1, -1, -1))[:1], model(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in METHODS if "dropout" in {f.name for f in fields(methods.get(n))}])
def test_a_model_in_eval_mode_stays_in_it(name, small_vit, images):
    carry(small_vit, name, dropout=0.9)
    tune(small_vit)
    assert not any(module.training for module in small_vit.modules())
    assert torch.equal(small_vit(images), small_vit(images))
    small_vit.train()
    assert not torch.equal(small_vit(images), small_vit(images))


@pytest.mark.parametrize("before", [0, 7])
def test_a_classifier_replaced_after_apply_is_refused_rather_than_left_untrained(before, images):
    model = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_classes=before)
    methods.create("lora").apply(model)
    model.reset_classifier(5)
    for use in (methods.trainable_parameters, methods.state_dict, lambda m: methods.scale(m, 0.5), methods.merge):
        with pytest.raises(InputError, match="the classifier was replaced after 'lora' was applied; replace it first"):
            use(model)


# PEFT's AdaMSS keeps its frozen basis where `Module.to` does not look.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "peft:adamss"])
def test_a_model_moved_to_another_precision_still_scales(name, small_vit, images):
    carry(small_vit, name)
    tune(small_vit)
    small_vit.double()
    tuned = small_vit(images.double())
    methods.scale(small_vit, 0.5)
    assert small_vit(images.double()).dtype == torch.float64
    methods.scale(small_vit, 1)
    assert torch.equal(small_vit(images.double()), tuned)


def test_a_point_that_is_no_number_is_refused_and_leaves_the_model_where_it_was(small_vit, images):
    methods.create("lora").apply(small_vit)
    before = small_vit(images)
    with pytest.raises(InputError, match=r"alpha must be a finite number, .* got nan"):
        methods.scale(small_vit, float("nan"))
    assert torch.equal(small_vit(images), before)
