"""Where in a backbone a method can act: the one place that knows how timm's families name their parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_study.errors import InputError, unknown

VIT = {
    "patch_embed": r"patch_embed\.proj",  # before tokens are flattened: its channels are dimension 1
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
FAMILIES: dict[type[nn.Module], dict[str, str]] = {VisionTransformer: VIT}


class Site(NamedTuple):
    """A module of the backbone and where it hangs."""

    path: str
    parent: nn.Module
    name: str
    module: nn.Module


def sites(model: nn.Module, name: str) -> list[Site]:
    """All modules of `model` at the site `name` (``"attn.qkv"``), from the input to the output.

    Raises
    ------
    InputError
        The model is of no known family, or the family has no such site.
    """
    for family, patterns in FAMILIES.items():
        if isinstance(model, family):
            if name not in patterns:
                raise unknown(f"site of {family.__name__}", name, patterns)
            return list(_matching(model, re.compile(patterns[name])))
    known = ", ".join(family.__name__ for family in FAMILIES)
    raise InputError(f"no sites are known in a {type(model).__name__}; families that are: {known}.")


def wrap(model: nn.Module, name: str, wrapper: Callable[[nn.Module], nn.Module]) -> None:
    """Put `wrapper(module)` in the place of every module at the site `name`."""
    for site in sites(model, name):
        setattr(site.parent, site.name, wrapper(site.module))


def _matching(model: nn.Module, pattern: re.Pattern[str]) -> Iterator[Site]:
    for path, module in model.named_modules():
        if pattern.fullmatch(path) and not isinstance(module, nn.Identity):
            parent, _, name = path.rpartition(".")
            yield Site(path, model.get_submodule(parent), name, module)
