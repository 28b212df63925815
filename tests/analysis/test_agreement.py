from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from sklearn.metrics import cohen_kappa_score, confusion_matrix, jaccard_score

from analysis import (
    MEASURES,
    Predictions,
    confidence_overlap,
    confidence_overlap_by_method,
    confidence_regions,
    confidence_sets,
    confidently_wrong,
    disagreement,
    disagreement_by_method,
    set_regions,
)
from analysis.agreement import Agreement
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


def test_every_measure_of_errors_is_that_of_an_independent_reference(rng):
    preds = predictions(rng, "abcd", N=200)
    for row in disagreement(preds).itertuples():
        a, b = preds.correct[[row.run_a, row.run_b]]
        (n00, n01), (n10, n11) = confusion_matrix(a, b)
        assert row.error_consistency == pytest.approx(cohen_kappa_score(a, b))
        assert row.error_jaccard == pytest.approx(jaccard_score(~a, ~b))
        assert row.double_fault == pytest.approx(n00 / 200)
        odds = n11 * n00 / (n10 * n01)
        assert row.q_statistic == pytest.approx((odds - 1) / (odds + 1))


def test_no_measure_depends_on_the_order_of_runs_or_examples(rng):
    preds = predictions(rng, "abcd")
    table = disagreement(preds)
    pd.testing.assert_frame_equal(disagreement(shuffled(preds, rng)), table)
    backwards = disagreement(reordered(preds))
    backwards = backwards.assign(run_a=3 - backwards["run_b"], run_b=3 - backwards["run_a"])
    backwards = backwards.sort_values(["run_a", "run_b"], ignore_index=True)
    pd.testing.assert_frame_equal(backwards[list(MEASURES)], table[list(MEASURES)])


def test_measures_stay_in_their_bounds_and_obey_their_inequalities(rng):
    table = disagreement(predictions(rng, [f"m{i}" for i in range(12)], N=40))
    assert table[["disagreement", "double_fault", "error_jaccard"]].min().min() >= 0
    assert table[["disagreement", "double_fault", "error_jaccard"]].max().max() <= 1
    assert table[["kappa", "error_consistency", "q_statistic"]].abs().max().max() <= 1
    assert (table["q_statistic"].abs() >= table["error_consistency"].abs() - 1e-12).all()
    assert (table["double_fault"] <= table["error_jaccard"] + 1e-12).all()


def said(*predicted: list[int], labels: list[int], C: int = 3) -> Predictions:
    logits = np.eye(C)[np.array(predicted)]
    return Predictions(labels, logits, pd.DataFrame({"method": [f"m{i}" for i in range(len(predicted))]}))


UNDEFINED = ["q_statistic", "error_consistency", "error_jaccard"]


def test_beside_a_run_that_is_always_right_nothing_is_shared():
    row = disagreement(said([0, 1, 2, 0], [0, 1, 2, 2], labels=[0, 1, 2, 0])).iloc[0]
    assert np.isnan(row["q_statistic"])
    assert row[["error_consistency", "error_jaccard", "double_fault"]].tolist() == [0, 0, 0]


def test_two_runs_that_are_always_right_have_no_errors_to_compare():
    row = disagreement(said([0, 1, 2], [0, 1, 2], labels=[0, 1, 2])).iloc[0]
    assert row[UNDEFINED].isna().all()
    assert (row["disagreement"], row["kappa"], row["double_fault"]) == (0, 1, 0)


def test_two_runs_that_are_always_wrong_share_every_error():
    row = disagreement(said([1, 2, 0], [2, 0, 1], labels=[0, 1, 2])).iloc[0]
    assert row[["q_statistic", "error_consistency"]].isna().all()
    assert (row["error_jaccard"], row["double_fault"], row["disagreement"]) == (1, 1, 1)


def test_a_class_that_is_never_predicted_changes_nothing():
    few = disagreement(said([0, 1, 0], [0, 0, 1], labels=[0, 1, 1], C=2))
    pd.testing.assert_frame_equal(disagreement(said([0, 1, 0], [0, 0, 1], labels=[0, 1, 1], C=300)), few)


def test_equal_runs_are_as_consistent_as_can_be(rng):
    preds = predictions(rng)
    row = disagreement(preds.select([0, 0])).iloc[0]
    assert row[["kappa", "error_consistency", "q_statistic", "error_jaccard"]].tolist() == pytest.approx([1] * 4)


def test_a_resample_is_measured_as_if_its_examples_were_there(rng):
    preds = predictions(rng, "abc", N=50)
    picks = rng.integers(50, size=50)
    counts = np.bincount(picks, minlength=50)[None].astype(np.float32)
    drawn = Predictions(preds.labels[picks], preds.logits[:, picks], preds.runs)
    measured = Agreement(preds).measures(counts)
    expected = disagreement(drawn)
    for name in MEASURES:
        assert measured[name][0] == pytest.approx(expected[name].to_numpy(), nan_ok=True), name


def test_how_many_pairs_are_looked_at_at_once_does_not_matter(rng, monkeypatch):
    preds = predictions(rng, "abcdef")
    whole = disagreement(preds)
    monkeypatch.setattr("analysis.agreement._CHUNK_BYTES", 1)
    pd.testing.assert_frame_equal(disagreement(preds), whole)


def test_means_by_method_leave_out_what_is_not_defined():
    table = pd.DataFrame({"method_a": ["a", "a"], "method_b": ["b", "b"], "disagreement": [0.1, 0.3]})
    table = disagreement_by_method(table.assign(q_statistic=[np.nan, 0.5]))
    assert table["disagreement"].tolist() == pytest.approx([0.2, 0.2])
    assert table["q_statistic"].tolist() == [0.5, 0.5]
    assert table["pairs"].tolist() == [2, 2]


# -------------------------------------------------------------------------------------------------------- confidence


def test_the_most_confident_wrong_are_the_surest_of_the_wrong():
    logits = np.array([[[3.0, 0.0], [0.0, 2.0], [0.0, 1.0], [0.0, 0.5], [0.1, 0.0]]])
    preds = Predictions([0, 0, 0, 0, 0], logits, pd.DataFrame({"method": ["a"]}))  # wrong: the middle three
    assert np.flatnonzero(confidently_wrong(preds, 2)[0]).tolist() == [1, 2]
    assert np.flatnonzero(confidently_wrong(preds, 5)[0]).tolist() == [1, 2, 3]
    assert np.flatnonzero(confidently_wrong(preds, 0.34)[0]).tolist() == [1]  # of three
    assert np.flatnonzero(confidently_wrong(preds, 0.01)[0]).tolist() == [1]


def test_a_run_without_errors_is_never_confidently_wrong():
    preds = Predictions([0], np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), pd.DataFrame({"method": ["a", "b"]}))
    assert confidently_wrong(preds, 0.5).tolist() == [[False], [True]]
    assert confidence_overlap(preds, 0.5)["confident_wrong_jaccard"].item() == 0


def test_overlap_by_method_is_the_mean_over_pairs_of_runs(rng):
    table = confidence_overlap(predictions(rng, "ab", seeds=2))
    cells = confidence_overlap_by_method(table).set_index(["method_a", "method_b"])
    between = table[table["method_a"] != table["method_b"]]
    for kind in ("correct", "wrong", "confident_wrong"):
        assert cells.loc[("b", "a"), f"{kind}_jaccard"] == pytest.approx(between[f"{kind}_jaccard"].mean())
    assert cells.loc[("a", "a"), "pairs"] == 1


def test_regions_are_what_sets_share_and_no_other_has():
    regions = set_regions({"a": [1, 1, 1, 0, 0], "b": [1, 1, 0, 1, 0], "c": [0, 0, 0, 1, 0]})
    assert regions["members"].tolist() == [("a", "b"), ("a",), ("b", "c")]
    assert regions["examples"].tolist() == [2, 1, 1]
    assert regions["degree"].tolist() == [2, 1, 2]
    assert regions["share"].sum() == pytest.approx(1)


def test_regions_of_empty_sets_are_none():
    assert len(set_regions({"a": [0, 0], "b": [0, 0]})) == 0


def test_regions_of_no_sets_or_of_sets_of_other_examples_are_refused():
    with pytest.raises(InputError, match="no sets were given; give at least one"):
        set_regions({})
    with pytest.raises(InputError, match=r"the same N examples .* got \{'a': \(2,\), 'b': \(3,\)\}"):
        set_regions({"a": [0, 1], "b": [0, 1, 1]})
    with pytest.raises(InputError, match="the same N examples"):
        set_regions({"a": True})


@pytest.mark.parametrize("kind", ["correct", "wrong", "confident_wrong"])
def test_regions_add_up_to_the_sets_they_are_made_of(rng, kind):
    preds = predictions(rng, "abc")
    regions, table = confidence_regions(preds, 0.3, kind), confidence_overlap(preds, 0.3)
    sizes = [sum(regions["examples"][[name in m for m in regions["members"]]]) for name in "abc"]
    assert sizes[:2] == table.loc[0, [f"{kind}_a", f"{kind}_b"]].tolist()
    both = sum(regions["examples"][[{"b", "c"} <= set(m) for m in regions["members"]]])
    assert both == table.loc[2, f"{kind}_shared"]


def test_regions_name_the_seed_where_a_method_has_several(rng):
    regions = confidence_regions(predictions(rng, "a", seeds=2))
    assert {name for members in regions["members"] for name in members} == {"a, seed 0", "a, seed 1"}
    preds = predictions(rng, "a")
    with pytest.raises(InputError, match="two runs are both 'a, seed 0'"):
        confidence_regions(preds.select([0, 0]))
    with pytest.raises(InputError, match="unknown kind 'right'; known: confident_wrong, correct, wrong"):
        confidence_regions(preds, kind="right")
