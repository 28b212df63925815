"""What stored runs make of images, against timm's own intermediate features."""

from __future__ import annotations

import pytest
import torch
from timm.layers.pool1d import global_pool_nlc
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import families
from analysis.weights.features import listening
from petl_study import methods
from petl_study.methods._sites import channels_first

MODELS = {
    **{family: lambda family=family: families.build(family) for family in families.FAMILIES},
    "ViT, patches averaged": lambda: families.vit(global_pool="avg").eval(),
    "ViT, all averaged": lambda: families.vit(global_pool="avg", pool_include_prefix=True).eval(),
}


@torch.no_grad()
def heard(model: nn.Module, first: list[bool] | None = None) -> tuple[list[torch.Tensor], torch.Tensor]:
    """After every block and before the head: (B, d) each; and the logits."""
    first = [channels_first(site.module) for site in methods.sites(model, "block")] if first is None else first
    with listening(model, first) as seen:
        logits = model(families.images())
    return [torch.cat(batches) for batches in seen], logits


def by_timm(model: nn.Module) -> list[torch.Tensor]:
    """Pooled intermediate features: of every block, or of a Swin's and ConvNeXt's every stage."""
    with torch.no_grad():
        if isinstance(model, VisionTransformer):
            found = model.forward_intermediates(
                families.images(), output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
            )
            tokens = [torch.cat(both[::-1], dim=1) if isinstance(both, tuple) else both for both in found]
            kind = "token" if model.global_pool == "token" else "avg"
            prefix = 0 if model.pool_include_prefix else model.num_prefix_tokens
            return [t[:, 0] if kind == "token" else t[:, prefix:].mean(dim=1) for t in tokens]
        found = model.forward_intermediates(families.images(), intermediates_only=True)
        return [f.mean(dim=(2, 3)) for f in found]


@pytest.mark.parametrize("family", list(MODELS))
def test_features_are_timms_own_and_the_last_are_what_the_classifier_reads(family):
    model = MODELS[family]()
    seen, logits = heard(model)
    blocks = methods.sites(model, "block")
    assert len(seen) == len(blocks) + 1
    stages = [site.path.split(".")[1] for site in blocks] if family.startswith(("Swin", "ConvNeXt")) else None
    last = (
        range(len(blocks))
        if stages is None
        else [i for i, stage in enumerate(stages) if i + 1 == len(stages) or stages[i + 1] != stage]
    )
    expected = by_timm(model)
    assert len(expected) == len(last)
    for block, features in zip(last, expected, strict=True):
        torch.testing.assert_close(seen[block], features)
    torch.testing.assert_close(model.get_classifier()(seen[-1]), logits)
    with torch.no_grad():
        torch.testing.assert_close(seen[-1], model.forward_head(model.forward_features(families.images()), True))


@pytest.mark.parametrize("name", ["vpt_shallow", "vpt_deep", "vqt", "prefix_tuning", "sct", "adaptformer", "mona"])
@pytest.mark.parametrize("family", ["ViT", "ViT, no class token", "SigLIP"])
def test_at_the_start_of_its_path_every_method_has_the_backbones_own_features(family, name):
    plain, _ = heard(families.build(family))
    model = families.apply(name, families.build(family)).eval()
    methods.scale(model, 0.0)
    for ours, expected in zip(heard(model)[0], plain, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("family", ["ViT, no class token", "SigLIP", "ViT, registers"])
def test_tokens_that_a_method_adds_are_not_averaged_over(family):
    plain, _ = heard(families.build(family))
    queried = families.apply("vqt", families.build(family), queries=5).eval()  # queries leave the tokens as they are
    for ours, expected in zip(heard(queried)[0][:-1], plain, strict=False):
        torch.testing.assert_close(ours, expected)
    prompted = families.apply("vpt_shallow", families.build(family), prompts=5).eval()
    outputs = []
    hook = prompted.blocks[0].register_forward_hook(lambda _, __, output: outputs.append(output))
    first = heard(prompted)[0][0]
    hook.remove()
    kind = "token" if prompted.global_pool == "token" else "avg"
    assert outputs[0].shape[1] == 16 + prompted.num_prefix_tokens + 5
    own = global_pool_nlc(outputs[0][:, :-5], kind, num_prefix_tokens=prompted.num_prefix_tokens)
    torch.testing.assert_close(first, own)


@pytest.mark.parametrize("name", ["mona", "adaptformer", "repadapter"])
def test_what_a_method_puts_into_a_swins_blocks_does_not_change_how_they_are_read(name):
    plain = families.build("Swin")
    first = [channels_first(site.module) for site in methods.sites(plain, "block")]
    expected, _ = heard(plain)
    model = families.apply(name, families.build("Swin")).eval()
    methods.scale(model, 0.0)
    for ours, others in zip(heard(model, first)[0], expected, strict=True):
        torch.testing.assert_close(ours, others)


def test_nothing_stays_behind():
    model = families.build("ViT")
    heard(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
