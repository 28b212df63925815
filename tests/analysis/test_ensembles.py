from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score

from analysis import COMBINE, Predictions, ensemble, ensemble_gain, scores_as_logits
from petl_study.errors import InputError


def drawn(rng, R=4, N=80, C=5, skill=1.0) -> Predictions:
    labels = rng.integers(C, size=N)
    logits = 2 * rng.normal(size=(R, N, C)) + skill * np.eye(C)[labels]
    runs = pd.DataFrame({"method": [f"m{i}" for i in range(R)], "seed": 0, "val_accuracy": rng.random(R)})
    return Predictions(labels, logits, runs)


def test_means_are_means(rng):
    preds = drawn(rng)
    assert np.allclose(ensemble(preds), preds.logits.mean(axis=0))
    assert np.allclose(ensemble(preds, "mean_prob"), softmax(preds.logits, axis=-1).mean(axis=0))


def test_votes_are_the_whole_part_and_the_mean_probability_decides_ties(rng):
    preds = drawn(rng)
    scores = ensemble(preds, "vote")
    counts = np.stack([(preds.predicted == c).sum(axis=0) for c in range(5)], axis=1)
    assert (np.floor(scores) == counts).all()
    mean = softmax(preds.logits, axis=-1).mean(axis=0)
    for n in range(80):
        tied = np.flatnonzero(counts[n] == counts[n].max())
        assert scores[n].argmax() == tied[mean[n, tied].argmax()]


@pytest.mark.parametrize("combine", COMBINE)
def test_an_ensemble_ignores_the_order_of_its_members(rng, combine):
    preds = drawn(rng)
    assert np.allclose(ensemble(preds, combine), ensemble(preds, combine, [3, 1, 0, 2]))


@pytest.mark.parametrize("combine", COMBINE)
def test_an_ensemble_ignores_a_constant_added_to_logits(rng, combine):
    preds = drawn(rng)
    shifted = Predictions(preds.labels, preds.logits + 100 * rng.normal(size=(4, 80, 1)), preds.runs)
    assert (ensemble(shifted, combine).argmax(axis=1) == ensemble(preds, combine).argmax(axis=1)).all()


@pytest.mark.parametrize("combine", COMBINE)
def test_an_ensemble_of_one_run_says_what_the_run_says(rng, combine):
    preds = drawn(rng)
    assert (ensemble(preds, combine, [2]).argmax(axis=1) == preds.predicted[2]).all()


@pytest.mark.parametrize("combine", COMBINE)
def test_the_size_of_blocks_does_not_matter(rng, combine, monkeypatch):
    preds = drawn(rng)
    whole = ensemble(preds, combine)
    monkeypatch.setattr("analysis.predictions._BLOCK_BYTES", 1000)
    assert np.array_equal(ensemble(preds, combine), whole)


def test_a_repeated_member_counts_twice(rng):
    preds = drawn(rng)
    assert np.allclose(ensemble(preds, members=[0, 0, 1]), (2 * preds.logits[0] + preds.logits[1]) / 3)


@pytest.mark.parametrize("combine", COMBINE)
def test_half_precision_does_not_overflow(combine):
    logits = np.full((2, 1, 2), 60_000, dtype=np.float16)
    logits[:, 0, 1] = -60_000
    preds = Predictions([0], logits, pd.DataFrame({"method": ["a", "b"]}))
    scores = ensemble(preds, combine)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.isfinite(scores_as_logits(scores, combine)).all()


@pytest.mark.parametrize("combine", COMBINE)
def test_scores_as_logits_are_logits_of_the_ensembles_probabilities(rng, combine):
    preds = drawn(rng)
    scores = ensemble(preds, combine)
    logits = scores_as_logits(scores, combine)
    assert (logits.argmax(axis=1) == scores.argmax(axis=1)).all()
    probabilities = {
        "mean_logit": softmax(preds.logits.mean(axis=0), axis=1),
        "mean_prob": softmax(preds.logits, axis=-1).mean(axis=0),
        "vote": scores / scores.sum(axis=1, keepdims=True),
    }
    assert np.allclose(np.exp(log_softmax(logits, axis=1)), probabilities[combine])


def test_the_gain_is_over_the_best_the_best_on_val_and_the_mean_member(rng):
    preds = drawn(rng)
    scores = ensemble(preds)
    table = ensemble_gain(preds, scores, rng=rng).set_index("against")
    of_members = [accuracy_score(preds.labels, said) for said in preds.predicted]
    assert table["ensemble_accuracy"].tolist() == [accuracy_score(preds.labels, scores.argmax(axis=1))] * 3
    on_val = preds.runs["val_accuracy"].argmax()
    assert table["accuracy"].to_dict() == pytest.approx(
        {"best member": max(of_members), "best member on val": of_members[on_val], "mean member": np.mean(of_members)}
    )
    assert table.loc["best member", "member"] == np.argmax(of_members)
    assert table.loc["best member on val", "method"] == f"m{on_val}"
    assert (table["gain"] == table["ensemble_accuracy"] - table["accuracy"]).all()
    assert (table["low"] <= table["gain"]).all()
    assert (table["gain"] <= table["high"]).all()


def test_the_interval_is_that_of_resampling_examples(rng):
    """The drawn counts of values, against the plain bootstrap that draws N examples again and again."""
    preds = drawn(rng, N=300)
    scores = ensemble(preds)
    table = ensemble_gain(preds, scores, rng=rng, draws=20_000).set_index("against")
    difference = (scores.argmax(axis=1) == preds.labels) - preds.correct.mean(axis=0)
    means = difference[rng.integers(300, size=(20_000, 300))].mean(axis=1)
    assert table.loc["mean member", ["low", "high"]].tolist() == pytest.approx(
        np.quantile(means, [0.025, 0.975]), abs=2e-3
    )


def test_the_interval_moves_with_its_level_and_only_with_its_own_chance(rng):
    preds = drawn(rng)
    scores = ensemble(preds)

    def width(level, seed):
        table = ensemble_gain(preds, scores, rng=np.random.default_rng(seed), level=level)
        return (table["high"] - table["low"]).tolist()

    assert width(0.95, 0) == width(0.95, 0)
    assert all(narrow < wide for narrow, wide in zip(width(0.5, 0), width(0.99, 0), strict=True))


def test_without_a_validation_accuracy_there_is_no_such_comparison(rng):
    preds = drawn(rng)
    preds = Predictions(preds.labels, preds.logits, preds.runs.drop(columns="val_accuracy"))
    assert ensemble_gain(preds, ensemble(preds), rng=rng)["against"].tolist() == ["best member", "mean member"]


def test_runs_of_two_protocols_are_not_combined(rng):
    preds = drawn(rng, R=2)
    preds = Predictions(preds.labels, preds.logits, preds.runs.assign(protocol=["long", "short"]))
    with pytest.raises(InputError, match=r"different protocol .*long \(method m0\); short \(method m1\)"):
        ensemble(preds)


def test_wrong_input_is_refused(rng):
    preds = drawn(rng)
    with pytest.raises(InputError, match="unknown combine 'mean'; known: mean_logit, mean_prob, vote"):
        ensemble(preds, "mean")
    with pytest.raises(InputError, match=r"scores have shape \(3, 5\)"):
        ensemble_gain(preds, np.zeros((3, 5)), rng=rng)
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        ensemble_gain(preds, ensemble(preds), rng=rng, level=95)


def test_validation_picks_by_accuracy_then_by_loss(rng):
    preds = drawn(rng)
    runs = preds.runs.assign(val_accuracy=[0.8, 0.9, 0.9, 0.7], val_loss=[0.1, 0.5, 0.4, 0.1])
    table = ensemble_gain(Predictions(preds.labels, preds.logits, runs), ensemble(preds), rng=rng)
    assert table.set_index("against").loc["best member on val", "method"] == "m2"
    table = ensemble_gain(Predictions(preds.labels, preds.logits, runs), ensemble(preds), [3, 0, 1], rng=rng)
    assert table.set_index("against").loc["best member on val", "member"] == 1
