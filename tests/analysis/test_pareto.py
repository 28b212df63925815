from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.pareto import dominates
from petl_study.errors import InputError
from tables import runs_of


def brute_force(cost: np.ndarray, accuracy: np.ndarray) -> list[bool]:
    """On the front: nobody is at least as good in both and better in one."""
    points = list(zip(cost, accuracy, strict=True))
    return [not any(c <= x and a >= y and (c, a) != (x, y) for c, a in points) for x, y in points]


def front(runs: pd.DataFrame, cost: str = "tuned_parameters", **options: object) -> pd.DataFrame:
    table = analysis.pareto_front(runs, cost, **{"rng": np.random.default_rng(0), "draws": 200, **options})
    return table[table["scope"] == "all tasks"].set_index("method")


def priced(accuracy, costs) -> pd.DataFrame:
    """Runs of methods a, b, ... that each tune so many parameters."""
    runs = runs_of(accuracy)
    methods = sorted(set(runs["method"]))
    return runs.assign(tuned_parameters=runs["method"].map(dict(zip(methods, costs, strict=True))).astype(float))


def test_the_front_is_that_of_brute_force_ties_included(rng):
    for _ in range(20):
        accuracy = rng.integers(3, 8, size=(1, 9)) / 10
        costs = rng.integers(0, 6, size=9)
        table = front(priced(accuracy, costs)).sort_index()
        assert table["on_front"].tolist() == brute_force(costs, accuracy[0])


def test_the_front_rises_from_the_cheapest_to_the_most_accurate(rng):
    table = front(priced(rng.random((5, 12)), rng.permutation(12)))
    on = table[table["on_front"].to_numpy(dtype=bool)]
    assert table["value"].is_monotonic_increasing
    assert on["accuracy"].is_monotonic_increasing
    assert on.index[0] == table.index[0]
    assert on["accuracy"].iloc[-1] == table["accuracy"].max()


def test_who_is_off_the_front_is_beaten_by_the_most_accurate_that_costs_no_more():
    table = front(priced([[0.5, 0.7, 0.9, 0.6, 0.8]], [1, 2, 3, 4, 3]))
    assert table["on_front"].to_dict() == {"a": True, "b": True, "c": True, "d": False, "e": False}
    assert table["dominated_by"].to_dict() == {"a": "", "b": "", "c": "", "d": "c", "e": "c"}


def test_a_dominated_method_more_changes_nothing(rng):
    accuracy = rng.random((4, 6)) / 2 + 0.3
    costs = rng.permutation(6) + 1.0
    before = front(priced(accuracy, costs))["on_front"]
    more = front(priced(np.hstack([accuracy, accuracy[:, [2]] - 0.1]), [*costs, costs[2] + 0.5]))["on_front"]
    assert not more.pop("g")
    assert more.to_dict() == before.to_dict()


def test_the_unit_of_the_cost_does_not_matter(rng):
    accuracy, costs = rng.random((4, 6, 2)), rng.permutation(6)
    one, other = front(priced(accuracy, costs)), front(priced(accuracy, 1000.0 * costs))
    columns = ["on_front", "front_probability", "accuracy", "low", "high", "dominated_by"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


def test_the_probability_is_that_of_all_resamples_of_the_tasks(rng):
    accuracy, costs = rng.random((3, 4)), np.array([1, 2, 3, 4])
    table = front(priced(accuracy, costs), draws=20_000).sort_index()
    every = [brute_force(costs, accuracy[list(picks)].mean(axis=0)) for picks in itertools.product(range(3), repeat=3)]
    assert table["front_probability"].to_numpy() == pytest.approx(np.mean(every, axis=0), abs=0.015)
    assert table["interval"].eq("bootstrap over tasks").all()


def test_the_cost_is_redrawn_with_the_task_that_has_it():
    """b is cheaper than a on the one task and dearer on the other; where tasks differ in size that decides."""
    runs = priced([[0.5, 0.6], [0.5, 0.6]], [10, 10])
    runs.loc[(runs["method"] == "b") & (runs["task"] == "t0"), "tuned_parameters"] = 4
    runs.loc[(runs["method"] == "b") & (runs["task"] == "t1"), "tuned_parameters"] = 30
    table = front(runs, draws=20_000)
    assert table.loc["b", "value"] == 17
    assert table["on_front"].all()
    assert table.loc["a", "front_probability"] == pytest.approx(3 / 4, abs=0.015)  # off it where both draws are t0


def test_a_place_by_chance_looks_like_it(rng):
    """Of two equally good methods, the dearer is on the front by luck alone."""
    seeds = 0.7 + rng.normal(0, 0.05, size=(8, 2, 4))
    seeds[:, 1] += 0.001 + seeds[:, 0].mean() - seeds[:, 1].mean()
    table = front(priced(seeds, [1, 2]), draws=2000)
    assert table["on_front"].all()
    assert table.loc["a", "front_probability"] == 1
    assert 0.3 < table.loc["b", "front_probability"] < 0.8


def test_one_task_can_only_be_trained_again():
    runs = priced([[[0.5, 0.7], [0.55, 0.75]]], [1, 2])
    table = front(runs)
    assert table["front_probability"].isna().all()
    assert table["interval"].eq("none").all()
    seeds = front(runs, over="seeds", draws=20_000)
    assert seeds.loc["b", "front_probability"] == pytest.approx(11 / 16, abs=0.015)  # counted by hand


def test_a_method_of_unknown_cost_is_neither_on_the_front_nor_beats_anybody():
    table = front(priced([[0.5, 0.9, 0.7]], [1, np.nan, 3]))
    assert table.index.tolist() == ["a", "c", "b"]
    assert table.loc[["a", "c"], "on_front"].all()
    assert table.loc["b", "on_front"] is pd.NA
    assert np.isnan(table.loc["b", "front_probability"])
    with pytest.raises(InputError, match="tuned_parameters is not known for all runs of any method"):
        front(priced([[0.5, 0.9]], [np.nan, np.nan]))


def test_a_cost_may_come_from_a_table():
    runs = priced([[0.5, 0.6, 0.7], [0.5, 0.6, 0.7]], [1, 1, 1])
    costs = pd.DataFrame({"method": ["a", "b", "c"], "before": [1.0, 1.5, 1.2]})
    table = front(runs, "before", costs=costs)
    assert table["on_front"].to_dict() == {"a": True, "c": True, "b": False}
    scoped = pd.concat([costs.assign(scope="all tasks"), costs.assign(scope="natural", before=1.0)])
    assert front(runs[runs["task"] == "t0"], "before", costs=scoped)["value"].to_dict() == table["value"].to_dict()
    with pytest.raises(InputError, match="two rows of method 'a' in scope 'natural'"):
        front(runs, "before", costs=pd.concat([costs, costs]))
    with pytest.raises(InputError, match="has no column after"):
        front(runs, "after", costs=costs)
    with pytest.raises(InputError, match="after is not known for any method in scope 'natural'"):
        front(runs, "after", costs=costs.assign(after=np.nan))


def test_seconds_of_two_machines_are_no_one_cost():
    runs = priced([[0.5, 0.6], [0.5, 0.6]], [1, 2]).assign(fit_seconds=1.0, hardware=["x86", "x86", "arm", "arm"])
    with pytest.raises(InputError, match=r"fit_seconds was measured on 2 machines \(arm; x86\)"):
        front(runs, "fit_seconds")
    assert front(runs)["on_front"].all()


def test_the_same_seed_gives_the_same_table(rng):
    runs = priced(rng.random((4, 5, 2)), range(5))
    pd.testing.assert_frame_equal(front(runs), front(runs))


def test_domination_is_strict_somewhere():
    same = np.zeros((3, 3), dtype=bool)
    assert (dominates(np.ones(3), np.ones(3)) == same).all()
