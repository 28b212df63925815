from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered
from scipy.cluster import hierarchy

from analysis import cluster_methods, disagreement, disagreement_by_method
from petl_study.errors import InputError


def distances(**apart: float) -> pd.DataFrame:
    """``ab=0.1``: how far a is from b."""
    rows = [(names[i], names[1 - i], distance) for names, distance in apart.items() for i in (0, 1)]
    return pd.DataFrame(rows, columns=["method_a", "method_b", "disagreement"])


def test_a_method_that_is_only_ever_the_second_is_not_forgotten():
    half = distances(ab=0.1, ac=0.4, bc=0.6).query("method_a != 'c'")
    with pytest.raises(InputError, match="is missing or not defined"):
        cluster_methods(half)
    with pytest.raises(InputError, match="no column disagreement"):
        cluster_methods(half.drop(columns="disagreement"))


def test_the_closest_join_first_and_the_rest_by_mean_distance():
    mergers = cluster_methods(distances(ab=0.1, ac=0.4, bc=0.6)).mergers
    assert [{*left, *right} for left, right in zip(mergers["left"], mergers["right"], strict=True)] == [
        {"a", "b"},
        {"a", "b", "c"},
    ]
    assert mergers["distance"].tolist() == pytest.approx([0.1, 0.5])


def test_the_tree_is_that_of_scipy(rng):
    table = disagreement_by_method(disagreement(predictions(rng, "abcdef")))
    matrix = table.pivot_table(index="method_a", columns="method_b", values="kappa").to_numpy()
    above = 1 - matrix[np.triu_indices(6, k=1)]
    heights = cluster_methods(table, "kappa").linkage[:, 2]
    assert heights == pytest.approx(hierarchy.linkage(above, "average")[:, 2])


def test_neither_the_order_of_runs_nor_other_seeds_of_a_method_count(rng):
    preds = predictions(rng, "abcde")
    one, other = (cluster_methods(disagreement_by_method(disagreement(p))) for p in (preds, reordered(preds)))
    assert one.order == other.order
    assert np.allclose(one.linkage, other.linkage)
    with_itself = pd.concat([distances(ab=0.1, ac=0.4, bc=0.6), distances(aa=9.0)])
    assert cluster_methods(with_itself).mergers["distance"].tolist() == pytest.approx([0.1, 0.5])


def test_alike_methods_stand_side_by_side():
    assert cluster_methods(distances(ab=0.9, ac=0.1, bc=0.8, ad=0.9, bd=0.1, cd=0.9)).order in (
        ["a", "c", "b", "d"],
        ["b", "d", "c", "a"],
        ["d", "b", "c", "a"],
        ["a", "c", "d", "b"],
        ["c", "a", "b", "d"],
        ["c", "a", "d", "b"],
        ["d", "b", "a", "c"],
        ["b", "d", "a", "c"],
    )


def test_several_tasks_count_equally():
    tables = [distances(ab=0.2, ac=0.4, bc=0.4).assign(task="x"), distances(ab=0.4, ac=0.8, bc=0.8).assign(task="y")]
    assert cluster_methods(pd.concat(tables)).mergers["distance"].tolist() == pytest.approx([0.3, 0.6])


def test_an_unknown_distance_is_named():
    with pytest.raises(InputError, match="disagreement of b and c is missing or not defined"):
        cluster_methods(distances(ab=0.1, ac=0.2))
    with pytest.raises(InputError, match="task 'y': disagreement of a and b is missing"):
        tables = [distances(ab=0.2).assign(task="x"), distances(ab=np.nan).assign(task="y")]
        cluster_methods(pd.concat(tables))
    with pytest.raises(InputError, match="at least two methods; got a"):
        cluster_methods(distances(aa=0.1))
    with pytest.raises(InputError, match=r"unknown measure 'kapa'; known: .* Did you mean 'kappa'"):
        cluster_methods(distances(ab=0.1), "kapa")
