from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import accuracy_table, complete_methods, mean_accuracies, mean_ranks, require_comparable
from analysis.intervals import wilson_mean_interval
from petl_study.errors import InputError


def runs(accuracies: dict[tuple[str, str], list[float]], **columns: object) -> pd.DataFrame:
    """A frame as `load_runs` gives it: accuracies of seeds 0, 1, ... by (task, method)."""
    rows = [
        {"task": task, "method": method, "seed": seed, "test_accuracy": accuracy}
        for (task, method), values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    groups = {"digits": "natural", "letters": "natural", "count": "structured"}
    frame = pd.DataFrame(rows).assign(test_examples=100, tuned_parameters=10, **columns)
    return frame.assign(group=frame["task"].map(groups))


ACCURACIES = {
    ("digits", "lora"): [0.8, 0.9],
    ("digits", "ssf"): [0.7, 0.7],
    ("letters", "lora"): [0.6, 0.6],
    ("letters", "ssf"): [0.7, 0.8],
    ("count", "lora"): [0.5, 0.6],
    ("count", "ssf"): [0.4, 0.5],
}


def test_several_seeds_have_a_t_interval():
    table = accuracy_table(runs({("digits", "lora"): [0.80, 0.82, 0.87]})).iloc[0]
    assert table["accuracy"] == pytest.approx(0.83)
    assert table["interval"] == "t over seeds"
    scale = stats.sem([0.80, 0.82, 0.87])
    assert (table["low"], table["high"]) == pytest.approx(stats.t.interval(0.95, 2, 0.83, scale))


def test_one_seed_has_a_wilson_interval_over_examples():
    table = accuracy_table(runs({("digits", "lora"): [0.93]})).iloc[0]
    assert table["interval"] == "Wilson over examples"
    reference = stats.binomtest(93, 100).proportion_ci(0.95, "wilson")
    assert (table["low"], table["high"]) == pytest.approx((reference.low, reference.high))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_or_all_correct_still_has_an_interval_inside_0_and_1(accuracy):
    table = accuracy_table(runs({("digits", "lora"): [accuracy]})).iloc[0]
    assert 0 <= table["low"] < table["high"] <= 1
    assert accuracy_table(runs({("digits", "lora"): [accuracy, 0.5]}))["low"].item() >= 0


def test_one_seed_of_unknown_size_has_no_interval():
    frame = runs({("digits", "lora"): [0.93]}).drop(columns=["test_examples", "group"])
    table = accuracy_table(frame).iloc[0]
    assert table["interval"] == "none"
    assert np.isnan(table["low"])


def test_the_level_moves_the_interval():
    frame = runs(ACCURACIES)
    wide, narrow = accuracy_table(frame, level=0.99), accuracy_table(frame, level=0.5)
    assert (wide["high"] - wide["low"] >= narrow["high"] - narrow["low"]).all()
    assert (wide["low"] < narrow["low"]).any()


def test_both_means_by_name():
    table = mean_accuracies(runs(ACCURACIES)).set_index(["scope", "method"])
    assert table.loc[("all tasks", "lora"), "accuracy"] == pytest.approx((0.85 + 0.6 + 0.55) / 3)
    assert table.loc[("mean of groups", "lora"), "accuracy"] == pytest.approx(((0.85 + 0.6) / 2 + 0.55) / 2)
    assert table.loc[("natural", "ssf"), "accuracy"] == pytest.approx((0.7 + 0.75) / 2)
    assert table.loc[("natural", "ssf"), "tasks"] == 2


def test_the_interval_of_a_mean_is_over_the_seeds_means():
    row = mean_accuracies(runs(ACCURACIES)).set_index(["scope", "method"]).loc[("natural", "lora")]
    assert row["interval"] == "t over seeds"
    means = [(0.8 + 0.6) / 2, (0.9 + 0.6) / 2]
    reference = stats.t.interval(0.95, 1, np.mean(means), stats.sem(means))
    assert (row["low"], row["high"]) == pytest.approx(np.clip(reference, 0, 1))


def test_the_interval_of_a_mean_of_one_seed_is_that_of_independent_examples(rng):
    one = runs({cell: values[:1] for cell, values in ACCURACIES.items()}).assign(test_examples=1000)
    row = mean_accuracies(one).set_index(["scope", "method"]).loc[("all tasks", "lora")]
    assert row["interval"] == "Wilson over examples"
    drawn = rng.binomial(1000, [[0.8], [0.6], [0.5]], size=(3, 200_000)).mean(axis=0) / 1000
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * drawn.std(), rel=0.01)


def test_the_interval_of_a_mean_of_one_task_is_that_tasks_own():
    frame = runs({("digits", "lora"): [0.93], ("digits", "ssf"): [0.0]})
    means = mean_accuracies(frame).set_index(["scope", "method"])
    table = accuracy_table(frame).set_index("method")
    for method in ("lora", "ssf"):
        for scope in ("natural", "all tasks", "mean of groups"):
            row = means.loc[(scope, method)]
            assert (row["low"], row["high"]) == pytest.approx(tuple(table.loc[method, ["low", "high"]]))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_a_mean_of_none_or_all_correct_has_an_interval_inside_0_and_1(accuracy):
    row = mean_accuracies(runs({(task, "ssf"): [accuracy] for task in ("digits", "letters", "count")})).iloc[-1]
    assert 0 <= row["low"] < row["high"] <= 1


def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says(rng):
    truth, examples, weights = np.array([0.97, 0.9, 0.5]), np.array([50.0, 100, 30]), np.array([0.25, 0.25, 0.5])
    seen = rng.binomial(examples.astype(int), truth, size=(4_000, 3)) / examples
    ends = np.array([wilson_mean_interval(accuracies, examples, weights) for accuracies in seen])
    covered = (ends[:, 0] <= weights @ truth) & (weights @ truth <= ends[:, 1])
    assert covered.mean() == pytest.approx(0.95, abs=0.015)


def test_without_groups_there_is_one_mean_and_where_a_task_has_none_no_mean_of_groups():
    frame = runs(ACCURACIES)
    assert set(mean_accuracies(frame.drop(columns="group"))["scope"]) == {"all tasks"}
    nameless = frame.assign(group=frame["group"].where(frame["task"] != "count"))
    assert mean_accuracies(nameless)["scope"].unique().tolist() == ["natural", "all tasks"]
    assert mean_accuracies(frame)["scope"].unique().tolist() == ["natural", "structured", "all tasks", "mean of groups"]


def test_ranks_average_seeds_first_and_ties_share():
    accuracies = {**ACCURACIES, ("digits", "full"): [0.85], ("letters", "full"): [0.1], ("count", "full"): [0.2]}
    table = mean_ranks(runs(accuracies), rng=np.random.default_rng(0)).set_index("method")
    assert table["mean_rank"].to_dict() == pytest.approx(
        {"lora": (1.5 + 2 + 1) / 3, "ssf": (3 + 1 + 2) / 3, "full": (1.5 + 3 + 3) / 3}
    )
    assert table.index.tolist() == ["lora", "ssf", "full"]
    assert (table["low"] <= table["mean_rank"]).all()
    assert (table["mean_rank"] <= table["high"]).all()


def test_ranks_are_those_of_scipy(rng):
    values = rng.random((3, 4)).round(1)
    cells = {(t, f"m{m}"): [values[i, m]] for i, t in enumerate(["digits", "letters", "count"]) for m in range(4)}
    table = mean_ranks(runs(cells), rng=rng).set_index("method").sort_index()
    assert table["mean_rank"].to_numpy() == pytest.approx(stats.rankdata(-values, axis=1).mean(axis=0))


def test_a_rank_over_one_task_has_no_interval(rng):
    table = mean_ranks(runs({("digits", "lora"): [0.8], ("digits", "ssf"): [0.7]}), rng=rng)
    assert table[["low", "high"]].isna().all(axis=None)


def test_empty_cells_are_named_and_never_ranked_over(rng):
    frame = runs({cell: values for cell, values in ACCURACIES.items() if cell != ("count", "ssf")})
    for table in (lambda f: mean_ranks(f, rng=rng), mean_accuracies):
        with pytest.raises(InputError, match=r"3 tasks: 'ssf' has none on count\. .*runs\.method != "):
            table(frame)
    assert complete_methods(frame) == ["lora"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"protocol": ["long"] * 11 + ["short"]},
            r"different protocol .*long \(method lora, ssf\); short \(method ssf\)",
        ),
        ({"weights": ["a"] * 11 + ["b"]}, "different weights"),
        ({"data": ["a"] * 11 + ["b"]}, "task 'count': results with different data"),
        ({"head": ["new"] * 11 + ["zero_shot"]}, "task 'count': results with different head"),
        ({"study": ["one"] * 11 + ["two"], "backbone": ["x"] * 11 + ["y"]}, r"x \(study one\); y \(study two\)"),
    ],
)
def test_results_under_different_conditions_are_never_put_together(rng, columns, message):
    frame = runs(ACCURACIES, **columns)
    for table in (accuracy_table, mean_accuracies, lambda f: mean_ranks(f, rng=rng), require_comparable):
        with pytest.raises(InputError, match=message):
            table(frame)


def test_data_may_differ_between_tasks():
    frame = runs(ACCURACIES)
    require_comparable(frame.assign(data=frame["task"]))


def test_two_results_for_one_cell_are_refused():
    frame = runs(ACCURACIES, key="k")
    twice = pd.concat([frame, frame.iloc[:1].assign(key="other")])
    with pytest.raises(InputError, match=r"2 runs of method 'lora' on task 'digits' have seed 0 \(keys k, other\)"):
        accuracy_table(twice)
