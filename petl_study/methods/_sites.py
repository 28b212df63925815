"""Where in a backbone a method can act: the one place that knows how timm's families name their parts.

| site | what it is |
|---|---|
| `patch_embed`, `norm_pre` | the projection of patches, and a norm between it and the blocks |
| `block` | one residual block, of one branch in a ConvNeXt and of two elsewhere |
| `norm1`, `attn`, `attn.qkv`, `attn.proj` | attention behind its norm |
| `tokens.in`, `tokens.out` | without attention: the layer that positions mix in first, and the one that ends a branch |
| `norm2`, `mlp`, `mlp.fc1`, `mlp.fc2` | the MLP over channels behind its norm |
| `downsample.norm`, `downsample` | what makes the positions fewer and the channels more between two stages |
| `norm`, `head` | the norm after the last block, and the classifier |

What pools the tokens (SigLIP's attention pooling) is no block, and methods that act on blocks leave it alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from timm.layers.norm import LayerNorm2d, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from timm.models.convnext import ConvNeXt, ConvNeXtBlock
from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_study.errors import InputError, unknown
from petl_study.methods._parameters import NORMS

VIT = {
    "patch_embed": r"patch_embed\.proj",  # before tokens are flattened: its channels are dimension 1
    "norm_pre": r"norm_pre",
    "block": r"blocks\.\d+",
    "norm1": r"blocks\.\d+\.norm1",
    "attn": r"blocks\.\d+\.attn",
    "attn.qkv": r"blocks\.\d+\.attn\.qkv",
    "attn.proj": r"blocks\.\d+\.attn\.proj",
    "norm2": r"blocks\.\d+\.norm2",
    "mlp": r"blocks\.\d+\.mlp",
    "mlp.fc1": r"blocks\.\d+\.mlp\.fc1",
    "mlp.fc2": r"blocks\.\d+\.mlp\.fc2",
    "norm": r"norm|fc_norm",  # the one after the last block: fc_norm where patch tokens are averaged
    "head": r"head",
}
SWIN = {
    "patch_embed": r"patch_embed\.proj",
    "norm_pre": r"patch_embed\.norm",
    **{name: rf"layers\.\d+\.{pattern}" for name, pattern in VIT.items() if pattern.startswith("blocks")},
    "downsample.norm": r"layers\.\d+\.downsample\.norm",
    "downsample": r"layers\.\d+\.downsample\.reduction",
    "norm": r"norm",
    "head": r"head\.fc",
}
CONVNEXT = {
    "patch_embed": r"stem\.\d+",
    "norm_pre": r"stem\.\d+",
    "block": r"stages\.\d+\.blocks\.\d+",
    "tokens.in": r"stages\.\d+\.blocks\.\d+\.conv_dw",  # the one branch goes on to the MLP
    "norm2": r"stages\.\d+\.blocks\.\d+\.norm",
    "mlp": r"stages\.\d+\.blocks\.\d+\.mlp",
    "mlp.fc1": r"stages\.\d+\.blocks\.\d+\.mlp\.fc1",
    "mlp.fc2": r"stages\.\d+\.blocks\.\d+\.mlp\.fc2",
    "downsample.norm": r"stages\.\d+\.downsample\.0",
    "downsample": r"stages\.\d+\.downsample\.1",
    "norm": r"head\.norm|norm_pre",  # norm_pre where the pooling comes after the norm
    "head": r"head\.fc",
}
MIXER = {
    "patch_embed": r"stem\.proj",
    "norm_pre": r"stem\.norm",
    "block": r"blocks\.\d+",
    "norm1": r"blocks\.\d+\.norm1",
    "tokens.in": r"blocks\.\d+\.mlp_tokens\.fc1",
    "tokens.out": r"blocks\.\d+\.(mlp_tokens\.fc2|linear_tokens)",
    "norm2": r"blocks\.\d+\.norm2",
    "mlp": r"blocks\.\d+\.mlp_channels",
    "mlp.fc1": r"blocks\.\d+\.mlp_channels\.fc1",
    "mlp.fc2": r"blocks\.\d+\.mlp_channels\.fc2",
    "norm": r"norm",
    "head": r"head",
}
FAMILIES: dict[type[nn.Module], dict[str, str]] = {
    VisionTransformer: VIT,
    SwinTransformer: SWIN,
    ConvNeXt: CONVNEXT,
    MlpMixer: MIXER,
}
# The stages that the tokens pass one after the other, and the norm after them; then comes timm's `forward_head`.
_TRUNKS: dict[type[nn.Module], tuple[str, str]] = {
    VisionTransformer: ("blocks", "norm"),
    SwinTransformer: ("layers", "norm"),
    ConvNeXt: ("stages", "norm_pre"),
    MlpMixer: ("blocks", "norm"),
}
SITES = tuple(dict.fromkeys(name for patterns in FAMILIES.values() for name in patterns))
# The sites at which one operation with parameters of its own stands, from the input on.
OPERATIONS = (
    *("patch_embed", "norm_pre", "norm1", "attn.qkv", "attn.proj", "tokens.in", "tokens.out"),
    *("norm2", "mlp.fc1", "mlp.fc2", "downsample.norm", "downsample", "norm"),
)
BRANCH_ENDS = ("attn.proj", "tokens.out", "mlp.fc2")  # the last operation of each residual branch


# An overlapping ConvNeXt stem has two convolutions, and an activation between them.
_KINDS: dict[str, tuple[type[nn.Module], ...]] = {"patch_embed": (nn.Conv2d, nn.Linear), "norm_pre": NORMS}


class Site(NamedTuple):
    """A module of the backbone and where it hangs."""

    path: str
    parent: nn.Module
    name: str
    module: nn.Module


def sites(model: nn.Module, *names: str) -> list[Site]:
    """All modules of `model` at the sites `names` (``"attn.qkv"``), site by site from the input to the output.

    Raises
    ------
    InputError
        The model is of no known family, or lacks one of the sites.
    """
    patterns = _patterns(model)
    for name in names:
        if name not in SITES:
            raise unknown("site", name, SITES)
        if not _matching(model, patterns, name):
            raise InputError(f"a {type(model).__name__} has no {name}; it has {', '.join(present(model, SITES))}.")
    return [site for name in names for site in _matching(model, patterns, name)]


def present(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Those of the sites `names` that `model` has."""
    patterns = _patterns(model)
    return [name for name in names if _matching(model, patterns, name)]


def wrap(model: nn.Module, names: str | Iterable[str], wrapper: Callable[[nn.Module], nn.Module]) -> None:
    """Put `wrapper(module)` in the place of every module at the sites `names`."""
    for site in sites(model, *([names] if isinstance(names, str) else names)):
        setattr(site.parent, site.name, wrapper(site.module))


def listed(text: str) -> list[str]:
    """Site names written as one text, ``"attn.qkv, mlp.fc1"``."""
    return [name.strip() for name in text.split(",")]


def channels_first(module: nn.Module) -> bool:
    """Whether `module` gives (B, c, H, W), as convolutions and a ConvNeXt's blocks do, rather than (..., c)."""
    if isinstance(module, ConvNeXtBlock):
        return True
    first = (nn.Conv2d, LayerNorm2d, RmsNorm2d, SimpleNorm2d)
    layers = [m for m in module.modules() if isinstance(m, (*first, nn.Linear, nn.LayerNorm, RmsNorm, SimpleNorm))]
    return bool(layers) and isinstance(layers[-1], first)


def trunk(model: nn.Module) -> tuple[str, str] | None:
    """Names of the stages of `model`, an nn.Sequential, and of the norm after them; None where it is not so built."""
    for known, (stages, norm) in _TRUNKS.items():
        if isinstance(model, known) and isinstance(getattr(model, stages), nn.Sequential):
            return stages, norm
    return None


def _patterns(model: nn.Module) -> dict[str, str]:
    for known, patterns in FAMILIES.items():
        if isinstance(model, known):
            if any(isinstance(module, SpatialGatingBlock) for module in model.modules()):
                raise InputError(f"no sites are known in a {type(model).__name__} of gating blocks (gMLP).")
            return patterns
    names = ", ".join(known.__name__ for known in FAMILIES)
    raise InputError(f"no sites are known in a {type(model).__name__}; families that are: {names}.")


def _matching(model: nn.Module, patterns: dict[str, str], name: str) -> list[Site]:
    found = []
    pattern = re.compile(patterns.get(name, "(?!)"))  # a site that the family lacks matches nothing
    for path, module in model.named_modules():
        if not pattern.fullmatch(path) or isinstance(module, nn.Identity):
            continue
        if isinstance(module, _KINDS.get(name, (nn.Module,))):
            parent, _, last = path.rpartition(".")
            found.append(Site(path, model.get_submodule(parent), last, module))
    return found
