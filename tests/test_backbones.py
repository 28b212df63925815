from __future__ import annotations

import pytest
import torch

from petl_study import backbones, tasks
from petl_study.backbones import micro, timm_models
from petl_study.errors import InputError


def test_every_backbone_is_what_its_information_says():
    for name in ("micro_vit", "random:vit_tiny_patch16_224"):  # the others' weights are not here
        info = backbones.info(name)
        model = backbones.create(name, 5).eval()
        head = sum(p.numel() for p in model.get_classifier().parameters())
        own = len(info.classes) * (model.num_features + 1)
        assert sum(p.numel() for p in model.parameters()) - head == info.parameters - own
        assert model(torch.zeros(2, 3, info.image_size, info.image_size)).shape == (2, 5)
        assert len(info.weights) == 64 or name.startswith("random:")


def test_every_backbone_of_the_list_is_known_without_its_weights():
    for name in backbones.list_backbones():
        info = backbones.info(name)
        assert info.parameters > 100_000
        assert info.summary.partition(":")[0] in {"CLIP", "ConvNeXt", "DINOv2", "Mixer", "Swin", "ViT"}


def test_the_embedded_backbone_is_what_the_records_say_it_is():
    info = backbones.info("micro_vit")
    assert info.weights == micro.card()["sha256"]
    with pytest.raises(InputError, match="micro_vit takes images of 32 pixels, not of 224"):
        backbones.create("micro_vit", 3, image_size=224)


def test_a_new_classifier_is_drawn_from_the_seed_and_the_backbone_is_not():
    torch.manual_seed(0)
    a = backbones.create("micro_vit", 7)
    torch.manual_seed(0)
    b = backbones.create("micro_vit", 7)
    c = backbones.create("micro_vit", 7)
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)
    assert a.head.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert not a.head.bias.any()
    for one, other in zip(a.blocks.parameters(), c.blocks.parameters(), strict=True):
        assert torch.equal(one, other)


def test_drop_path_reaches_the_blocks():
    assert backbones.create("micro_vit", 2, drop_path=0.3).blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)


def test_zero_shot_rows_are_the_sources_own_answers():
    classes = tasks.info("digits").classes
    weight, bias = backbones.zero_shot_head("micro_vit", classes)
    source = micro.load()
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = source.forward_head(source.forward_features(images), pre_logits=True)
    rows = [micro.source_classes().index(name) for name in classes]
    torch.testing.assert_close(features @ weight.T + bias, source(images)[:, rows])


def test_what_is_unknown_is_named():
    with pytest.raises(InputError, match=r"unknown backbone 'vit_huge'; known: .*micro_vit"):
        backbones.create("vit_huge", 3)
    with pytest.raises(InputError, match=r"task 'cells' cannot start .* no rows for .*Use `head: new`"):
        backbones.require_classes("micro_vit", tasks.info("cells").classes, "cells")


def test_a_backbone_is_made_once_for_trials_of_a_kind_and_each_has_its_own(monkeypatch):
    made: list[object] = []
    create = timm_models.create
    monkeypatch.setattr(timm_models, "create", lambda *given, **how: made.append(given) or create(*given, **how))
    backbones._kept.cache_clear()
    name = "random:vit_tiny_patch16_224"
    first, second, other = (backbones.create(name, n, image_size=32, keep=True) for n in (3, 3, 4))
    assert len(made) == 2
    assert other.num_classes == 4
    assert torch.equal(first.blocks[0].attn.qkv.weight, second.blocks[0].attn.qkv.weight)
    assert not torch.equal(first.head.weight, second.head.weight)  # drawn anew
    with torch.no_grad():
        first.blocks[0].attn.qkv.weight.zero_()
    assert second.blocks[0].attn.qkv.weight.abs().max() > 0
    assert backbones.create(name, 3, image_size=32, keep=True).blocks[0].attn.qkv.weight.abs().max() > 0
