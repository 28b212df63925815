from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score

from analysis import (
    COMBINE,
    FITTED,
    Predictions,
    ensemble,
    ensemble_gain,
    ensemble_of_seeds,
    fit_ensemble,
    oracle,
    scores_as_logits,
)
from analysis.paired import mcnemar
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
    median = np.median(softmax(preds.logits, axis=-1), axis=0)
    probabilities = {
        "mean_logit": softmax(preds.logits.mean(axis=0), axis=1),
        "geometric": softmax(preds.logits.mean(axis=0), axis=1),
        "mean_prob": softmax(preds.logits, axis=-1).mean(axis=0),
        "median": median / median.sum(axis=1, keepdims=True),
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
    with pytest.raises(InputError, match=r"unknown combine 'mean'; known: geometric, greedy, mean_logit, .* vote"):
        ensemble(preds, "mean")
    with pytest.raises(InputError, match=r"scores have shape \(3, 5\)"):
        ensemble_gain(preds, np.zeros((3, 5)), rng=rng)
    scores = ensemble(preds)
    scores[2, 1] = np.nan
    with pytest.raises(InputError, match="scores are NaN for 1 of"):
        ensemble_gain(preds, scores, rng=rng)
    with pytest.raises(InputError, match="draws must be a whole number of at least 1"):
        ensemble_gain(preds, ensemble(preds), rng=rng, draws=0)
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        ensemble_gain(preds, ensemble(preds), rng=rng, level=95)


def test_validation_picks_by_accuracy_then_by_loss(rng):
    preds = drawn(rng)
    runs = preds.runs.assign(val_accuracy=[0.8, 0.9, 0.9, 0.7], val_loss=[0.1, 0.5, 0.4, 0.1])
    table = ensemble_gain(Predictions(preds.labels, preds.logits, runs), ensemble(preds), rng=rng)
    assert table.set_index("against").loc["best member on val", "method"] == "m2"
    table = ensemble_gain(Predictions(preds.labels, preds.logits, runs), ensemble(preds), [3, 0, 1], rng=rng)
    assert table.set_index("against").loc["best member on val", "member"] == 1


def test_the_geometric_mean_is_the_mean_logit_under_another_name(rng):
    preds = drawn(rng)
    scores = ensemble(preds, "geometric")
    assert np.allclose(scores, log_softmax(preds.logits.mean(axis=0), axis=1))
    product = np.prod(softmax(preds.logits, axis=-1), axis=0) ** (1 / 4)
    assert np.allclose(np.exp(scores), product / product.sum(axis=1, keepdims=True))


def test_the_median_is_not_moved_by_one_member_that_is_sure_and_wrong(rng):
    preds = drawn(rng, R=3, C=3, skill=6.0)
    logits = preds.logits.copy()
    logits[0] = 50 * np.eye(3)[(preds.labels + 1) % 3]
    spoiled = Predictions(preds.labels, logits, preds.runs)
    accuracy = {rule: accuracy_score(preds.labels, ensemble(spoiled, rule).argmax(axis=1)) for rule in COMBINE}
    assert accuracy["median"] > accuracy["mean_logit"] + 0.1


def test_where_every_median_is_0_the_mean_decides():
    logits = 2000 * np.eye(3)[:, None, :]  # three members, each sure of its own class
    preds = Predictions([0], logits, pd.DataFrame({"method": ["a", "b", "c"]}))
    assert ensemble(preds, "median")[0].tolist() == pytest.approx([1 / 3] * 3)


def test_no_vote_is_right_where_no_member_is(rng):
    preds = drawn(rng, R=3)
    any_right = oracle(preds)
    assert any_right.tolist() == preds.correct.any(axis=0).tolist()
    voted = ensemble(preds, "vote").argmax(axis=1) == preds.labels
    assert (voted <= any_right).all()
    assert oracle(preds, [1]).tolist() == preds.correct[1].tolist()


def test_a_gain_has_mcnemars_test_and_the_bound(rng):
    preds = drawn(rng)
    scores = ensemble(preds)
    right = scores.argmax(axis=1) == preds.labels
    table = ensemble_gain(preds, scores, others={"run 2": preds.logits[2]}, rng=rng).set_index("against")
    assert (table["oracle_accuracy"] == preds.correct.any(axis=0).mean()).all()
    row = table.loc["run 2"]
    assert row["gain"] == pytest.approx(right.mean() - preds.accuracy[2])
    assert (row["only_ensemble"], row["only_other"]) == (
        (right & ~preds.correct[2]).sum(),
        (preds.correct[2] & ~right).sum(),
    )
    assert (row["p_value"], row["mid_p"]) == mcnemar(row["only_ensemble"], row["only_other"])
    assert table.loc["mean member", ["only_ensemble", "p_value", "mid_p"]].isna().all()


def test_the_control_is_as_many_seeds_of_the_method_that_validation_picks(rng):
    preds = predictions(rng, "ab", seeds=3)
    preds = preds.select([5, 0, 3, 1, 4, 2])
    runs = preds.runs.assign(val_accuracy=[{"a": 0.7, "b": 0.8}[method] for method in preds.runs["method"]])
    preds = Predictions(preds.labels, preds.logits, runs)
    rows, scores = ensemble_of_seeds(preds, 2, "vote")
    assert preds.runs.loc[rows, ["method", "seed"]].to_numpy().tolist() == [["b", 0], ["b", 1]]
    assert np.array_equal(scores, ensemble(preds, "vote", rows))
    rows, _ = ensemble_of_seeds(preds, 3, method="a")
    assert set(preds.runs.loc[rows, "method"]) == {"a"}


def test_a_control_that_cannot_be_made_is_refused(rng):
    preds = predictions(rng, "ab", seeds=2)
    with pytest.raises(InputError, match="needs a method with 3; seeds there are: a 2, b 2"):
        ensemble_of_seeds(preds, 3)
    with pytest.raises(InputError, match="seeds there are"):
        ensemble_of_seeds(preds, 2, method="c")
    with pytest.raises(InputError, match="give method="):
        ensemble_of_seeds(preds, 2)


@pytest.mark.parametrize("combine", FITTED)
def test_a_fitted_rule_needs_what_the_same_runs_say_of_validation(rng, combine):
    preds = predictions(rng)
    with pytest.raises(InputError, match=f"{combine} is fitted on validation .*give val="):
        ensemble(preds, combine)
    other = predictions(rng, ("lora", "ssf", "vqt"))
    with pytest.raises(InputError, match="preds and val must be the same runs in the same order; got lora 0, ssf 0"):
        ensemble(preds, combine, val=other)
    with pytest.raises(InputError, match="val has 4 classes and the predictions have 5"):
        ensemble(preds, combine, val=predictions(rng, C=4))
    fitted = fit_ensemble(preds, combine)
    with pytest.raises(InputError, match="the members now and when it was fitted"):
        ensemble(preds, fitted, [0, 1])


@pytest.mark.parametrize("combine", FITTED)
def test_a_fitted_rule_is_used_as_it_was_fitted(rng, combine):
    preds, val = predictions(rng), predictions(rng, N=60)
    scores = ensemble(preds, combine, val=val)
    assert np.array_equal(scores, ensemble(preds, fit_ensemble(val, combine)))
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    some = ensemble(preds, combine, [2, 0], val=val)
    assert np.array_equal(some, ensemble(preds.select([2, 0]), combine, val=val.select([2, 0])))
    assert np.allclose(np.exp(scores_as_logits(scores, combine)), scores)
