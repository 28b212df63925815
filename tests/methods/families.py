"""What holds for which method on which family of backbones. As a script: writes it to docs/families.md."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_study import methods

DOCUMENT = Path(__file__).parents[2] / "docs" / "families.md"


def vit(**kwargs: object) -> nn.Module:
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5, **kwargs)


def resmlp() -> nn.Module:
    return MlpMixer(
        num_classes=5,
        img_size=32,
        patch_size=8,
        num_blocks=2,
        embed_dim=24,
        mlp_ratio=4,
        block_layer=lambda *a, **k: ResBlock(*a, init_values=0.5, **k),
        norm_layer=Affine,
    )


# Column of the table: a small model of the family.
FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "ViT": vit,
    "ViT, no class token": lambda: vit(class_token=False, global_pool="avg"),
    "ViT, registers": lambda: vit(reg_tokens=3),
    "CLIP": lambda: vit(pre_norm=True),
    "DINOv2": lambda: vit(init_values=0.5, reg_tokens=2, dynamic_img_size=True),
    "SigLIP": lambda: vit(class_token=False, global_pool="map"),
    "Swin": lambda: SwinTransformer(
        img_size=32,
        patch_size=4,
        window_size=4,
        embed_dim=32,
        depths=(2, 1),
        num_heads=(2, 2),
        num_classes=5,
        drop_path_rate=0.0,
    ),
    "ConvNeXt": lambda: ConvNeXt(num_classes=5, depths=(1, 1, 1, 1), dims=(32, 32, 32, 48), ls_init_value=0.5),
    "ConvNeXt, conv MLP": lambda: ConvNeXt(
        num_classes=5, depths=(1, 1, 1, 1), dims=(32, 32, 32, 48), ls_init_value=0.5, conv_mlp=True
    ),
    "Mixer": lambda: MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=24),
    "ResMLP": resmlp,
}
_VIT = set(list(FAMILIES)[:6])
_ATTENTION = _VIT | {"Swin"}
_HALVES = set(FAMILIES) - {"ConvNeXt", "ConvNeXt, conv MLP"}

# Methods that have no meaning on some families: those on which they do, and what the others are told.
WITHIN: dict[str, tuple[set[str], str]] = {
    "convpass": (_VIT, "needs patch tokens on a grid|has no attn"),
    "fact_tk": (_ATTENTION, r"has no attn\.proj"),
    "fact_tt": (_ATTENTION, r"has no attn\.proj"),
    "houlsby_adapter": (_ATTENTION, "has no attn"),
    "lora": (_ATTENTION, r"has no attn\.qkv; it has .*mlp\.fc1"),
    "mona": (_HALVES, "not one residual branch that mixes positions and then an MLP"),
    "prefix_tuning": (_VIT, "prompts need tokens that all attend to each other"),
    "sct": (_HALVES, "not one residual branch that mixes positions and then an MLP"),
    "selective": (_ATTENTION, "has no attn"),
    "vpt_deep": (_VIT, "prompts need tokens that all attend to each other"),
    "vpt_shallow": (_VIT, "prompts need tokens that all attend to each other"),
    "vqt": (_VIT, "prompts need tokens that all attend to each other"),
}
# With these hyperparameters a method works where its default does not.
ELSEWHERE: dict[str, dict[str, object]] = {
    "lora": {"sites": "mlp.fc1, mlp.fc2"},
    "sct": {"position": "mlp"},
    "selective": {"part": "mlp"},
}
# Operations without a bias have no place for a shift: CLIP's patch projection, what merges a Swin's patches.
NO_BIAS = {"CLIP": {"ssf", "rlrr"}, "Swin": {"ssf", "rlrr"}}


def build(family: str) -> nn.Module:
    """A small model of the family with every parameter random, in eval mode."""
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # timm's zero biases and unit norms would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def apply(name: str, model: nn.Module, **hyperparameters: object) -> nn.Module:
    return methods.create(name, **hyperparameters).apply(model, [(images(), torch.arange(4))])


def works(name: str, family: str) -> bool:
    return name not in WITHIN or family in WITHIN[name][0]


def table() -> str:
    """The document: a row a method, a column a family."""
    from test_contract import UNMERGEABLE

    rows = []
    for name in methods.list_methods():
        cells = []
        for family in FAMILIES:
            folds = name not in UNMERGEABLE and name not in NO_BIAS.get(family, ())
            if works(name, family):
                cells.append("merges" if folds else "yes")
            else:
                cells.append(f"`{_setting(name)}`" if name in ELSEWHERE else "–")
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    lines = [
        "# Methods and families of backbones",
        "",
        "*merges*: tuned, it can be folded into the plain model's weights. *yes*: it works and stays beside them. A",
        "setting: it works with that, not with its default. –: it has no meaning there, and `apply` says why. Written",
        "by `make docs` from what the tests know and check.",
        "",
        f"| method | {' | '.join(FAMILIES)} |",
        f"|---|{'---|' * len(FAMILIES)}",
        *rows,
        "",
        f"Made with timm {timm.__version__}.",
    ]
    return "\n".join(lines) + "\n"


def _setting(name: str) -> str:
    return ", ".join(f'{key}="{value}"' for key, value in ELSEWHERE[name].items())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(table(), encoding="utf-8")
