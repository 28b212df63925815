"""Muon: momentum whose every step is made orthogonal (K. Jordan, 2024, https://kellerjordan.github.io/posts/muon).

    V <- b V + (1 - b) G        U = orthogonal((1 - b) G + b V)        W <- (1 - r w) W - r sqrt(max(1, m / n)) U

for a weight W (m, n) with gradient G, rate r, momentum b, decay w. On this source the micro ViT leaves its first
plateau after about a third of the images that AdamW needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """For the matrices inside a transformer's blocks; all else belongs to AdamW.

    Parameters
    ----------
    matrices : iterable of (Parameter, int)
        A weight (k m, n), and how many matrices k are stacked in it: 3 for a fused query-key-value projection.
    """

    def __init__(self, matrices: Iterable[tuple[nn.Parameter, int]], lr: float, weight_decay: float):
        groups = [{"params": [weight], "stacked": k} for weight, k in matrices]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad
                velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
                velocity.lerp_(gradient, 1 - MOMENTUM)
                ahead = gradient.lerp(velocity, MOMENTUM).chunk(group["stacked"])
                update = torch.cat([orthogonal(matrix) for matrix in ahead])
                rows, columns = ahead[0].shape
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V^T of the matrix's singular value decomposition (m, n): its singular values come to lie about 1.

    Five Newton-Schulz steps of a quintic polynomial whose slope at 0 is steep, so that small ones get there too; it
    does not converge to 1 but stays between about 0.7 and 1.2, which serves as well.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
