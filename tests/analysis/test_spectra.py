from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.weights.spectra import Basis, change

W = torch.linalg.qr(torch.randn(12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0] * 5
W = W @ torch.diag(torch.arange(8, 0, -1, dtype=torch.float64))  # singular values 40, 35, ..., 5
U, S, V = torch.linalg.svd(W, full_matrices=False)
BASIS = Basis.of(W)


def test_a_change_along_the_strongest_direction_is_all_inside():
    measured = change(W, W + 0.5 * torch.outer(U[:, 0], V[0]), BASIS, top=3)
    assert measured["relative_norm"] == pytest.approx(0.5 / float(W.norm()))
    for name in ("energy_in_top", "left_overlap", "right_overlap", "effective_rank", "stable_rank"):
        assert measured[name] == pytest.approx(1, abs=1e-9)


def test_a_change_along_the_weakest_direction_is_all_outside():
    measured = change(W, W + torch.outer(U[:, 7], V[7]), BASIS, top=3)
    for name in ("energy_in_top", "left_overlap", "right_overlap"):
        assert measured[name] == pytest.approx(0, abs=1e-9)


def test_inputs_and_outputs_are_told_apart():
    measured = change(W, W + torch.outer(U[:, 0], V[7]), BASIS, top=3)
    assert (measured["left_overlap"], measured["right_overlap"]) == pytest.approx((1, 0), abs=1e-9)
    assert measured["energy_in_top"] == pytest.approx(0, abs=1e-9)


def test_ranks_are_those_of_the_singular_values():
    for values in ([1.0] * 4, [4.0, 2.0, 1.0, 1.0]):
        difference = U[:, :4] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ V[:4]
        measured = change(W, W + difference, BASIS, top=3)
        shares = np.array(values) / sum(values)
        assert measured["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
        assert measured["stable_rank"] == pytest.approx(sum(v * v for v in values) / values[0] ** 2)
    assert change(W, W + 3 * W, BASIS, top=3)["energy_in_top"] == pytest.approx(
        float((S[:3] ** 2).sum() / (S**2).sum())
    )


def test_by_chance_is_what_a_change_without_direction_gives():
    generator = torch.Generator().manual_seed(1)
    measured = [
        change(W, W + torch.randn(12, 8, generator=generator, dtype=torch.float64), BASIS, top=3) for _ in range(400)
    ]
    for name, chance in (("energy_in_top", "energy_by_chance"), ("left_overlap", "left_by_chance"),
                         ("right_overlap", "right_by_chance")):  # fmt: skip
        drawn = np.array([one[name] for one in measured])
        assert abs(drawn.mean() - measured[0][chance]) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_rounding_to_float32_adds_no_direction():
    update = 0.01 * torch.outer(U[:, 1], V[2])
    measured = change(W.float(), (W.float() + update.float()), Basis.of(W.float()), top=3)
    assert measured["effective_rank"] == pytest.approx(1, abs=0.01)
    assert (measured["left_overlap"], measured["right_overlap"]) == pytest.approx((1, 1), abs=1e-3)


def test_measures_do_not_depend_on_the_size_of_the_change_but_for_its_norm():
    difference = torch.randn(12, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    one, ten = (change(W, W + scale * difference, BASIS, top=3) for scale in (0.1, 1.0))
    assert ten.pop("relative_norm") == pytest.approx(10 * one.pop("relative_norm"))
    assert ten == pytest.approx(one)


def test_what_did_not_change_or_is_a_vector_has_a_norm_alone():
    still = change(W, W, BASIS, top=3)
    assert still["relative_norm"] == 0 and "effective_rank" not in still
    assert change(torch.ones(4), 1.5 * torch.ones(4), None, top=3) == {"relative_norm": 0.5}
    assert np.isnan(change(torch.zeros(4), torch.ones(4), None, top=3)["relative_norm"])


def test_a_convolution_is_a_matrix_of_a_row_per_output():
    kernel = torch.randn(6, 3, 2, 2)
    measured = change(kernel, 2 * kernel, Basis.of(kernel), top=8)
    assert (measured["rows"], measured["columns"], measured["top"]) == (6, 12, 6)
    assert measured["energy_in_top"] == pytest.approx(1)
