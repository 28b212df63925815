"""Every method on every family of backbones: it works there, or says why it has no meaning."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import families
from families import ELSEWHERE, FAMILIES, NO_BIAS, WITHIN, apply, build, images, works
from petl_study import methods
from petl_study.errors import InputError
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


def test_an_unknown_family_is_refused():
    import timm

    with pytest.raises(InputError, match="no sites are known in a ResNet; families that are: VisionTransformer, Swin"):
        methods.create("lora").apply(timm.create_model("resnet10t", num_classes=3))
