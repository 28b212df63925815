from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import analysis
from analysis import Predictions
from petl_study.errors import InputError

RUNS = pd.DataFrame({"method": ["lora", "ssf"], "seed": [0, 0]})


def some(rng: np.random.Generator, R: int = 2, N: int = 5, C: int = 3) -> dict[str, object]:
    return {
        "labels": rng.integers(C, size=N),
        "logits": rng.normal(size=(R, N, C)),
        "runs": pd.DataFrame({"method": [f"m{i}" for i in range(R)]}),
    }


def test_predictions_are_made_from_plain_lists_and_arrays():
    preds = Predictions([0, 1], [[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]], RUNS, ["a", "b"])
    assert preds.predicted.tolist() == [[0, 1], [0, 0]]
    assert preds.correct.tolist() == [[True, True], [True, False]]
    assert preds.accuracy.tolist() == [1.0, 0.5]


def test_of_equal_logits_the_first_class_is_predicted(rng):
    preds = Predictions(**some(rng) | {"logits": np.zeros((2, 5, 3))})
    assert (preds.predicted == 0).all()


def test_logits_keep_their_precision(rng):
    given = some(rng)
    preds = Predictions(**given | {"logits": given["logits"].astype(np.float16)})
    assert preds.logits.dtype == np.float16


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logits": np.zeros((5, 3))}, r"\(R runs, N examples, C classes\).*\(5, 3\).*logits\[None\]"),
        ({"logits": np.zeros((2, 0, 3))}, r"none of them 0"),
        ({"logits": np.zeros((2, 5, 3), dtype=int)}, "floats.*got int64"),
        ({"labels": np.zeros(4, dtype=int)}, r"shape \(4,\).*5 examples"),
        ({"labels": np.zeros(5)}, "whole numbers.*float64"),
        ({"labels": np.array([0, 1, 2, 3, 0])}, "from 0 to 3 .* 3 classes, 0 to 2"),
        ({"labels": np.array([0, 1, 2, -1, 0])}, "from -1 to 2"),
        ({"runs": RUNS.iloc[:1]}, "1 rows but the logits are of 2 runs"),
        ({"runs": RUNS.rename(columns={"method": "model"})}, "column 'method'; got one with columns model, seed"),
        ({"runs": RUNS.assign(seed=["one", "two"])}, "seeds must be whole numbers"),
        ({"ids": ["a", "b"]}, "one id for each"),
        ({"ids": ["a", "b", "c", "d", "a"]}, "id 'a' names more than one"),
    ],
)
def test_wrong_input_is_refused_with_the_value_and_what_is_allowed(rng, changed, message):
    with pytest.raises(InputError, match=message):
        Predictions(**some(rng) | changed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_name_the_run_and_the_example(rng, value):
    given = some(rng) | {"runs": RUNS}
    given["logits"][1, 3, 0] = value
    with pytest.raises(InputError, match=r"run ssf, seed 0 has NaN or infinite logits for 1 of 5 .*number 3"):
        Predictions(**given)


def test_members_are_rows_masks_or_methods(rng):
    preds = Predictions(**some(rng, R=3))
    assert preds.positions(None).tolist() == [0, 1, 2]
    assert preds.positions([2, 0, 0]).tolist() == [2, 0, 0]
    assert preds.positions(np.array([True, False, True])).tolist() == [0, 2]
    assert preds.positions(["m2", "m1"]).tolist() == [1, 2]
    assert preds.positions("m1").tolist() == [1]
    assert preds.select([2, 1]).runs["method"].tolist() == ["m2", "m1"]


@pytest.mark.parametrize("members", [[], [3], [-1], [0.5], [True, False], np.array([True, False]), [[0, 1]]])
def test_members_that_are_not_there_are_refused(rng, members):
    with pytest.raises(InputError, match="members must be rows"):
        Predictions(**some(rng, R=3)).positions(members)


def test_an_unknown_method_among_the_members_shows_the_known_ones(rng):
    with pytest.raises(InputError, match="unknown method 'm7'; known: m0, m1"):
        Predictions(**some(rng)).positions(["m7"])


def test_blocks_cover_every_example_once(rng, monkeypatch):
    monkeypatch.setattr("analysis.predictions._BLOCK_BYTES", 8 * 3 * 2)
    preds = Predictions(**some(rng, N=7))
    covered = [example for block in preds.blocks() for example in range(7)[block]]
    assert covered == list(range(7))
    assert len(list(preds.blocks(2))) == 7


def test_confidence_and_likelihood_are_those_of_scipy(rng):
    preds = Predictions(**some(rng))
    p = softmax(preds.logits, axis=-1)
    assert np.allclose(preds.confidence, p.max(axis=-1))
    assert np.allclose(preds.log_likelihood, np.log(p[:, np.arange(5), preds.labels]))


def test_half_precision_predicts_as_the_same_numbers_in_full(rng):
    given = some(rng, N=300)
    half = Predictions(**given | {"logits": given["logits"].astype(np.float16)})
    full = Predictions(**given | {"logits": half.logits.astype(np.float64)})
    assert (half.predicted == full.predicted).all()
    assert np.allclose(half.doubt, full.doubt, atol=1e-5)
    assert np.allclose(half.log_likelihood, full.log_likelihood, atol=1e-5)


@pytest.fixture
def mapped(rng, tmp_path):
    given = some(rng, R=6, N=3000, C=40)
    np.save(tmp_path / "logits.npy", given["logits"].astype(np.float16))
    return Predictions(**given | {"logits": np.load(tmp_path / "logits.npy", mmap_mode="r")})


def test_a_mapped_file_stays_on_disk(mapped):
    assert isinstance(mapped.logits.base, np.memmap)
    for rows in ([1, 2, 3], [0, 2, 4], [5]):
        few = mapped.select(rows)
        assert np.shares_memory(few.logits, mapped.logits)
        assert np.array_equal(few.logits, mapped.logits[rows])
    for rows in ([0, 1, 3], [2, 1], [1, 1]):
        assert np.array_equal(mapped.select(rows).logits, mapped.logits[rows])


def test_nothing_widens_all_logits_at_once(mapped, rng, monkeypatch):
    """Working copies are a few examples large: together less than the logits take in half precision."""
    for name in ("predictions._BLOCK_BYTES", "examples._BATCH_BYTES", "agreement._CHUNK_BYTES"):
        monkeypatch.setattr(f"analysis.{name}", 100_000)
    tracemalloc.start()
    try:
        Predictions(mapped.labels, mapped.logits, mapped.runs)
        analysis.disagreement(mapped)
        analysis.confidence_overlap(mapped)
        analysis.accuracy_intervals(mapped, rng=rng, draws=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < mapped.logits.nbytes


def test_lists_of_unequal_lengths_are_refused():
    with pytest.raises(InputError, match="must be of the same examples and classes"):
        Predictions([0], [[[1.0, 2.0]], [[1.0]]], pd.DataFrame({"method": ["a", "b"]}))
