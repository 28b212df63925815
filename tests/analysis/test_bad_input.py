"""What every table of runs, and every table of trials, does with seeds that differ, NaN, nothing, and odd options."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis import figures
from petl_study.errors import InputError
from tables import runs_of, trials_of

Table = Callable[..., pd.DataFrame]

DRAWN: dict[str, Table] = {  # tables of runs with an interval that is drawn
    "mean_ranks": analysis.mean_ranks,
    "strengths": analysis.strengths,
    "probability_of_improvement": analysis.probability_of_improvement,
    "interquartile_means": analysis.interquartile_means,
    "relative_spread": analysis.relative_spread,
    "validation_ranking": analysis.validation_ranking,
    "rank_and_budget": analysis.rank_and_budget,
    "budget_correlation": analysis.budget_correlation,
    "overtaking": functools.partial(analysis.overtaking, baseline="a"),
    "optimism": functools.partial(analysis.optimism, best="best_epoch_accuracy", last="test_accuracy"),
}
EXACT: dict[str, Table] = {
    "friedman_test": lambda runs, level=0.95: analysis.friedman_test(runs),
    "critical_difference": analysis.critical_difference,
    "nemenyi": analysis.nemenyi,
    "best_sets": analysis.best_sets,
    "ranking_frequency": analysis.ranking_frequency,
    "gain_over_baseline": functools.partial(analysis.gain_over_baseline, baseline="a"),
    "mean_accuracies": analysis.mean_accuracies,
    "accuracy_by_size": analysis.accuracy_by_size,
    "validation_against_test": analysis.validation_against_test,
}
OF_TRIALS: dict[str, Table] = {
    "ranks_at_budget": analysis.ranks_at_budget,
    "importance": analysis.importance,
    "optimism": functools.partial(analysis.optimism, best="best_val_accuracy", last="val_accuracy"),
}
EXACT_OF_TRIALS: dict[str, Table] = {
    "expected_best": analysis.expected_best,
    "search_gain": analysis.search_gain,
    "hyperparameter_values": analysis.hyperparameter_values,
    "collapsed": analysis.collapsed,
    "importance_by_task": lambda trials, level=0.95: analysis.importance_by_task(trials),
    "top_ties": lambda trials, level=0.95: analysis.top_ties(trials),
}
DRAW = {"accuracy_by_size": "accuracy_by_examples"}  # the figure of a table that has not its name
REFUSES_UNEVEN = {"interquartile_means"}
COUNTED = [name for name in (*DRAWN, *EXACT) if name not in {"accuracy_by_size", "validation_against_test", "optimism"}]


def runs(accuracy: np.ndarray) -> pd.DataFrame:
    """With every column that a table of runs may ask for."""
    frame = runs_of(accuracy, val_examples=50)
    return frame.assign(
        val_accuracy=frame["test_accuracy"],
        best_epoch_accuracy=frame["test_accuracy"],
        search_trials=frame["method"].map({"a": 4, "b": 8, "c": 20}),
        dataset="d",
        train_examples=frame["task"].map({f"t{i}": 100 * 10**i for i in range(4)}),
    )


@pytest.fixture
def even(rng) -> pd.DataFrame:
    return runs(rng.random((4, 3, 3)))


@pytest.fixture
def uneven(rng) -> pd.DataFrame:
    """Three seeds everywhere, but one for b on t1."""
    accuracy = rng.random((4, 3, 3))
    accuracy[1, 1, 1:] = np.nan
    return runs(accuracy)


@pytest.fixture
def trials(rng) -> pd.DataFrame:
    points = [{"lr": lr, "rank": rank} for lr in (1e-3, 1e-2) for rank in (1, 8)]
    parts = [trials_of({"a": rng.random(4), "b": rng.random(4)}, points, task=task) for task in ("t0", "t1")]
    return pd.concat(parts, ignore_index=True).assign(best_val_accuracy=1.0)


def few(name: str) -> dict[str, object]:
    return {"rng": np.random.default_rng(0), "draws": 10} if name in {**DRAWN, **OF_TRIALS} else {}


def made(name: str, frame: pd.DataFrame, **options: object) -> pd.DataFrame:
    table = {**DRAWN, **EXACT, **EXACT_OF_TRIALS, **OF_TRIALS}[name]
    if name == "optimism" and "test_accuracy" in frame:
        table = DRAWN[name]
    return table(frame, **{**few(name), **options})


def note(figure: Figure) -> str:
    return " ".join(figure._supxlabel.get_text().split())


# --------------------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", [name for name in COUNTED if name not in REFUSES_UNEVEN])
def test_seeds_that_differ_are_in_the_table_and_under_the_figure(name, uneven):
    table = made(name, uneven)
    assert (table["fewest_seeds"].min(), table["most_seeds"].max()) == (1, 3)
    assert "Seeds differ: 1 to 3 a task." in note(getattr(figures, name)(table))


@pytest.mark.parametrize("name", COUNTED)
def test_equal_seeds_are_in_the_table_and_not_worth_a_note(name, even):
    table = made(name, even)
    assert set(table["fewest_seeds"]) == set(table["most_seeds"]) == {3}
    assert "Seeds differ" not in note(getattr(figures, name)(table))


@pytest.mark.parametrize(
    "table", [analysis.accuracy_table, analysis.validation_against_test, analysis.accuracy_by_size]
)
def test_a_table_of_cells_says_how_many_seeds_each_has(table, uneven):
    draw = {analysis.accuracy_table: figures.accuracy_by_task, analysis.accuracy_by_size: figures.accuracy_by_examples}
    found = table(uneven)
    assert found.set_index(["task", "method"])["seeds"].drop(("t1", "b")).eq(3).all()
    assert found.set_index(["task", "method"])["seeds"][("t1", "b")] == 1
    assert "Seeds differ: 1 to 3 a task." in note(draw.get(table, figures.validation_against_test)(found))


def test_the_columns_are_of_what_the_row_is_of(uneven):
    def columns(name: str, **row: str) -> list[int]:
        table = made(name, uneven)
        for column, value in row.items():
            table = table[table[column] == value]
        return table[["fewest_seeds", "most_seeds"]].drop_duplicates().to_numpy().ravel().tolist()

    assert columns("mean_ranks", method="a") == [3, 3]
    assert columns("strengths", method="b") == [1, 3]
    assert columns("probability_of_improvement", method_a="a", method_b="c") == [3, 3]
    assert columns("probability_of_improvement", method_a="b", method_b="c") == [1, 3]
    assert columns("probability_of_improvement", method_a="a", method_b="b") == [1, 3]
    assert columns("relative_spread", task="t1") == [1, 3]
    assert columns("relative_spread", task="t0") == [3, 3]
    assert columns("gain_over_baseline", task="t1", method="b") == [1, 3]
    assert columns("gain_over_baseline", task="t1", method="c") == [3, 3]
    assert columns("friedman_test", scope="specialized") == [1, 3]  # t1 is its only task
    assert columns("best_sets", scope="natural") == [3, 3]
    assert columns("mean_accuracies", scope="specialized", method="b") == [1, 1]
    assert columns("overtaking", method="c") == [3, 3]


def test_a_statistic_that_seeds_would_weigh_refuses_them_by_name(uneven):
    with pytest.raises(
        InputError, match=r"not every method has 3 seeds on every task: 'b' on t1 has 1\. .*missing_cells"
    ):
        made("interquartile_means", uneven)


def test_two_protocols_may_have_different_seeds(even):
    one = even[even["seed"] == 0].assign(protocol="one")
    both = pd.concat([one, even.assign(protocol="three")])
    table = analysis.by_protocol(both, analysis.mean_ranks, **few("mean_ranks"))
    assert "Seeds differ" not in note(figures.mean_ranks(table))


# ----------------------------------------------------------------------------------------------------------------- NaN


@pytest.mark.parametrize("name", [*(name for name in DRAWN if name != "optimism"), *EXACT, "accuracy_table"])
@pytest.mark.parametrize("seeds", [[1], [0, 1, 2]])  # one of a cell's, and all of them
def test_an_accuracy_that_is_nan_is_named_and_never_left_out(name, seeds, even):
    lost = (even["task"] == "t1") & (even["method"] == "b") & even["seed"].isin(seeds)
    frame = even.assign(test_accuracy=even["test_accuracy"].mask(lost))
    with pytest.raises(
        InputError, match=rf"test_accuracy is missing or NaN in {len(seeds)} of 36 runs: 'b' on t1 \(seed"
    ):
        analysis.accuracy_table(frame) if name == "accuracy_table" else made(name, frame)


def test_many_runs_without_an_accuracy_are_counted(even):
    with pytest.raises(InputError, match=r"in 36 of 36 runs: .*; 'a' on t1 \(seed \d\).* and 24 more\. .*notna"):
        analysis.mean_ranks(even.assign(test_accuracy=np.nan), **few("mean_ranks"))


def test_a_validation_accuracy_or_search_that_is_nan_is_named(even):
    lost = even.index == 0
    with pytest.raises(InputError, match=r"val_accuracy is missing or NaN in 1 of 36 runs: 'a' on t0 \(seed 0\)"):
        made("validation_ranking", even.assign(val_accuracy=even["val_accuracy"].mask(lost)))
    for name in ("budget_correlation", "rank_and_budget"):
        with pytest.raises(InputError, match="search_trials is missing or NaN in 1 of 36"):
            made(name, even.assign(search_trials=even["search_trials"].mask(lost)))


def test_an_accuracy_that_is_no_number_is_shown(even):
    with pytest.raises(InputError, match="test_accuracy must be numbers; 1 of 36 are not, such as 'high'"):
        analysis.accuracy_table(even.assign(test_accuracy=["high", *even["test_accuracy"].iloc[1:]]))


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("draws", [0, -1, 2.5, True, "10"])
@pytest.mark.parametrize("name", [*DRAWN, *OF_TRIALS])
def test_an_interval_needs_a_whole_number_of_draws(name, draws, even, trials):
    frames = [even] * (name in DRAWN) + [trials] * (name in OF_TRIALS)
    for frame in frames:
        with pytest.raises(
            InputError, match=rf"draws must be a whole number of at least 1, such as 1000; got {draws!r}"
        ):
            made(name, frame, draws=draws)


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, float("nan")])
@pytest.mark.parametrize("name", [*DRAWN, *(name for name in EXACT if name != "friedman_test")])
def test_a_level_is_between_0_and_1(name, level, even):
    with pytest.raises(InputError, match=rf"level must be between 0 and 1, such as 0.95; got {level!r}"):
        made(name, even, level=level)


@pytest.mark.parametrize("name", ["expected_best", "search_gain", "hyperparameter_values", "collapsed", *OF_TRIALS])
def test_a_level_of_trials_is_between_0_and_1(name, trials):
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        made(name, trials, level=1)


# ------------------------------------------------------------------------------------------------------------- nothing


@pytest.mark.parametrize("name", [*DRAWN, *EXACT])
def test_no_runs_are_refused(name, even):
    with pytest.raises(InputError, match=r"there are no (runs|results), so there is nothing to compare"):
        made(name, even.iloc[:0])


def test_a_table_of_no_cells_is_empty_and_not_drawn(even):
    table = analysis.accuracy_table(even.iloc[:0])
    assert table.empty
    assert "accuracy" in table
    with pytest.raises(InputError, match="the table has no rows"):
        figures.accuracy_by_task(table)


@pytest.mark.parametrize("name", [*OF_TRIALS, *EXACT_OF_TRIALS])
def test_no_trials_and_trials_without_columns_are_refused(name, trials):
    with pytest.raises(InputError, match=r"there are no (trials|results), so there is nothing to compare"):
        made(name, trials.iloc[:0])
    with pytest.raises(InputError, match=r"no column .*val_accuracy"):
        made(name, trials.drop(columns="val_accuracy"))


@pytest.mark.parametrize(
    "name",
    [
        *("friedman_test", "critical_difference", "nemenyi", "strengths", "probability_of_improvement"),
        *("relative_spread", "gain_over_baseline", "validation_ranking", "budget_correlation"),
    ],
)
def test_one_method_is_not_compared_with_itself(name, even):
    with pytest.raises(InputError, match="a comparison of methods needs at least two; got a"):
        made(name, even[even["method"] == "a"])


@pytest.mark.parametrize(
    "name", ["mean_ranks", "ranking_frequency", "best_sets", "mean_accuracies", "interquartile_means"]
)
def test_one_run_is_first_of_one_and_can_be_drawn(name, even):
    table = made(name, even.iloc[:1])
    assert set(table["method"]) == {"a"}
    if "mean_rank" in table:
        assert set(table["mean_rank"]) == {1.0}
    assert isinstance(getattr(figures, name)(table), Figure)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", [*DRAWN, *EXACT])
def test_zero_correct_all_correct_and_ties_are_no_error(name, accuracy):
    table = made(name, runs(np.full((4, 3, 2), accuracy)))
    assert len(table)
    assert "low" not in table or not (table["low"] > table["high"]).any()


def test_a_method_that_is_there_twice_is_refused(even):
    with pytest.raises(InputError, match=r"2 runs of method 'a' on task 't0' have seed 0\. Keep one"):
        analysis.mean_ranks(pd.concat([even, even.iloc[:1]]), **few("mean_ranks"))
    nameless = pd.concat([even.assign(seed=pd.NA, key=None).iloc[:1]] * 2)
    with pytest.raises(InputError, match="2 runs of method 'a' on task 't0' have seed nan"):
        analysis.accuracy_table(nameless)


def test_a_task_of_two_groups_is_refused(even):
    with pytest.raises(InputError, match=r"task 't0': results with different group .*natural .*; structured"):
        analysis.mean_accuracies(even.assign(group=even["group"].mask(even.index == 0, "structured")))


# ----------------------------------------------------------------------------------------------------------- protocols


def test_side_by_side_needs_a_protocol_of_every_run(even):
    table = functools.partial(analysis.by_protocol, table=analysis.accuracy_table)
    with pytest.raises(InputError, match="no column protocol; it has task"):
        table(even)
    with pytest.raises(InputError, match="1 of 36 runs have no protocol"):
        table(even.assign(protocol="one").assign(protocol=lambda f: f["protocol"].mask(f.index == 0)))
    with pytest.raises(InputError, match="there are no runs"):
        table(even.assign(protocol="one").iloc[:0])


ONE_PROTOCOL = ["ranking_frequency", "critical_difference", "nemenyi", "probability_of_improvement", "best_sets",
                "gain_over_baseline", "mean_accuracies", "validation_against_test", "rank_and_budget", "overtaking",
                "accuracy_by_size"]  # fmt: skip


@pytest.mark.parametrize("name", ONE_PROTOCOL)
def test_a_figure_of_one_protocol_refuses_two(name, even):
    both = pd.concat([even.assign(protocol=name) for name in ("long", "short")])
    table = analysis.by_protocol(both, functools.partial(made, name))
    with pytest.raises(InputError, match="this figure shows one protocol; the table has long, short"):
        getattr(figures, DRAW.get(name, name))(table)


@pytest.mark.parametrize("name", ["mean_ranks", "strengths", "interquartile_means", "relative_spread", "friedman_test",
                                  "validation_ranking", "budget_correlation", "optimism"])  # fmt: skip
def test_a_figure_of_dots_has_a_panel_a_protocol(name, even):
    both = pd.concat([even.assign(protocol=name) for name in ("long", "short")])
    table = analysis.by_protocol(both, functools.partial(made, name))
    assert [ax.get_title(loc="left") for ax in getattr(figures, name)(table).axes] == ["long", "short"]
