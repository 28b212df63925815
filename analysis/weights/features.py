"""What stored runs make of the same images: one vector an image after every block, and the one that is classified."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from timm.layers.pool1d import global_pool_nlc
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from analysis.features import PRETRAINED, Features
from analysis.rows import MADE_UNDER
from analysis.weights.models import Model, Weights
from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods._sites import channels_first
from petl_study.tasks import Split

HEAD = "head"  # the place of what the classifier reads


def block_features(weights: Weights, *, examples: int = 256, split: str = "test") -> Features:
    """Features of every run, and of the backbone before it was tuned, on the same images.

    After each block the tokens become one vector as the backbone's own pooling would make it: the class token where it
    reads that one, otherwise the mean over the patches. Prompts and queries, which some methods put behind the tokens,
    are left out. Last comes what the classifier reads.

    Parameters
    ----------
    weights : Weights
        Of one task and one backbone. R runs give R + 1 rows: the first is the pre-trained backbone.
    examples : int
        How many images, evenly spaced through the split, so that one sorted by class is seen whole.
    split : str
        ``test``, ``val`` or a shift set; runs have learned from ``train`` and ``val``.

    Returns
    -------
    Features
        `runs`: `task`, `group`, `method`, `seed`, and what they were made under. `places`: ``block 0``, ``block 1``,
        ..., through all stages, and ``head``: float32 (N, d) each, d that of the place.

    Raises
    ------
    InputError
        No such split, fewer than 4 examples asked for, a backbone whose blocks are not known, or a model that computes
        numbers that are not finite.
    """
    if examples < 4:
        raise InputError(f"examples must be at least 4, how many images to look at; got {examples!r}")
    whole = weights.split(split)
    at = np.linspace(0, len(whole) - 1, min(examples, len(whole))).round().astype(np.int64)
    images = whole.take(at)
    # A linear probe leaves the backbone as it was.
    plain = weights.untrained(dataclasses.replace(weights.trial(0), method="linear", hyperparameters={}))
    first = [channels_first(site.module) for site in methods.sites(plain.module, "block")]
    of_models = [_features(plain, images, first)]
    of_models += [_features(weights.model(weights.trial(row)), images, first) for row in range(len(weights))]
    runs = weights.runs[["task", "group", "method", "seed", *MADE_UNDER]]
    rows = pd.concat([runs.iloc[:1], runs], ignore_index=True).astype({"seed": "Int64"})
    rows.loc[0, ["method", "seed", "key"]] = [PRETRAINED, pd.NA, None]
    places = [*(f"block {number}" for number in range(len(first))), HEAD]
    return Features(rows, {name: list(of_place) for name, *of_place in zip(places, *of_models, strict=True)})


def _features(model: Model, images: Split, first: list[bool]) -> list[NDArray[np.float32]]:
    """What one model makes of `images` after each block, and before the classifier: (N, d) each."""
    with listening(model.module, first) as seen:
        model.ask(images)
    return [torch.cat(batches).float().cpu().numpy() for batches in seen]


@contextmanager
def listening(model: nn.Module, first: list[bool]) -> Iterator[list[list[Tensor]]]:
    """Hear what passes through `model`: a list a block and one for the classifier, to each of which every batch adds.

    `first`: of each block, whether its output is (B, d, H, W).
    """
    blocks = [site.module for site in methods.sites(model, "block")]
    head: nn.Module = model.get_classifier()  # type: ignore[operator]
    seen: list[list[Tensor]] = [[] for _ in (*blocks, head)]
    own = 0  # tokens that the backbone has of this image; what a method adds comes behind them

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal own
        own = inputs[0].shape[1]

    def hear(block: nn.Module, heard: list[Tensor], channels: bool) -> RemovableHandle:
        return block.register_forward_hook(lambda _, __, output: heard.append(_pooled(model, output, own, channels)))

    hooks = [blocks[0].register_forward_pre_hook(count)]
    hooks += [hear(*of_block) for of_block in zip(blocks, seen[:-1], first, strict=True)]
    hooks.append(head.register_forward_pre_hook(lambda _, inputs: seen[-1].append(inputs[0])))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _pooled(model: nn.Module, output: Tensor, own: int, first: bool) -> Tensor:
    """(B, N, d), of which `own` tokens count; (B, H, W, d) or, with channels first, (B, d, H, W) -> (B, d)."""
    if output.ndim == 4:
        return output.mean(dim=(2, 3) if first else (1, 2))
    pool = getattr(model, "global_pool", "avg")
    kind = "avg" if pool in ("", "map") else pool  # attention pools what the last block gives, and nothing before
    prefix, with_prefix = getattr(model, "num_prefix_tokens", 0), getattr(model, "pool_include_prefix", False)
    return global_pool_nlc(output[:, :own], kind, num_prefix_tokens=prefix, reduce_include_prefix=with_prefix)
