"""Models to try a method on: one that takes milliseconds, and the one that methods are counted on."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

CLASSES = 7
TOLERANCE = 1e-4  # of the largest logit: what float32 may lose on two ways through the small model


def small_vit() -> VisionTransformer:
    """A ViT of 3 blocks of width 48 for 32 x 32 images, at a fixed random start, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=CLASSES)
        with torch.no_grad():
            for parameter in model.parameters():  # timm's zero biases and unit norms would hide mistakes
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def small_swin() -> SwinTransformer:
    return SwinTransformer(
        img_size=32, patch_size=4, window_size=4, embed_dim=16, depths=(2, 1), num_heads=(2, 2), num_classes=CLASSES
    ).eval()


def small_convnext() -> ConvNeXt:
    return ConvNeXt(num_classes=CLASSES, depths=(1, 1, 1, 1), dims=(16, 16, 16, 24)).eval()


def small_mixer() -> MlpMixer:
    return MlpMixer(img_size=32, patch_size=8, num_blocks=2, embed_dim=24, num_classes=CLASSES).eval()


def small_resmlp() -> MlpMixer:
    return MlpMixer(
        img_size=32,
        patch_size=8,
        num_blocks=2,
        embed_dim=24,
        mlp_ratio=4,
        block_layer=ResBlock,
        norm_layer=Affine,
        num_classes=CLASSES,
    ).eval()


# A small model of every family that `_sites` knows, as what timm has of it is called.
FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "ViT": small_vit,
    "Swin": small_swin,
    "ConvNeXt": small_convnext,
    "Mixer": small_mixer,
    "ResMLP": small_resmlp,
}


def images() -> Tensor:
    """Four images of noise: (4, 3, 32, 32)."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def batches() -> list[tuple[Tensor, Tensor]]:
    """The task that some methods look at first: those images, each of a class of its own."""
    return [(images(), torch.arange(4))]


def vit_b16(image_size: int = 224, device: str = "meta") -> nn.Module:
    """The plain ViT-B/16 of width 768 and depth 12; on the meta device it has shapes, but neither values nor cost."""
    with torch.device(device):
        return timm.create_model(
            "vit_base_patch16_224", img_size=image_size, num_classes=CLASSES, weight_init="skip"
        ).eval()
