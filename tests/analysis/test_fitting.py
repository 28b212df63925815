from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, reordered, shuffled
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from analysis import FITTED, Predictions, ensemble_weights, fit_ensemble, greedy_selection
from analysis.fitting import convex_weights
from analysis.stacking import STRENGTHS
from petl_study.errors import InputError


def loss_of(weights: np.ndarray, preds: Predictions) -> float:
    mixed = np.tensordot(weights, softmax(preds.logits, axis=-1), axes=1)
    return -np.log(mixed[np.arange(len(preds.labels)), preds.labels]).mean()


# ----------------------------------------------------------------------------------------------------------- weighted


def test_the_weights_are_the_optimum_that_scipy_finds(rng):
    val = predictions(rng, "abcd", N=150)
    weights = fit_ensemble(val, "weighted", tolerance=1e-8).members["weight"].to_numpy()
    best = minimize(
        loss_of,
        np.full(4, 0.25),
        args=(val,),
        method="SLSQP",
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert loss_of(weights, val) == pytest.approx(best.fun, abs=1e-7)
    assert weights == pytest.approx(best.x, abs=5e-3)


def test_the_tolerance_bounds_how_far_the_weights_are_from_the_best(rng):
    val = predictions(rng, "abcdef", N=100)
    exact = loss_of(convex_weights(val.log_likelihood, 1e-9), val)
    for tolerance in (0.1, 1e-2, 1e-3):
        assert 0 <= loss_of(convex_weights(val.log_likelihood, tolerance), val) - exact <= tolerance


def test_members_that_say_the_same_get_the_same_weight_and_a_useless_one_none(rng):
    val = predictions(rng, "a", N=200, skill=4.0)
    useless = -val.logits
    preds = Predictions(
        val.labels, np.concatenate([val.logits, val.logits, useless]), pd.DataFrame({"method": ["a", "b", "c"]})
    )
    weights = fit_ensemble(preds, "weighted").members["weight"].to_numpy()
    assert weights[0] == weights[1]
    assert weights == pytest.approx([0.5, 0.5, 0], abs=2e-2)


def test_weights_survive_an_example_that_every_member_is_sure_to_get_wrong(rng):
    val = predictions(rng, "ab", N=50)
    logits = val.logits.copy()
    logits[:, 0] = -2000.0 * np.eye(5)[val.labels[0]]
    logits[1, 0] *= 2
    weights = fit_ensemble(Predictions(val.labels, logits, val.runs), "weighted").members["weight"]
    assert np.isfinite(weights).all()
    assert weights[0] > 0.02  # it alone keeps the example from being impossible


# ------------------------------------------------------------------------------------------------------------- greedy


def plain_greedy(val: Predictions, steps: int) -> list[tuple[int, float]]:
    """Caruana's loop, written out: the run picked at every step, and the accuracy after it."""
    probabilities, total, path = softmax(val.logits, axis=-1), np.zeros(val.logits.shape[1:]), []
    for step in range(1, steps + 1):
        scored = []
        for run in range(len(val)):
            mean = (total + probabilities[run]) / step
            accuracy = (mean.argmax(axis=1) == val.labels).mean()
            loss = -np.log(mean[np.arange(len(val.labels)), val.labels]).mean()
            picked = sum(run == other for other, _ in path)
            scored.append((-accuracy, loss, picked, run))
        accuracy, _, _, best = min(scored)
        total += probabilities[best]
        path.append((best, -accuracy))
    return path


def test_the_picks_are_those_of_the_loop_written_out(rng):
    val = predictions(rng, "abcdef", N=60)
    table = greedy_selection(val, steps=12)
    assert list(zip(table["run"], table["accuracy"], strict=True)) == plain_greedy(val, 12)
    assert table["loss"].iloc[0] == pytest.approx(loss_of(np.eye(6)[table["run"].iloc[0]], val))


def test_the_first_pick_is_the_best_run_and_the_result_is_the_best_on_the_way(rng):
    val = predictions(rng, "abcdef", N=60)
    table = greedy_selection(val, steps=30)
    assert table["accuracy"].iloc[0] == val.accuracy.max()
    kept = table[table["selected"]]
    assert len(kept) < 30
    assert kept["step"].tolist() == list(range(1, len(kept) + 1))
    assert kept["accuracy"].iloc[-1] == table["accuracy"].max()
    weights = fit_ensemble(val, "greedy", steps=30).members["weight"].to_numpy()
    assert weights * len(kept) == pytest.approx(np.bincount(kept["run"], minlength=6))
    assert loss_of(weights, val) == pytest.approx(kept["loss"].iloc[-1])


def test_by_loss_every_pick_has_the_lowest_loss_there_is(rng):
    val = predictions(rng, "abcd", N=60)
    table = greedy_selection(val, steps=6, metric="loss")
    picks = table["run"].tolist()
    for step in range(6):
        shares = [np.bincount([*picks[:step], run], minlength=4) / (step + 1) for run in range(4)]
        assert table["loss"].iloc[step] == pytest.approx(min(loss_of(share, val) for share in shares))
    assert table.loc[table["selected"], "loss"].iloc[-1] == table["loss"].min()


def test_runs_that_say_the_same_share_the_picks(rng):
    val = predictions(rng, "a", N=40).select([0, 0, 0])
    assert greedy_selection(val, steps=6)["run"].tolist() == [0, 1, 2, 0, 1, 2]


def test_half_precision_picks_as_the_same_numbers_in_full(rng):
    val = predictions(rng, "abcd", N=60)
    half = Predictions(val.labels, val.logits.astype(np.float16), val.runs)
    full = Predictions(val.labels, half.logits.astype(np.float64), val.runs)
    one, other = greedy_selection(half, steps=8), greedy_selection(full, steps=8)
    assert one["run"].tolist() == other["run"].tolist()
    assert one["loss"].to_numpy() == pytest.approx(other["loss"].to_numpy(), rel=1e-5)


# ----------------------------------------------------------------------------------------------------------- stacking


def test_stacking_is_the_logistic_regression_of_scikit_learn_on_all_features(rng):
    """More features than examples, so what is fitted is their projection; the answer must be that of the whole."""
    val, test = predictions(rng, [f"m{i}" for i in range(9)], N=40), predictions(rng, [f"m{i}" for i in range(9)])
    fitted = fit_ensemble(val, "stacking")

    def features(preds):
        centred = preds.logits - preds.logits.mean(axis=-1, keepdims=True)
        scale = (val.logits - val.logits.mean(axis=-1, keepdims=True)).std(axis=(1, 2))
        return np.concatenate(list(centred / scale[:, None, None]), axis=1)

    whole = LogisticRegression(C=fitted.settings["strength"], max_iter=10_000, tol=1e-8)
    whole.fit(features(val), val.labels)
    assert np.allclose(fitted.rule(test.logits), whole.predict_proba(features(test)), atol=2e-3)


def test_the_penalty_is_chosen_within_validation(rng):
    informative = fit_ensemble(predictions(rng, "ab", N=300, skill=5.0, apart=0.2, noise=0.2), "stacking")
    noise = predictions(rng, "ab", N=60)
    nothing = fit_ensemble(Predictions(rng.permutation(noise.labels), noise.logits, noise.runs), "stacking")
    assert informative.settings["strength"] > nothing.settings["strength"]
    assert {informative.settings["strength"], nothing.settings["strength"]} <= set(STRENGTHS)


def test_two_classes_are_regressed_as_many_are(rng):
    val = predictions(rng, "ab", N=80, C=2)
    probabilities = fit_ensemble(val, "stacking").rule(val.logits)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(80))
    assert (probabilities.argmax(axis=1) == val.labels).mean() >= val.accuracy.max() - 0.05


def test_a_class_that_validation_does_not_show_keeps_its_mean_probability(rng):
    val = predictions(rng, "ab", N=60, C=4)
    shown = val.labels != 2
    few = Predictions(val.labels[shown], val.logits[:, shown], val.runs)
    probabilities = fit_ensemble(few, "stacking").rule(val.logits)
    mean = softmax(val.logits, axis=-1).mean(axis=0)
    assert probabilities[:, 2] == pytest.approx(mean[:, 2])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(60))


def test_validation_of_one_class_has_nothing_to_regress_on(rng):
    val = predictions(rng, "ab", N=9)
    with pytest.raises(InputError, match="at least two classes in validation; all 9 examples are of class 0"):
        fit_ensemble(Predictions([0] * 9, val.logits, val.runs), "stacking")


def test_stacking_that_would_not_fit_in_memory_is_refused(rng, monkeypatch):
    monkeypatch.setattr("analysis.stacking._MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"would fit 50 numbers to 1,200\. Use weighted or greedy"):
        fit_ensemble(predictions(rng, "ab"), "stacking")


# ---------------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("combine", FITTED)
def test_no_rule_minds_the_order_of_members_or_examples_or_a_constant(rng, combine):
    val, test = predictions(rng, N=90), predictions(rng)
    answers = fit_ensemble(val, combine).rule(test.logits)
    backwards = fit_ensemble(reordered(val), combine).rule(reordered(test).logits)
    assert np.allclose(backwards, answers, atol=2e-3)
    if combine != "stacking":  # whose folds go by the order of the examples
        other = fit_ensemble(shuffled(val, rng), combine).rule(test.logits)
        assert np.allclose(other, answers, atol=1e-6)
    shifted = Predictions(val.labels, val.logits + rng.normal(size=(3, 90, 1)), val.runs)
    assert np.allclose(fit_ensemble(shifted, combine).rule(test.logits + 3), answers, atol=2e-3)


@pytest.mark.parametrize("combine", FITTED)
def test_an_ensemble_of_one_answers_as_its_member(rng, combine):
    val = predictions(rng, "a", N=200, skill=4.0, noise=0.3, apart=0.3)
    answers = fit_ensemble(val, combine).rule(val.logits)
    assert ((answers.argmax(axis=1) == val.predicted[0]).mean()) > (0.9 if combine == "stacking" else 0.999)


def test_the_weights_are_listed_heaviest_first(rng):
    fitted = fit_ensemble(predictions(rng, "abc", seeds=2), "weighted")
    table = ensemble_weights(fitted)
    assert table.columns.tolist() == ["method", "seed", "weight"]
    assert table["weight"].is_monotonic_decreasing
    with pytest.raises(InputError, match="stacking gives its members no weights"):
        ensemble_weights(fit_ensemble(predictions(rng), "stacking"))


def test_wrong_input_is_refused(rng):
    val = predictions(rng)
    with pytest.raises(InputError, match=r"unknown fitted rule 'weigthed'; known: .* Did you mean 'weighted'"):
        fit_ensemble(val, "weigthed")
    with pytest.raises(InputError, match="tolerance must be at least 1e-9"):
        fit_ensemble(val, "weighted", tolerance=1e-10)
    with pytest.raises(InputError, match="steps must be a whole number of at least 1"):
        greedy_selection(val, steps=0)
    with pytest.raises(InputError, match="unknown metric 'error'; known: accuracy, loss"):
        greedy_selection(val, metric="error")
    with pytest.raises(InputError, match="listed twice"):
        greedy_selection(val, [0, 0])
    apart = Predictions(val.labels, val.logits, val.runs.assign(backbone=["x", "x", "y"]))
    for combine in FITTED:
        with pytest.raises(InputError, match="different backbone"):
            fit_ensemble(apart, combine)
