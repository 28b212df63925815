from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import (
    accuracy_table,
    interquartile_means,
    mean_accuracies,
    mean_ranks,
    missing_cells,
    probability_of_improvement,
    ranking_frequency,
    relative_spread,
)
from analysis.cells import cells_of, require_even
from analysis.ranks import ranks_of, spearman
from petl_study.errors import InputError
from tables import runs_of

NAN = np.nan


def test_ranks_share_ties_as_scipy_does(rng):
    accuracy = rng.random((50, 6)).round(1)
    assert ranks_of(accuracy) == pytest.approx(stats.rankdata(-accuracy, axis=1))


def test_equal_means_tie_whatever_they_were_added_from_and_unequal_ones_do_not(rng):
    tied = mean_ranks(runs_of([[[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]]), rng=rng)
    assert np.mean([0.1, 0.2, 0.3]) != np.mean([0.3, 0.2, 0.1])
    assert tied["mean_rank"].tolist() == [1.5, 1.5]
    assert mean_ranks(runs_of([[0.5001, 0.5]]), rng=rng)["mean_rank"].tolist() == [1.0, 2.0]


def test_spearman_is_scipys_and_nan_where_all_are_equal(rng):
    a, b = rng.random((2, 20, 7)).round(1)
    assert spearman(a, b) == pytest.approx([stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)])
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_other_seeds_move_the_interval_where_they_disagree(rng):
    accuracy = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.1, 0.9], [0.5, 0.5]]])  # a wins with one seed of two, everywhere
    over = {name: mean_ranks(runs_of(accuracy), rng=rng, over=name).iloc[0] for name in ("tasks", "seeds")}
    assert over["tasks"]["low"] == over["tasks"]["high"] == 1.5  # the means over seeds tie on every task
    assert (over["seeds"]["low"], over["seeds"]["high"]) == (1.0, 2.0)
    assert over["seeds"]["interval"] == "bootstrap over seeds"
    assert mean_ranks(runs_of(accuracy), rng=rng)["interval"].iloc[0] == "bootstrap over tasks and seeds"


def test_of_seeds_that_agree_the_interval_over_both_is_that_over_tasks():
    one = np.random.default_rng(1).random((12, 4))
    draws = {"rng": np.random.default_rng(0), "draws": 20_000}
    tasks = mean_ranks(runs_of(one), **draws, over="tasks")
    both = mean_ranks(runs_of(np.repeat(one[..., None], 3, axis=-1)), **draws, over="tasks and seeds")
    assert both[["low", "high"]].to_numpy() == pytest.approx(tasks[["low", "high"]].to_numpy(), abs=0.1)


def test_a_single_seed_is_not_redrawn_and_the_cell_is_named(rng):
    frame = runs_of([[[0.5, 0.6], [0.5, NAN]], [[0.5, 0.6], [0.4, 0.3]]])
    table = mean_ranks(frame, rng=rng).set_index("method")
    assert table.loc["b", ["fewest_seeds", "most_seeds"]].tolist() == [1, 2]
    assert set(table["interval"]) == {"bootstrap over tasks"}
    with pytest.raises(InputError, match=r"there is one for 'b' on t0\. Run more seeds"):
        mean_ranks(frame, rng=rng, over="seeds")
    with pytest.raises(InputError, match=r"unknown source of chance 'seed'; .* Did you mean 'seeds'"):
        mean_ranks(frame, rng=rng, over="seed")


def test_missing_runs_are_listed():
    frame = runs_of([[[0.5, 0.6], [0.5, NAN]], [[0.5, 0.6], [NAN, NAN]]])
    assert missing_cells(frame).to_dict("records") == [
        {"task": "t0", "method": "b", "seed": 1},
        {"task": "t1", "method": "b", "seed": 0},
        {"task": "t1", "method": "b", "seed": 1},
    ]
    assert missing_cells(runs_of([[0.5]])).empty
    with pytest.raises(InputError, match=r"not every method has 2 seeds on every task: 'b' on t0 has 1\."):
        require_even(cells_of(frame[frame["task"] == "t0"]))


def test_no_runs_are_refused():
    for table in (cells_of, mean_accuracies):
        with pytest.raises(InputError, match="there are no runs"):
            table(runs_of([[0.5]]).iloc[:0])


@pytest.mark.parametrize("column", ["task", "method", "seed", "test_accuracy"])
@pytest.mark.parametrize("table", [cells_of, mean_accuracies, accuracy_table])
def test_a_missing_column_is_named_beside_those_there_are(table, column):
    with pytest.raises(InputError, match=rf"no column {column}; it has .*group"):
        table(runs_of([[0.5, 0.6]]).drop(columns=column))


@pytest.mark.parametrize("table", [cells_of, mean_accuracies, accuracy_table])
def test_percentages_are_refused(table):
    frame = runs_of([[0.5, 0.75]])
    with pytest.raises(InputError, match=r"1 of 2 are not, such as 75\. Divide percentages by 100"):
        table(frame.assign(test_accuracy=[0.5, 75.0]))


@pytest.mark.parametrize("table", [mean_ranks, interquartile_means, probability_of_improvement, relative_spread])
def test_an_interval_needs_a_draw(table, rng):
    with pytest.raises(InputError, match="draws must be a whole number of at least 1"):
        table(runs_of([[0.5, 0.6], [0.5, 0.7]]), rng=rng, draws=0)


def test_missing_runs_cannot_be_listed_where_a_run_has_no_seed():
    frame = runs_of([[[0.5, 0.6], [0.5, 0.6]]]).astype({"seed": "Int64"})
    frame.loc[3, "seed"] = pd.NA
    with pytest.raises(InputError, match="a run of 'b' has no seed"):
        missing_cells(frame)


def test_frequencies_count_how_often_each_rank_is_held():
    table = ranking_frequency(runs_of([[0.9, 0.5, 0.1], [0.9, 0.1, 0.5], [0.1, 0.5, 0.9]]))
    whole = table[table["scope"] == "all tasks"].pivot_table(index="method", columns="rank", values="frequency")
    assert whole.to_numpy() == pytest.approx(np.array([[2, 0, 1], [0, 2, 1], [1, 1, 1]]) / 3)
    assert table["scope"].unique().tolist() == ["natural", "specialized", "structured", "all tasks"]
    assert (table["low"] <= table["frequency"] + 1e-12).all()
    assert (table["frequency"] <= table["high"] + 1e-12).all()


def test_methods_that_tie_share_the_ranks_they_span(rng):
    table = ranking_frequency(runs_of([[0.5, 0.5, 0.9]]))
    shares = table[table["scope"] == "all tasks"].set_index(["method", "rank"])["frequency"]
    assert [shares["a", place] for place in (1, 2, 3)] == [0, 0.5, 0.5]
    random = ranking_frequency(runs_of(rng.random((9, 5)).round(1)))
    for _, square in random.groupby("scope"):
        matrix = square.pivot_table(index="method", columns="rank", values="frequency")
        assert matrix.sum(axis=0).to_numpy() == pytest.approx(1)
        assert matrix.sum(axis=1).to_numpy() == pytest.approx(1)
        by_rank = square.groupby("method").apply(lambda some: (some["rank"] * some["frequency"]).sum())
        assert by_rank.to_dict() == pytest.approx(square.groupby("method")["mean_rank"].first().to_dict())


def test_the_order_of_runs_does_not_matter(rng):
    frame = runs_of(rng.random((5, 4, 2)))
    shuffled = frame.sample(frac=1, random_state=0)
    for table in (ranking_frequency, lambda f: mean_ranks(f, rng=np.random.default_rng(0))):
        assert table(frame).equals(table(shuffled))
