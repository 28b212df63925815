from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats

from analysis import interquartile_means, probability_of_improvement, strengths
from petl_study.errors import InputError
from tables import runs_of


def games(accuracy: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every comparison as a row of a logistic regression: who against whom, who won, and how much it counts."""
    T, M = accuracy.shape
    rows, won, weight = [], [], []
    for i in range(M):
        for j in range(i + 1, M):
            row = np.zeros(M)
            row[i], row[j] = 1, -1
            wins = (accuracy[:, i] > accuracy[:, j]).sum() + 0.5 * (accuracy[:, i] == accuracy[:, j]).sum() + prior / 2
            for result, count in ((1, wins), (0, T + prior - wins)):
                rows.append(row)
                won.append(result)
                weight.append(count)
    return np.array(rows), np.array(won), np.array(weight)


def test_strengths_are_those_of_a_logistic_regression(rng):
    accuracy = ((rng.random((9, 5)) + np.arange(5) / 10) / 2).round(1)  # ties among them
    rows, won, weight = games(accuracy, prior=1.0)
    fit = sm.GLM(won, rows[:, 1:], family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-12)
    reference = np.r_[0, fit.params] - fit.params.sum() / 5
    found = strengths(runs_of(accuracy), rng=rng, draws=5).set_index("method")["strength"].sort_index()
    assert found.to_numpy() == pytest.approx(reference, abs=1e-7)


def test_who_always_wins_has_a_finite_strength_that_the_prior_sets(rng):
    accuracy = np.tile([0.9, 0.5, 0.4, 0.1], (10, 1))
    loose, tight = (
        strengths(runs_of(accuracy), rng=rng, prior=prior, draws=20).set_index("method") for prior in (0.1, 10)
    )
    assert np.isfinite(loose[["strength", "low", "high"]].to_numpy()).all()
    assert loose.loc["a", "strength"] > tight.loc["a", "strength"] > 0
    assert loose.loc["a", "wins"] == 1
    rows, won, weight = games(accuracy, prior=0.1)
    loss = lambda s: weight @ np.logaddexp(0, np.where(won, -1, 1) * (rows @ s)) + 1e-9 * s.sum() ** 2  # noqa: E731
    reference = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    assert loose["strength"].sort_index().to_numpy() == pytest.approx(reference - reference.mean(), abs=1e-4)


def test_of_two_methods_the_strength_is_the_logarithm_of_the_odds(rng):
    found = strengths(runs_of(np.tile([0.9, 0.5], (10, 1))), rng=rng, prior=1e-6, draws=5).set_index("method")[
        "strength"
    ]
    assert found["a"] - found["b"] == pytest.approx(np.log((10 + 5e-7) / 5e-7))


def test_thirty_methods_that_every_task_orders_alike_win_as_often_as_they_should(rng):
    """Their strengths span a hundred and more; where they are the likeliest, expected wins are those that were seen."""
    accuracy = np.tile(np.linspace(0.9, 0.1, 30), (19, 1))
    found = strengths(runs_of(accuracy), rng=rng, prior=1e-3, draws=2)["strength"].to_numpy()  # the strongest first
    assert np.ptp(found) > 100
    expected = ((19 + 1e-3) * special.expit(found[:, None] - found) - (19 + 1e-3) / 2 * np.eye(30)).sum(axis=1)
    assert expected == pytest.approx(19 * np.arange(29, -1, -1) + 29 * 5e-4, abs=1e-6)


def test_equal_methods_are_equally_strong(rng):
    table = strengths(runs_of(np.full((3, 4), 0.5)), rng=rng, draws=10)
    assert table["strength"].to_numpy() == pytest.approx(0)
    assert table["elo"].to_numpy() == pytest.approx(1500)
    assert table["wins"].to_numpy() == pytest.approx(0.5)


def test_a_prior_of_nothing_is_refused(rng):
    with pytest.raises(InputError, match=r"prior must be at least 1e-6, .* got 0"):
        strengths(runs_of([[0.5, 0.6]]), rng=rng, prior=0)


def test_intervals_hold_the_strength_and_one_task_has_none(rng):
    table = strengths(runs_of(rng.random((20, 4))), rng=rng)
    assert ((table["low"] < table["strength"]) & (table["strength"] < table["high"])).all()
    single = strengths(runs_of(rng.random((1, 4))), rng=rng, draws=10)
    assert single["low"].isna().all()
    assert set(single["interval"]) == {"none"}


def brute_force(one: np.ndarray, other: np.ndarray) -> float:
    """Agarwal et al.'s definition, pair by pair: (T, S) each."""
    shares = [
        np.mean([(x > y) + 0.5 * (x == y) for x in a[~np.isnan(a)] for y in b[~np.isnan(b)]])
        for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(shares))


def test_the_probability_of_improvement_is_its_definition(rng):
    accuracy = rng.random((4, 3, 3)).round(1)
    accuracy[1, 2, 2] = np.nan  # a missing seed is no loss
    table = probability_of_improvement(runs_of(accuracy), rng=rng, draws=10, over="tasks")
    for row in table.itertuples():
        a, b = ("abc".index(name) for name in (row.method_a, row.method_b))
        assert row.probability == pytest.approx(brute_force(accuracy[:, a], accuracy[:, b]))
    both = table.set_index(["method_a", "method_b"])["probability"]
    assert all(both[a, b] + both[b, a] == pytest.approx(1) for a, b in both.index)


def test_with_one_seed_it_is_the_share_of_tasks_won(rng):
    table = probability_of_improvement(runs_of([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]), rng=rng)
    row = table.set_index(["method_a", "method_b"]).loc[("a", "b")]
    assert row["probability"] == 2.5 / 4
    assert row["low"] < row["probability"] < row["high"]


def test_redrawing_tasks_too_widens_the_probability(rng):
    accuracy = rng.normal(0.5, 0.1, size=(6, 2, 5))
    seeds, both = (
        probability_of_improvement(runs_of(accuracy), rng=rng, over=over).iloc[0]
        for over in ("seeds", "tasks and seeds")
    )
    assert both["high"] - both["low"] > seeds["high"] - seeds["low"] > 0


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (19, 2), (1, 2)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(rng, shape):
    accuracy = rng.random(shape)
    flat = accuracy.reshape(shape[0], shape[1], -1).swapaxes(0, 1).reshape(shape[1], -1)
    table = interquartile_means(runs_of(accuracy), rng=rng, draws=10).set_index("method").sort_index()
    assert table["interquartile_mean"].to_numpy() == pytest.approx([stats.trim_mean(row, 0.25) for row in flat])
    assert table["mean"].to_numpy() == pytest.approx(flat.mean(axis=1))


def test_the_stratified_bootstrap_redraws_seeds_within_their_task(rng):
    """Task t0 is easy and t1 hard, whatever the seed: redrawing seeds must not mix the two."""
    accuracy = np.array([[[0.9, 0.9, 0.9]], [[0.1, 0.1, 0.1]]])
    row = interquartile_means(runs_of(accuracy), rng=rng, over="seeds").iloc[0]
    assert row["low"] == row["high"] == row["interquartile_mean"] == pytest.approx(0.5)
    both = interquartile_means(runs_of(accuracy), rng=rng, over="tasks").iloc[0]
    assert (both["low"], both["high"]) == pytest.approx((0.1, 0.9))


def test_the_interval_over_seeds_has_the_width_of_the_seeds_spread(rng):
    accuracy = rng.normal(0.5, 0.05, size=(1, 1, 400))
    row = interquartile_means(runs_of(accuracy), rng=rng, over="seeds").iloc[0]
    drawn = np.sort(rng.choice(accuracy.ravel(), size=(4_000, 400)), axis=1)[:, 100:300].mean(axis=1)
    assert row["high"] - row["low"] == pytest.approx(np.subtract(*np.quantile(drawn, [0.975, 0.025])), rel=0.1)


def test_uneven_seeds_have_no_interquartile_mean(rng):
    with pytest.raises(InputError, match="'b' on t0 has 1"):
        interquartile_means(runs_of([[[0.5, 0.6], [0.5, np.nan]]]), rng=rng)


def test_the_tables_have_one_row_a_method_best_first(rng):
    frame = runs_of(rng.random((7, 5)))
    for table, column in ((strengths, "strength"), (interquartile_means, "interquartile_mean")):
        found = table(frame, rng=rng, draws=10)
        assert isinstance(found, pd.DataFrame)
        assert found[column].is_monotonic_decreasing
        assert sorted(found["method"]) == list("abcde")
