"""FacT-TK: all weight updates of all blocks as one Tucker-decomposed tensor (Jie & Deng, arXiv 2212.03145).

    W_k' = W_k + a s V (sum_e C[:, :, e] P[e, k])^T U       W_k (d, d), the k-th of the 12 L matrices

a is 1 for the tuned model, 0 for the pre-trained one; s is the hyperparameter `scale`. q, k, v, the attention's
projection, and fc1 and fc2 in four matrices each are a block's 12. C (r, r, r), P (r, 12 L), U (r, d) and V (d, r) are
shared by all. fc1 and fc2 take their cores as published: the four (r, r) slices side by side in the order of the
innermost axis, which mixes them, so a chunk of fc1's output is not one column of P. V is zero, so the untrained model
is the pre-trained one; the others are Xavier-uniform. Trains 2 r d + r^3 + 12 L r numbers (ViT-B/16, r = 32: 86,528).
A Swin has a Tucker tensor for each width. `init="released"` is what the study's code (arXiv 2409.16434) arrives at: U
and V N(0, 0.02), truncated. Folds into W. Dropout lies before V.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._base import register, searched
from petl_study.methods._fact import Bases, FacT, Factored

# Which of a block's 12 columns of P make the core of which layer.
COLUMNS = {"attn.qkv": slice(0, 3), "attn.proj": slice(3, 4), "mlp.fc1": slice(4, 8), "mlp.fc2": slice(8, 12)}


@register("fact_tk", paper="Jie & Deng, AAAI 2023, arXiv 2212.03145")
@dataclass(frozen=True)
class FacTTK(FacT):
    rank: int = searched(32, 16, 32, 64, at_least=1)

    def shared(self, like: Tensor, width: int, blocks: int) -> Bases:
        return Tucker(like, width, self, matrices=12 * blocks)

    def factored(self, base: nn.Module, bases: Bases, layer: str, block: int) -> Factored:
        assert isinstance(bases, Tucker)
        return SharedCore(base, bases, self, layer, block)


class Tucker(Bases):
    """U and V, and the core C (r, r, r) and P (r, 12 L) that mixes its slices."""

    def __init__(self, like: Tensor, width: int, method: FacTTK, matrices: int) -> None:
        rank = method.rank
        super().__init__(like, width, rank, method.init)
        self.centre = nn.Parameter(nn.init.xavier_uniform_(like.new_empty(rank, rank, rank)))
        self.mix = nn.Parameter(nn.init.xavier_uniform_(like.new_empty(rank, matrices)))


class SharedCore(Factored):
    """The core is made of the shared tensors, with the layer's own columns of P."""

    bases: Tucker

    def __init__(self, base: nn.Module, tucker: Tucker, method: FacTTK, layer: str, block: int) -> None:
        super().__init__(base, tucker, method.scale, method.dropout)
        columns, width = COLUMNS[layer], tucker.out.shape[0]
        if self.base.in_features * self.base.out_features != (columns.stop - columns.start) * width**2:
            raise InputError(f"fact_tk counts four matrices in fc1 and in fc2: their width must be 4 x {width}.")
        self.columns = slice(12 * block + columns.start, 12 * block + columns.stop)
        self.layer = layer

    def core(self) -> Tensor:
        slices = self.bases.centre @ self.bases.mix[:, self.columns]  # (r, r, m): [a, b, k]
        if self.layer == "mlp.fc1":
            return slices.flatten(1).T  # (4 r, r)
        if self.layer == "mlp.fc2":
            return slices.flatten(1)  # (r, 4 r)
        return slices.permute(2, 1, 0).flatten(0, 1)  # (m r, r), part k the transpose of slice k
