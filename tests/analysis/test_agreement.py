from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from analysis import Predictions, confidence_overlap, confidence_sets, disagreement, disagreement_by_method
from petl_study.errors import InputError


def drawn(rng, R=4, N=60, C=5, **runs) -> Predictions:
    labels = rng.integers(C, size=N)
    logits = rng.normal(size=(R, N, C)) + 1.5 * np.eye(C)[labels]
    return Predictions(labels, logits, pd.DataFrame({"method": [f"m{i}" for i in range(R)], **runs}))


def test_disagreement_and_kappa_are_those_of_independent_references(rng):
    preds = drawn(rng)
    table = disagreement(preds)
    assert len(table) == 6
    for row in table.itertuples():
        a, b = preds.predicted[[row.run_a, row.run_b]]
        assert row.disagreement == pytest.approx(sum(x != y for x, y in zip(a, b, strict=True)) / 60)
        assert row.kappa == pytest.approx(cohen_kappa_score(a, b))


def test_a_pair_names_its_runs(rng):
    table = disagreement(drawn(rng, R=3, seed=[0, 1, 0]))
    assert table[["run_a", "run_b"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert table["method_b"].tolist() == ["m1", "m2", "m2"]
    assert table["seed_a"].tolist() == [0, 0, 1]


def test_a_run_never_disagrees_with_itself(rng):
    preds = drawn(rng, R=2)
    table = disagreement(preds.select([0, 0]))
    assert table["disagreement"].item() == 0
    assert table["kappa"].item() == pytest.approx(1)


def test_kappa_is_nan_where_both_always_say_the_same_class(rng):
    preds = Predictions([0, 1], np.tile([1.0, 0.0], (2, 2, 1)), pd.DataFrame({"method": ["a", "b"]}))
    table = disagreement(preds)
    assert table["disagreement"].item() == 0
    assert np.isnan(table["kappa"].item())


def test_disagreement_ignores_a_constant_added_to_logits_and_the_order_of_examples(rng):
    preds = drawn(rng)
    shifted = Predictions(preds.labels, preds.logits + rng.normal(size=(4, 60, 1)), preds.runs)
    shuffle = rng.permutation(60)
    shuffled = Predictions(preds.labels[shuffle], preds.logits[:, shuffle], preds.runs)
    for same in (shifted, shuffled):
        pd.testing.assert_frame_equal(disagreement(same), disagreement(preds))
        pd.testing.assert_frame_equal(confidence_overlap(same, 0.2), confidence_overlap(preds, 0.2))


def test_by_method_is_symmetric_and_has_the_seeds_on_its_diagonal(rng):
    preds = drawn(rng)
    preds = Predictions(
        preds.labels, preds.logits, pd.DataFrame({"method": ["a", "a", "b", "c"], "seed": [0, 1, 0, 0]})
    )
    pairs = disagreement(preds)
    matrix = disagreement_by_method(pairs).pivot_table(index="method_a", columns="method_b", values="disagreement")
    assert np.allclose(matrix, matrix.T, equal_nan=True)
    assert matrix.loc["a", "a"] == pairs.loc[0, "disagreement"]
    assert matrix.loc["a", "b"] == pytest.approx(pairs.loc[[1, 3], "disagreement"].mean())
    assert np.isnan(matrix.loc["b", "b"])


def test_confidence_sets_by_hand():
    logits = np.array([[[3.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.5]]])  # confidence falls from left to right
    preds = Predictions([0, 0, 0, 0], logits, pd.DataFrame({"method": ["a"]}))
    correct, wrong = confidence_sets(preds, 2)
    assert correct[0].tolist() == [True, False, False, False]
    assert wrong[0].tolist() == [False, False, False, True]


def test_overlap_is_that_of_the_sets(rng):
    preds = drawn(rng)
    correct, wrong = confidence_sets(preds, 0.25)
    for row in confidence_overlap(preds, 0.25).itertuples():
        for name, members in (("correct", correct), ("wrong", wrong)):
            a, b = set(np.flatnonzero(members[row.run_a])), set(np.flatnonzero(members[row.run_b]))
            assert getattr(row, f"{name}_a") == len(a)
            assert getattr(row, f"{name}_shared") == len(a & b)
            assert getattr(row, f"{name}_jaccard") == pytest.approx(len(a & b) / len(a | b))
        assert row.k == 15


def test_the_overlap_of_empty_sets_is_nan():
    preds = Predictions([1, 1], np.tile([1.0, 0.0], (2, 2, 1)), pd.DataFrame({"method": ["a", "b"]}))
    table = confidence_overlap(preds, 1)
    assert np.isnan(table["correct_jaccard"].item())
    assert table["wrong_jaccard"].item() == 1


def test_confidence_tells_apart_what_rounds_to_certainty():
    logits = np.array([[[60.0, 0.0], [50.0, 0.0], [70.0, 0.0]]])
    preds = Predictions([0, 0, 0], logits, pd.DataFrame({"method": ["a"]}))
    assert confidence_sets(preds, 1)[0][0].tolist() == [False, False, True]


@pytest.mark.parametrize("top", [0, 61, -1, 0.0, 1.0, 1.5, True, "10"])
def test_top_is_a_fraction_or_a_number_of_examples(rng, top):
    with pytest.raises(InputError, match=r"top must be a fraction .* from 1 to 60"):
        confidence_overlap(drawn(rng), top)


def test_one_run_has_no_pairs(rng):
    with pytest.raises(InputError, match="at least two runs; got 1"):
        disagreement(drawn(rng, R=1))
