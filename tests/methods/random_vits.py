"""Small ViTs in double precision with every parameter random, and what must hold of one that carries any method."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.testing import assert_close

from petl_study import methods


def build(cls: type[VisionTransformer] = VisionTransformer, **kwargs: object) -> VisionTransformer:
    """In eval mode; timm's zero biases and unit norms would hide mistakes."""
    torch.manual_seed(0)
    model = cls(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3, num_classes=5, **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.double().eval()


def images(count: int = 4, *size: int) -> Tensor:
    return torch.randn(count, 3, *(size or (16, 16)), generator=torch.Generator().manual_seed(1)).double()


def gradients(model: nn.Module) -> list[Tensor]:
    """Of what the method tunes, from the mean loss of four images."""
    model.zero_grad()
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    return [p.grad.clone() for p in methods.trainable_parameters(model).values()]


def assert_checkpointing_changes_nothing(model: nn.Module, least: float) -> None:
    """The same gradients with blocks run again; no tensor's largest is below `least`, where nothing would be seen."""
    found = []
    for checkpointing in (False, True):
        model.train().set_grad_checkpointing(checkpointing)
        torch.manual_seed(0)
        found.append(gradients(model))
    for with_all_kept, with_blocks_run_again in zip(*found, strict=True):
        assert_close(with_blocks_run_again, with_all_kept)
        assert with_all_kept.abs().max() > least


def assert_compiling_changes_nothing(model: nn.Module) -> None:
    expected, expected_gradients = model(images()), gradients(model)
    model.zero_grad()
    torch.compiler.reset()
    logits = torch.compile(model, backend="aot_eager", fullgraph=True)(images())
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert_close(logits, expected)
    for p, gradient in zip(methods.trainable_parameters(model).values(), expected_gradients, strict=True):
        assert_close(p.grad, gradient)


def assert_any_size_and_a_batch_of_one_pass(model: nn.Module) -> None:
    """Of a model built with ``dynamic_img_size=True``."""
    large = images(2, 24, 20)
    assert_close(model(large)[:1], model(large[:1]))
    assert model(images(1)).shape == (1, 5)
