"""Hydra: two linear low-rank heads on one layer, one reads its input, one its output (Kim et al., arXiv 2309.06922).

    y' = y + a s (P(x) + S(y)), y = W x + b         P(x) = U_P (D_P x + d_P) + u_P      D_P (r, i)   U_P (o, r)
    W' = W + a s (U_P D_P + U_S D_S W)              S(y) = U_S (D_S y + d_S) + u_S      D_S (r, o)   U_S (o, r)
    b' = b + a s (U_P d_P + u_P + U_S (D_S b + d_S) + u_S)

a is 1 for the tuned model, 0 for the pre-trained one, and W' and b' are linear in it; s is the hyperparameter `scale`.
As in the authors' VTAB-1K experiments the layers are those that end a residual branch, the attention's projection and
fc2, and r = 2; the values of `scale` that are searched are those that their configurations hold for one task or
another. D is Xavier-uniform, U and all biases zero, so the untrained model is the pre-trained one. Dropout lies between
D and U. Trains r (i + 3 o) + 2 r + 2 o numbers a layer, 11 r d + 4 r + 4 d a block (ViT-B/16, r = 2: 239,712; with the
heads of VTAB-1K the published 0.28 M). Folds into W and b; a layer without a bias has no place for the heads'.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._linear import matrix, project
from petl_study.methods._sites import BRANCH_ENDS, present, wrap
from petl_study.methods._wrapper import Wrapper


@register("hydra", paper="Kim et al., Neural Networks 2024, arXiv 2309.06922")
@dataclass(frozen=True)
class Hydra(Method):
    rank: int = fixed(2, at_least=1)
    scale: float = searched(1.0, 0.1, 1.0, 1.5, 2.5, 3.0, 4.0, 4.5)
    dropout: float = fixed(0.0, at_least=0.0, at_most=1.0)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        wrap(model, present(model, BRANCH_ENDS), lambda layer: MultiHead(layer, self))


class Head(nn.Module):
    """U (D x + d) + u for x as `layer` takes and gives it."""

    def __init__(self, layer: nn.Module, inputs: int, outputs: int, method: Hydra) -> None:
        super().__init__()
        weight = matrix(layer)
        self.down = nn.Linear(inputs, method.rank).to(weight)
        self.up = nn.Linear(method.rank, outputs).to(weight)
        self.dropout = nn.Dropout(method.dropout)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.up.weight)
        for linear in (self.down, self.up):
            nn.init.zeros_(linear.bias)

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        hidden = self.dropout(project(layer, x, self.down.weight, self.down.bias))
        return project(layer, hidden, self.up.weight, self.up.bias)

    def folded(self) -> tuple[Tensor, Tensor]:
        """The head as one weight (outputs, inputs) and one bias (outputs,)."""
        return self.up.weight @ self.down.weight, self.up.weight @ self.down.bias + self.up.bias


class MultiHead(Wrapper):
    """A linear layer with both heads."""

    def __init__(self, base: nn.Module, method: Hydra) -> None:
        super().__init__(base)
        outputs, inputs = matrix(base).shape
        self.scale = method.scale
        self.parallel = Head(base, inputs, outputs, method)
        self.sequential = Head(base, outputs, outputs, method)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        return y + self.alpha * self.scale * (self.parallel(self.base, x) + self.sequential(self.base, y))

    def unfoldable(self) -> str | None:
        return None if self.base.bias is not None else "there is no bias to fold the heads' into"

    @torch.no_grad()
    def fold(self) -> nn.Module:
        weight, bias, step = matrix(self.base), self.base.bias, self.alpha * self.scale
        assert isinstance(bias, Tensor)  # `unfoldable` saw to it
        (of_input, constant), (of_output, more) = self.parallel.folded(), self.sequential.folded()
        weight += step * (of_input + of_output @ weight)
        bias += step * (constant + of_output @ bias + more)
        return self.base
