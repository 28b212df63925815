"""Selective tuning: one kind of module, in chosen blocks, is trained as it is (as in the study, arXiv 2409.16434).

    W -> W + dW, b -> b + db        in the modules that `part` names, in the blocks that `blocks` numbers

`part` is a site: ``attn``, ``attn.qkv``, ``attn.proj``, ``mlp``, ``mlp.fc1``, ``mlp.fc2`` or ``block`` (attention, MLP
and both norms). `blocks` is ``all`` or numbers from 0, joined by commas, negative ones from the end: ``0,1,-1``. Trains
in a block of width d with an MLP of 4 d: attn 4 d^2 + 4 d, attn.qkv 3 d^2 + 3 d, attn.proj d^2 + d, mlp 8 d^2 + 5 d,
mlp.fc1 4 d^2 + 4 d, mlp.fc2 4 d^2 + d, block 12 d^2 + 13 d. Starts at the pre-trained function; merging has nothing to
fold.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from petl_study.errors import InputError, unknown
from petl_study.methods._base import Method, fixed, register, searched
from petl_study.methods._sites import sites

PARTS = ("attn", "attn.qkv", "attn.proj", "mlp", "mlp.fc1", "mlp.fc2", "block")


@register("selective", paper="as in the study, arXiv 2409.16434")
@dataclass(frozen=True)
class Selective(Method):
    part: str = searched("attn", *PARTS)
    blocks: str = fixed("all")

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise unknown("part of selective", self.part, PARTS)
        if self.blocks != "all":
            _numbers(self.blocks)

    def own(self, model: nn.Module) -> set[str]:
        chosen = sites(model, self.part)
        if self.blocks != "all":
            depth = len(chosen)
            if wrong := [n for n in _numbers(self.blocks) if not -depth <= n < depth]:
                raise InputError(f"selective: the model has {depth} blocks, 0 to {depth - 1}; there is no {wrong[0]}.")
            chosen = [chosen[n] for n in _numbers(self.blocks)]
        return {f"{site.path}.{name}" for site in chosen for name, _ in site.module.named_parameters()}


def _numbers(blocks: str) -> list[int]:
    try:
        return [int(number) for number in blocks.split(",")]
    except ValueError:
        raise InputError(f"selective: blocks must be 'all' or numbers such as '0,1,-1', got {blocks!r}.") from None
