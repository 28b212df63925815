from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import toy  # noqa: F401 (registers the toy task)

torch.set_num_threads(1)


@pytest.fixture
def small_vit() -> VisionTransformer:
    """The plain ViT of the golden vectors' size, at a fixed random start, in eval mode."""
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7)
    with torch.no_grad():
        for parameter in model.parameters():  # timm's zero biases and unit norms would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
