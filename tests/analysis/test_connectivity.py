from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import barriers, barriers_by_method
from petl_study.errors import InputError

T = np.linspace(0, 1, 5)


def path(loss, accuracy=None, a=0, b=1, methods=("lora", "ssf"), ensemble=0.9) -> pd.DataFrame:
    columns = {"run_a": a, "run_b": b, "method_a": methods[0], "method_b": methods[1], "seed_a": 0, "seed_b": 0}
    frame = pd.DataFrame({"t": T, "loss": loss, "accuracy": np.ones(5) if accuracy is None else accuracy})
    return frame.assign(ensemble_accuracy=ensemble, **columns)


def test_a_bump_is_as_high_as_it_stands_above_the_line_between_the_ends():
    table = barriers(path([1.0, 1.5, 4.0, 2.5, 3.0], [0.9, 0.8, 0.5, 0.7, 0.7]))
    [row] = table.to_dict("records")
    assert (row["loss_barrier"], row["loss_at"]) == (pytest.approx(4.0 - 2.0), 0.5)
    assert (row["error_barrier"], row["error_at"]) == (pytest.approx(0.5 - 0.2), 0.5)
    assert (row["better_end"], row["midpoint_accuracy"], row["midpoint_ensemble_accuracy"]) == (0.9, 0.5, 0.9)


def test_a_convex_loss_has_no_barrier(rng):
    for _ in range(20):
        minimum, scale, offset = rng.normal(), rng.uniform(0, 3), rng.normal()
        assert barriers(path(scale * (T - minimum) ** 2 + offset))["loss_barrier"].item() <= 1e-12
    assert barriers(path(np.exp(3 * T)))["loss_barrier"].item() < 0


def test_a_linear_loss_has_a_barrier_of_nothing_and_direction_does_not_matter(rng):
    assert barriers(path(2 + 3 * T))["loss_barrier"].item() == pytest.approx(0)
    loss = rng.uniform(size=5)
    there, back = barriers(path(loss)), barriers(path(loss[::-1]))
    assert there["loss_barrier"].item() == pytest.approx(back["loss_barrier"].item())


def test_methods_are_averaged_over_pairs_in_both_orders():
    pieces = [
        path([0, 0, 0.2, 0, 0]),
        path([0, 0, 0.4, 0, 0], a=0, b=2),
        path([0, 0, 0.1, 0, 0], a=1, b=2, methods=("ssf", "ssf")),
    ]
    table = barriers_by_method(barriers(pd.concat(pieces))).set_index(["method_a", "method_b"])
    assert table.loc[("lora", "ssf"), "loss_barrier"] == pytest.approx(0.3)
    assert table.loc[("ssf", "lora"), "pairs"] == 2
    assert table.loc[("ssf", "ssf"), "loss_barrier"] == pytest.approx(0.1)
    assert ("lora", "lora") not in table.index


def of_seeds(heights: dict[tuple[str, int, str, int], float]) -> pd.DataFrame:
    """A table of barriers of these heights, by (method, seed, method, seed)."""
    rows = [
        {"method_a": a, "seed_a": i, "method_b": b, "seed_b": j, "loss_barrier": height, "error_barrier": height / 10}
        for (a, i, b, j), height in heights.items()
    ]
    return pd.DataFrame(rows)


def test_pairs_of_a_seed_each_have_students_interval(rng):
    heights = rng.uniform(size=5)
    table = barriers_by_method(of_seeds({("lora", s, "ssf", s): h for s, h in enumerate(heights)}))
    for row in table.to_dict("records"):  # both orders
        assert (row["loss_low"], row["loss_high"]) == pytest.approx(
            stats.t.interval(0.95, 4, heights.mean(), stats.sem(heights))
        )
        assert row["error_high"] == pytest.approx(row["loss_high"] / 10)
        assert (row["seeds"], row["pairs"], row["interval"]) == (5, 5, "jackknife over seeds")


def test_pairs_that_share_a_seed_are_left_out_together(rng):
    every = {("lora", i, "ssf", j): rng.uniform() for i, j in itertools.product(range(3), repeat=2)}
    row = barriers_by_method(of_seeds(every)).iloc[0]
    without = [np.mean([h for (_, i, _, j), h in every.items() if s not in (i, j)]) for s in range(3)]
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.sum((without - np.mean(without)) ** 2))
    mean = np.mean(list(every.values()))
    assert (row["loss_low"], row["loss_high"]) == pytest.approx((mean - half, mean + half))
    narrow = barriers_by_method(of_seeds(every), level=0.5).iloc[0]
    assert row["loss_low"] < narrow["loss_low"] < mean < narrow["loss_high"] < row["loss_high"]
    assert narrow["level"] == 0.5


def test_the_interval_over_seeds_covers_about_as_often_as_it_says():
    rng, pieces, as_if_independent = np.random.default_rng(0), [], 0
    for study in range(60):
        own, other = rng.normal(size=4), rng.normal(size=4)  # what a seed adds to every pair that it is in
        heights = {("lora", i, "ssf", j): own[i] + other[j] for i, j in itertools.product(range(4), repeat=2)}
        pieces.append(of_seeds(heights).assign(task=study))
        low, high = stats.t.interval(0.95, 15, np.mean(list(heights.values())), stats.sem(list(heights.values())))
        as_if_independent += low <= 0 <= high
    table = barriers_by_method(pd.concat(pieces)).groupby("task").first()
    assert ((table["loss_low"] <= 0) & (table["loss_high"] >= 0)).mean() > 0.88
    assert as_if_independent / 60 < 0.8


def test_where_leaving_out_a_seed_leaves_nothing_there_is_no_interval():
    table = barriers_by_method(of_seeds({("lora", 0, "lora", 1): 0.2, ("lora", 0, "ssf", 0): 0.1}))
    assert table[["loss_low", "loss_high", "error_low", "error_high"]].isna().all(axis=None)
    assert set(table["interval"]) == {"none"}
    several = barriers_by_method(pd.concat([of_seeds({("a", 0, "b", 0): 0.2, ("a", 1, "b", 1): h}).assign(task=t)
                                            for t, h in (("one", 0.3), ("two", 0.5))]))  # fmt: skip
    assert several.groupby("task")["loss_barrier"].first().tolist() == pytest.approx([0.25, 0.35])
    assert (several["loss_high"] > several["loss_barrier"]).all()


def test_a_path_without_ends_or_between_is_refused():
    whole = path([0, 0, 0, 0, 0])
    for part in (whole.iloc[1:], whole.iloc[:-1], whole.iloc[[0, -1]], pd.concat([whole, whole])):
        with pytest.raises(InputError, match="needs 0, 1 and something between"):
            barriers(part)
    with pytest.raises(InputError, match="no column loss"):
        barriers(whole.drop(columns="loss"))
