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


def sizes() -> pd.DataFrame:
    return analysis.accuracy_by_size(load_published("manyshot"))


DRAW: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Figure]] = {
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


UNITS = ("(%)", "(1: best)", "percentage points", "log-odds", "(number)", "(Spearman)", "% of", "points, val", "trials")


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
