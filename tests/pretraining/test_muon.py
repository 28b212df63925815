from __future__ import annotations

import pytest
import torch
from torch import nn

from petl_study.pretraining.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    update = orthogonal(matrix)
    values = torch.linalg.svdvals(update)
    assert update.shape == shape
    assert values.min() > 0.5
    assert values.max() < 1.35
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    across = u.T @ update @ v.T  # diagonal, if the singular vectors are the same
    torch.testing.assert_close(across, torch.diag(across.diagonal()), atol=1e-4, rtol=0)


def test_the_scale_of_the_gradient_does_not_matter():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonal(matrix), orthogonal(matrix * 1e-3), atol=1e-3, rtol=0)


def test_stacked_matrices_are_treated_one_by_one():
    generator = torch.Generator().manual_seed(2)
    parts = [nn.Parameter(torch.randn(4, 6, generator=generator)) for _ in range(3)]
    fused = nn.Parameter(torch.cat([p.detach() for p in parts]))
    gradients = [torch.randn(4, 6, generator=generator) * 10**i for i in range(3)]
    for part, gradient in zip(parts, gradients, strict=True):
        part.grad = gradient
    fused.grad = torch.cat(gradients)
    for optimiser in (Muon(((p, 1) for p in parts), 0.1, 0.0), Muon([(fused, 3)], 0.1, 0.0)):
        optimiser.step()
    torch.testing.assert_close(fused, torch.cat(parts))


def test_it_finds_a_minimum():
    goal = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    weight = nn.Parameter(torch.zeros(6, 6))
    optimiser = Muon([(weight, 1)], lr=0.1, weight_decay=0.0)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimiser.zero_grad()
        (weight - goal).square().sum().backward()
        optimiser.step()
    assert (weight - goal).square().mean().sqrt() < 0.05
