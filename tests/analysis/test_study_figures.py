"""The figures of ranks, search and size: legible with 19 tasks and 30 methods, and true to their tables."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis import figures, load_published
from drawing import faults
from petl_study.errors import InputError
from tables import runs_of, trials_of

NAMES = [
    *("linear", "full", "bitfit", "lora", "ssf", "adaptformer", "vpt_deep", "repadapter", "convpass", "mona"),
    *(f"a_method_with_a_long_name_{i:02d}" for i in range(20)),
]
TASKS = [f"a_task_with_a_name_{i:02d}" for i in range(19)]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """19 tasks, 30 methods, two seeds."""
    rng = np.random.default_rng(0)
    accuracy = rng.uniform(0.4, 0.7, size=(19, 1, 1)) + np.arange(30)[:, None] / 150 + rng.normal(0, 0.02, (19, 30, 2))
    frame = runs_of(accuracy, val_examples=200)
    methods = sorted(set(frame["method"]))
    return frame.assign(
        method=frame["method"].map(dict(zip(methods, NAMES, strict=True))),
        task=frame["task"].map({f"t{i}": name for i, name in enumerate(TASKS)}),
        val_accuracy=frame["test_accuracy"].round(2),
        search_trials=frame["method"].map({name: 4 + i for i, name in enumerate(methods)}),
        best_epoch_accuracy=frame["test_accuracy"] + 0.01,
    )


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    grid = [{"lr": lr, "rank": rank} for lr in (1e-3, 1e-2) for rank in (1, 8, 32)]
    searches = [trials_of({name: rng.uniform(0.1, 0.9, 6).round(2) for name in NAMES}, grid, task=t) for t in TASKS]
    return pd.concat(searches, ignore_index=True)


def few() -> dict[str, object]:
    return {"rng": np.random.default_rng(0), "draws": 20}


def holey(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.sample(frac=0.8, random_state=0)


def sizes() -> pd.DataFrame:
    return analysis.accuracy_by_size(load_published("manyshot"))


DRAW: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Figure]] = {
    "mean_accuracies": lambda runs, trials: figures.mean_accuracies(analysis.mean_accuracies(runs)),
    "missing_cells": lambda runs, trials: figures.missing_cells(analysis.missing_cells(holey(runs))),
    "friedman_test": lambda runs, trials: figures.friedman_test(analysis.friedman_test(runs)),
    "nemenyi": lambda runs, trials: figures.nemenyi(analysis.nemenyi(runs)),
    "importance_by_task": lambda runs, trials: figures.importance_by_task(analysis.importance_by_task(trials)),
    "budget_correlation": lambda runs, trials: figures.budget_correlation(analysis.budget_correlation(runs, **few())),
    "overtaking": lambda runs, trials: figures.overtaking(
        analysis.overtaking(load_published("manyshot"), rng=np.random.default_rng(0))
    ),
    "overtaking_of_sizes": lambda runs, trials: figures.overtaking(
        analysis.overtaking(load_published("manyshot"), "size", rng=np.random.default_rng(0))
    ),
    "overtaking_of_a_study": lambda runs, trials: figures.overtaking(
        analysis.overtaking(runs.assign(train_examples=1000), **few())
    ),
    "mean_gains": lambda runs, trials: figures.mean_gains(
        analysis.mean_gains(analysis.gain_over_baseline(runs), by=["method", "baseline"])
    ),
    "gain_over_baseline": lambda runs, trials: figures.gain_over_baseline(analysis.gain_over_baseline(runs)),
    "relative_spread": lambda runs, trials: figures.relative_spread(analysis.relative_spread(runs, **few())),
    "mean_ranks": lambda runs, trials: figures.mean_ranks(analysis.mean_ranks(runs, **few())),
    "ranking_frequency": lambda runs, trials: figures.ranking_frequency(analysis.ranking_frequency(runs)),
    "critical_difference": lambda runs, trials: figures.critical_difference(analysis.critical_difference(runs)),
    "strengths": lambda runs, trials: figures.strengths(analysis.strengths(runs, **few())),
    "interquartile_means": lambda runs, trials: figures.interquartile_means(
        analysis.interquartile_means(runs, **few())
    ),
    "probability_of_improvement": lambda runs, trials: figures.probability_of_improvement(
        analysis.probability_of_improvement(runs, **few())
    ),
    "best_sets": lambda runs, trials: figures.best_sets(analysis.best_sets(runs)),
    "validation_against_test": lambda runs, trials: figures.validation_against_test(
        analysis.validation_against_test(runs)
    ),
    "validation_ranking": lambda runs, trials: figures.validation_ranking(analysis.validation_ranking(runs, **few())),
    "search_gain": lambda runs, trials: figures.search_gain(analysis.search_gain(trials)),
    "importance": lambda runs, trials: figures.importance(analysis.importance(trials, **few())),
    "hyperparameter_values": lambda runs, trials: figures.hyperparameter_values(analysis.hyperparameter_values(trials)),
    "top_ties": lambda runs, trials: figures.top_ties(analysis.top_ties(trials)),
    "collapsed": lambda runs, trials: figures.collapsed(analysis.collapsed(trials)),
    "optimism": lambda runs, trials: figures.optimism(
        analysis.optimism(runs, "best_epoch_accuracy", "test_accuracy", **few())
    ),
    "expected_best": lambda runs, trials: figures.expected_best(analysis.expected_best(trials)),
    "ranks_at_budget": lambda runs, trials: figures.ranks_at_budget(analysis.ranks_at_budget(trials, **few())),
    "rank_and_budget": lambda runs, trials: figures.rank_and_budget(analysis.rank_and_budget(runs, **few())),
    "accuracy_by_size": lambda runs, trials: figures.accuracy_by_size(sizes(), "size"),
    "accuracy_by_parameters": lambda runs, trials: figures.accuracy_by_size(sizes()),
    "accuracy_by_examples": lambda runs, trials: figures.accuracy_by_examples(sizes()),
    "parameters": lambda runs, trials: figures.accuracy_against_parameters(
        analysis.mean_accuracies(load_published(protocol="default"))
    ),
}


@pytest.fixture(scope="module")
def drawn(runs, trials):
    return functools.cache(lambda name: DRAW[name](runs, trials))


UNITS = (
    *("(%)", "(1: best)", "percentage points", "log-odds", "(number)", "(Spearman)", "% of", "points, val", "trials"),
    *("Kendall's W", "mean rank of", "(seeds)"),
)


@pytest.mark.parametrize("name", DRAW)
def test_no_text_overlaps_or_is_cut_off(drawn, name):
    assert faults(drawn(name)) == []


@pytest.mark.parametrize("name", DRAW)
def test_every_figure_says_what_is_measured_and_in_what(drawn, name):
    figure = drawn(name)
    labels = " ".join(ax.get_xlabel() + ax.get_ylabel() for ax in figure.axes)
    if name == "critical_difference":  # its axis has no label
        labels = figure._supxlabel.get_text()
    assert any(unit in labels.replace("\n", " ") for unit in UNITS)


def test_what_a_bar_joins_is_within_the_critical_difference(runs):
    table = analysis.critical_difference(runs)
    ranks, difference = table["mean_rank"].to_numpy(), table["critical_difference"].iloc[0]
    [ax] = figures.critical_difference(table).axes
    bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2.6]
    assert bars
    joined = np.zeros((len(ranks), len(ranks)), dtype=bool)
    for low, high in bars:
        inside = (ranks >= low) & (ranks <= high)
        joined |= inside[:, None] & inside
    apart = np.abs(ranks[:, None] - ranks)
    assert not joined[apart > difference].any()
    assert joined[(apart <= difference) & (apart > 0)].all()


def test_the_dots_of_ranks_are_the_tables(runs):
    table = analysis.mean_ranks(runs, rng=np.random.default_rng(0), draws=20)
    [ax] = figures.mean_ranks(table).axes
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert {names[int(y)]: x for y, x in dots.items()} == pytest.approx(
        table.set_index("method")["mean_rank"].to_dict()
    )
    assert names[-1] == table["method"].iloc[0]


def test_the_agreement_of_tasks_stands_beside_what_chance_gives(runs):
    table = analysis.friedman_test(runs)
    [ax] = figures.friedman_test(table).axes
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == pytest.approx(table["kendall_w"].tolist())
    strokes = [ends[0, 0] for ends in ax.collections[0].get_segments()]
    assert strokes == pytest.approx([1 / tasks for tasks in table["tasks"]])
    assert ax.texts[-1].get_text() == "p < 0.001, 19 tasks"


def test_every_pair_of_ranks_is_in_its_cell_and_dotted_where_it_is_sure(runs):
    table = analysis.nemenyi(runs)
    ax = figures.nemenyi(table).axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    shown = ax.images[0].get_array().filled(np.nan)
    dots = {tuple(dot) for dot in ax.collections[0].get_offsets().astype(int).tolist()}
    for row in table.itertuples():
        a, b = names.index(row.method_a), names.index(row.method_b)
        assert (shown[a, b], shown[b, a]) == pytest.approx((row.difference, -row.difference))
        assert ((b, a) in dots) == ((a, b) in dots) == row.distinguishable


def test_the_share_of_every_search_is_in_its_cell(trials):
    table = analysis.importance_by_task(trials)
    figure = figures.importance_by_task(table)
    for ax in figure.axes[:-1]:  # the last is the key
        names = [label.get_text() for label in ax.get_yticklabels()]
        shown = ax.images[0].get_array()
        some = table[table["hyperparameter"] == ax.get_title(loc="left")]
        cell = some[(some["method"] == "lora") & (some["task"] == TASKS[3])]["share"].item()
        assert shown[names.index("lora"), 3] == pytest.approx(100 * cell)


def test_missing_seeds_are_counted_in_their_cells(runs):
    lost = runs[(runs["method"] == "lora") & (runs["task"] == TASKS[1])].index
    table = analysis.missing_cells(runs.drop(lost))
    ax = figures.missing_cells(table).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lora"]
    assert [text.get_text() for text in ax.texts] == ["2"]


def test_a_crossing_is_said_beside_its_line_from_the_fewest_examples_to_the_most():
    table = analysis.overtaking(load_published("manyshot"), rng=np.random.default_rng(0))
    row = table[(table["dataset"] == "resisc45") & (table["method"] == "ssf")].iloc[0]
    ax = next(ax for ax in figures.overtaking(table).axes if ax.get_title(loc="left") == "resisc45")
    said = {text.get_text(): text.get_position()[1] for text in ax.texts}
    place = said[f"{row['crossing'] / 1000:.1f}k"]
    at = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    assert at[place] == pytest.approx(100 * row["last"])
    stroke = next(ends for ends in ax.collections[0].get_segments() if ends[:, 1].mean() == pytest.approx(place))
    assert stroke[0, 0] == pytest.approx(100 * row["first"])


def test_mean_gains_have_a_panel_for_what_is_kept_apart_and_a_line_for_the_method(runs):
    gains = pd.concat([analysis.gain_over_baseline(runs, name) for name in ("linear", "full")])
    gains = gains[gains["method"].isin(["lora", "ssf"])].assign(shift_gain=0.01)
    table = analysis.mean_gains(gains, by=["method", "baseline"], columns=["gain", "shift_gain"])
    figure = figures.mean_gains(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["linear", "full"]
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["ssf", "lora"]
    shown = sorted(line.get_xdata()[0] for line in first.lines if len(line.get_xdata()) == 1)
    assert shown == pytest.approx(sorted(100 * table[table["baseline"] == "linear"]["gain"]))
    shifted = figures.mean_gains(table, "shift_gain").axes[0]
    assert [line.get_xdata()[0] for line in shifted.lines if len(line.get_xdata()) == 1] == pytest.approx([1.0, 1.0])


def test_what_tunes_nothing_is_a_level_line_and_an_unknown_number_of_examples_is_not_said():
    table = sizes()
    table = table[table["dataset"] == "clevr_dist"].assign(train_examples=np.nan)
    table.loc[table["method"] == "linear", "tuned_parameters"] = 0
    [ax] = figures.accuracy_by_size(table).axes
    assert ax.get_title(loc="right") == ""
    linear = table[table["method"] == "linear"]["accuracy"].item()
    level = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert 100 * linear in [pytest.approx(line.get_ydata()[0]) for line in level]


def test_parameters_that_nobody_knows_are_nothing_to_draw_against(runs):
    with pytest.raises(InputError, match="tuned_parameters is not known of any method"):
        figures.accuracy_against_parameters(analysis.mean_accuracies(runs.drop(columns="tuned_parameters")))


def test_the_set_of_the_best_is_shaded(runs):
    table = analysis.best_sets(runs)
    figure = figures.best_sets(table)
    shaded = [len(ax.patches) for ax in figure.axes]
    assert shaded == table.groupby("scope", sort=False)["in_best_set"].sum().tolist()


def test_lines_of_the_expected_best_end_with_their_search(trials):
    short = trials[~((trials["method"] == "lora") & (trials["lr"] == 1e-2))]
    figure = figures.expected_best(analysis.expected_best(short))
    ends = sorted(max(line.get_xdata()) for line in figure.axes[0].lines)
    assert ends == [3, *[6] * 29]


def test_sizes_that_are_withheld_are_said_to_be_missing(drawn):
    assert "Not drawn: 60 results of unknown size" in drawn("accuracy_by_parameters")._supxlabel.get_text()
    assert "Size not known everywhere: adaptformer" in drawn("parameters")._supxlabel.get_text().replace("\n", " ")


def test_tables_that_cannot_be_drawn_are_refused(trials):
    with pytest.raises(InputError, match="no rows"):
        figures.search_gain(analysis.search_gain(trials), over="default")
    with pytest.raises(InputError, match="over must be 'random' or 'default'"):
        figures.search_gain(analysis.search_gain(trials), over="mean")
    with pytest.raises(InputError, match="x must be one of tuned_parameters, size"):
        figures.accuracy_by_size(pd.DataFrame(), "rank")
    with pytest.raises(InputError, match="no data set has training sets of two sizes"):
        table = sizes()
        figures.accuracy_by_examples(table[table["dataset"] == "clevr_dist"])
