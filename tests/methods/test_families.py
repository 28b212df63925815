"""Every method on every family of backbones: it works there, or says why it has no meaning."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import RmsNorm, SwiGLU
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import ResPostBlock
from torch.testing import assert_close

import families
from families import ELSEWHERE, FAMILIES, NO_BIAS, WITHIN, apply, build, images, works
from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods._sites import sites
from test_contract import STARTS_WITHIN, UNMERGEABLE, tune

METHODS = methods.list_methods()
WORKING = [(name, family, {}) for family in FAMILIES for name in METHODS if works(name, family)]
WORKING += [(name, f, ELSEWHERE[name]) for name in ELSEWHERE for f in FAMILIES if not works(name, f)]


def test_the_plain_models_are_of_their_family():
    for family in FAMILIES:
        assert build(family)(images()).shape == (4, 5)


@pytest.mark.parametrize(("name", "family", "hyperparameters"), WORKING)
def test_a_method_trains_scales_and_merges_on_the_family(name, family, hyperparameters):
    model, keys = build(family), list(build(family).state_dict())
    plain = copy.deepcopy(model)
    pretrained = plain(images())
    apply(name, model, **hyperparameters)
    if name not in STARTS_WITHIN:
        assert_close(model(images()), pretrained, atol=1e-5, rtol=0)

    tune(model)
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    listed = methods.trainable_parameters(model, classifier=True)
    assert all(parameter.grad is not None for parameter in listed.values())
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(listed)

    tuned = model(images())
    assert (tuned - pretrained).abs().max() > 1e-2
    assert_close(model(images()[:1]), tuned[:1], atol=1e-4, rtol=1e-4)
    methods.scale(model, 0)
    assert_close(model(images()), pretrained, atol=1e-5, rtol=0)
    methods.scale(model, 1)
    if name in NO_BIAS.get(family, ()) or (name in UNMERGEABLE and not (name == "sct" and hyperparameters)):
        with pytest.raises(methods.NotMergeable):
            methods.merge(model)
    else:
        methods.merge(model)
        assert list(model.state_dict()) == keys
        assert_close(model(images()), tuned, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "family"), [(n, f) for n in WITHIN for f in FAMILIES if not works(n, f)])
def test_a_method_without_meaning_on_the_family_says_so_and_leaves_the_model_alone(name, family):
    model = build(family)
    before = model(images())
    with pytest.raises(InputError, match=WITHIN[name][1]):
        apply(name, model)
    assert torch.equal(model(images()), before)
    assert not hasattr(model, "petl")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_document_is_what_is_known_here():
    assert families.DOCUMENT.read_text(encoding="utf-8") == families.table(), "run `make docs`"


def test_a_swins_padding_and_shifted_windows_pass_through_methods():
    model = build("Swin")
    apply("sct", model, position="qkv")
    tune(model)
    methods.merge(model)


def test_an_overlapping_stem_has_its_norm_found_behind_two_convolutions():
    model = timm.create_model("convnext_zepto_rms_ols", num_classes=3)
    assert [site.path for site in sites(model, "patch_embed", "norm_pre")] == ["stem.0", "stem.2", "stem.3"]


def test_a_gated_mlp_is_no_mixer():
    with pytest.raises(InputError, match="no sites are known in a MlpMixer of gating blocks"):
        methods.create("ssf").apply(timm.create_model("gmlp_ti16_224", num_classes=3))


def test_an_unknown_family_is_refused():
    with pytest.raises(InputError, match="no sites are known in a ResNet; families that are: VisionTransformer, Swin"):
        methods.create("lora").apply(timm.create_model("resnet10t", num_classes=3))


# ------------------------------------------------------------------------------- architectures that differ in one thing


def moved_by_apply_and_back(name, model):
    """The logits of a tuned `model`; at 0 on its path it has to be the pre-trained one."""
    plain = copy.deepcopy(model)(images())
    apply(name, model)
    tune(model)
    tuned = model(images())
    methods.scale(model, 0)
    assert_close(model(images()), plain, atol=1e-5, rtol=1e-5)
    methods.scale(model, 1)
    return tuned


@pytest.mark.parametrize("name", ["rlrr", "ssf"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: families.vit(norm_layer=RmsNorm),
        lambda: ConvNeXt(num_classes=5, depths=(1, 1, 1, 1), dims=(32,) * 4, conv_mlp=True, norm_layer="rmsnorm2d"),
        lambda: ConvNeXt(num_classes=5, depths=(1, 1, 1, 1), dims=(32,) * 4, conv_mlp=True, norm_layer="simplenorm"),
    ],
)
def test_norms_without_a_bias_are_scaled_and_shifted_but_not_merged(name, build):
    torch.manual_seed(0)
    model = build().eval()
    moved_by_apply_and_back(name, model)
    with pytest.raises(methods.NotMergeable, match="there is no bias to fold the shift into"):
        methods.merge(model)


def test_difffit_scales_branches_that_end_without_a_bias():
    torch.manual_seed(0)
    model = families.vit(proj_bias=False).eval()
    keys = list(model.state_dict())
    tuned = moved_by_apply_and_back("difffit", model)
    methods.merge(model)
    assert list(model.state_dict()) == keys
    assert_close(model(images()), tuned, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["fact_tk", "fact_tt"])
def test_fact_refuses_an_mlp_whose_first_layer_is_two(name):
    with pytest.raises(InputError, match=r"a VisionTransformer has no mlp\.fc1"):
        apply(name, families.vit(mlp_layer=SwiGLU))


def test_adaptformer_refuses_a_norm_behind_its_branch():
    """Moved in front of the MLP, that norm would change the pre-trained function."""
    with pytest.raises(InputError, match="a ResPostBlock is not one residual branch"):
        apply("adaptformer", families.vit(block_fn=ResPostBlock, init_values=0.5))


@pytest.mark.parametrize("name", ["convpass", "mona"])
def test_a_grid_with_dropped_patches_is_refused(name):
    with pytest.raises(InputError, match="needs all patches of the grid, but the model drops some"):
        apply(name, families.vit(patch_drop_rate=0.5))


def test_gps_needs_one_feature_an_image():
    with pytest.raises(InputError, match="make it with global_pool='avg'"):
        apply("gps", families.vit(global_pool=""))
