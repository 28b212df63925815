"""What is drawn is what was handed in, nothing overlaps, and nothing outside is read or left behind."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis import figures
from drawing import cut_off, overlapping
from petl_study.errors import InputError

TASKS = {
    "digits": "natural",
    "letters": "natural",
    "textures": "specialized",
    "cells": "specialized",
    "count": "structured",
    "orientation": "structured",
}
METHODS = ("linear", "full", "bitfit", "lora", "ssf")


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": task,
            "group": group,
            "method": method,
            "seed": 0,
            "test_accuracy": rng.uniform(0.5, 0.9),
            "test_examples": 500,
            "tuned_parameters": 10 ** (i + 2) if i else 0,
        }
        for task, group in TASKS.items()
        for i, method in enumerate(METHODS)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def accuracies(runs) -> pd.DataFrame:
    sets = [("test", "test", 0), *((f"{kind}:{s}", kind, s) for kind in ("noise", "blur") for s in (1, 2, 3))]
    rows = [
        {**row, "set": name, "kind": kind, "severity": severity, "accuracy": row["test_accuracy"] - 0.1 * severity}
        for row in runs.to_dict("records")
        if row["group"] == "natural"
        for name, kind, severity in sets
    ]
    return pd.DataFrame(rows).assign(examples=500).astype({"severity": "Int64"})


def pairs(tasks=TASKS, methods=METHODS) -> pd.DataFrame:
    cells = itertools.product(tasks, methods, methods)
    table = pd.DataFrame(cells, columns=["task", "method_a", "method_b"])
    return table.assign(disagreement=np.random.default_rng(0).uniform(0, 0.3, len(table)))


def gains() -> pd.DataFrame:
    cells = itertools.product(TASKS, analysis.COMBINE, ("best member", "best member on val", "mean member"))
    table = pd.DataFrame(cells, columns=["task", "combine", "against"])
    return table.assign(gain=0.01, low=-0.005, high=0.02, level=0.95)


@pytest.fixture(scope="module")
def drawn(runs, accuracies):
    return {
        "accuracy_by_task": figures.accuracy_by_task(analysis.accuracy_table(runs)),
        "mean_ranks": figures.mean_ranks(analysis.mean_ranks(runs, rng=np.random.default_rng(0))),
        "parameters": figures.accuracy_against_parameters(analysis.mean_accuracies(runs)),
        "disagreement": figures.disagreement_heat_map(pairs()),
        "gain": figures.ensemble_gain(gains()),
        "under_shift": figures.accuracy_under_shift(analysis.mean_over_shifts(accuracies)),
        "by_shift": figures.accuracy_by_shift(analysis.shift_table(accuracies)),
    }


NAMES = ("accuracy_by_task", "mean_ranks", "parameters", "disagreement", "gain", "under_shift", "by_shift")


def test_the_check_for_overlaps_finds_one():
    figure = Figure()
    for place in (0.5, 0.51):
        figure.text(place, 0.5, "text")
    assert overlapping(figure) == [("text", "text")]


def test_the_check_for_the_edge_finds_what_is_cut_off():
    figure = Figure()
    figure.text(0.99, 0.5, "text")
    assert cut_off(figure) == ["text"]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_overlaps_or_is_cut_off(drawn, name):
    assert overlapping(drawn[name]) == []
    assert cut_off(drawn[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_in_use_has_a_label_with_its_unit(drawn, name):
    axes = drawn[name].axes
    labels = " ".join(ax.get_xlabel() + ax.get_ylabel() for ax in axes)
    assert any(unit in labels for unit in ("(%)", "(% of test examples)", "percentage points", "(1: best)"))


def test_the_dots_are_the_accuracies_and_the_bars_their_intervals(runs):
    table = analysis.accuracy_table(runs)
    figure = figures.accuracy_by_task(table)
    for ax in figure.axes:
        of_task = table[table["task"] == ax.get_title(loc="left")].set_index("method")
        assert ax.get_title(loc="right") == TASKS[ax.get_title(loc="left")]
        dots = sorted(line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1)
        bars = sorted(tuple(ends[:, 0]) for bars in ax.collections for ends in bars.get_segments())
        assert dots == pytest.approx(sorted(100 * of_task["accuracy"]))
        assert np.array(bars) == pytest.approx(100 * of_task[["low", "high"]].sort_values("low").to_numpy())


def test_a_missing_cell_stays_empty(runs):
    table = analysis.accuracy_table(runs)
    figure = figures.accuracy_by_task(table.drop(index=table.index[0]))
    counts = sorted(sum(len(line.get_xdata()) == 1 for line in ax.lines) for ax in figure.axes)
    assert counts == [4, 5, 5, 5, 5, 5]


def test_what_tunes_nothing_stands_at_zero_left_of_a_break(drawn):
    ax = drawn["parameters"].axes[0]
    drawn["parameters"].draw_without_rendering()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[0] == "0"
    assert ax.get_xticks()[0] < ax.get_xticks()[1]
    assert "10k" in labels


def test_the_heat_map_shows_the_lower_triangle_in_per_cent():
    table = pairs(tasks=["digits"], methods=("lora", "ssf"))
    ax = figures.disagreement_heat_map(table).axes[0]
    shown = ax.images[0].get_array().filled(np.nan)
    cell = table[(table["method_a"] == "ssf") & (table["method_b"] == "lora")]["disagreement"].item()
    assert shown[1, 0] == pytest.approx(100 * cell)
    assert np.isnan(shown[0, 1])


def test_without_a_second_seed_the_heat_map_has_no_diagonal():
    table = pairs(tasks=["digits"], methods=("bitfit", "lora", "ssf"))
    ax = figures.disagreement_heat_map(table[table["method_a"] != table["method_b"]]).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lora", "ssf"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["bitfit", "lora"]
    assert ax.images[0].get_array().mask.tolist() == [[False, True], [False, False]]


def test_every_task_begins_a_row_of_its_kinds_of_shift(accuracies):
    table = analysis.shift_table(accuracies)
    table = table[~((table["task"] == "letters") & (table["kind"] == "blur"))]
    figure = figures.accuracy_by_shift(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["blur", "noise", "noise"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["digits: accuracy (%)", "", "letters: accuracy (%)"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "severity", "severity"]


def test_a_set_without_a_severity_stands_beside_the_test_set():
    figure = figures.accuracy_by_shift(analysis.shift_table(analysis.load_published("robustness")))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["imagenet-a", "imagenet-r", "imagenet-s", "imagenet-v2"]
    for ax in figure.axes:
        assert [label.get_text() for label in ax.get_xticklabels()] == ["test", "shifted"]
        assert {len(line.get_xdata()) for line in ax.lines} == {2}


@pytest.mark.parametrize("draw", ["accuracy_by_shift", "accuracy_under_shift", "target_against_shift"])
def test_the_key_of_many_methods_is_never_cut(accuracies, draw):
    one = accuracies[(accuracies["task"] == "digits") & (accuracies["method"] == METHODS[0])]
    many = pd.concat([one.assign(method=f"method_{i}") for i in range(18)])
    tables = {"accuracy_by_shift": "shift_table", "accuracy_under_shift": "mean_over_shifts"}
    figure = getattr(figures, draw)(getattr(analysis, tables.get(draw, draw))(many))
    figure.draw_without_rendering()
    [key] = figure.legends
    assert key.get_window_extent().y0 >= figure.bbox.y0


def test_large_studies_stay_readable():
    methods = [*METHODS, *(f"a_method_with_a_name_{i}" for i in range(25))]
    rows = itertools.product([f"task_{i}" for i in range(19)], methods)
    table = pd.DataFrame(rows, columns=["task", "method"]).assign(group="natural", accuracy=0.7, low=0.6, high=0.8)
    figure = figures.accuracy_by_task(table.assign(level=0.95, interval="t over seeds"))
    assert overlapping(figure) == []


def test_names_are_shown_as_they_are():
    table = pairs(tasks=["$a_b$"], methods=("$x^2$", "lora", "n" * 100))
    figure = figures.disagreement_heat_map(table)
    figure.draw_without_rendering()
    assert overlapping(figure) == []
    assert figure.axes[0].get_yticklabels()[1].get_text() == r"\$x^2\$"


def test_drawing_reads_and_changes_no_defaults_of_style(runs):
    table = analysis.accuracy_table(runs)
    before = dict(mpl.rcParams)
    plain = figures.accuracy_by_task(table)
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"axes.grid": True, "lines.linewidth": 9, "figure.figsize": (1, 1), "axes.spines.top": True}):
        other = figures.accuracy_by_task(table)
    assert (other.get_size_inches() == plain.get_size_inches()).all()
    assert [line.get_linewidth() for line in other.axes[0].lines] == [
        line.get_linewidth() for line in plain.axes[0].lines
    ]
    assert not other.axes[0].spines["top"].get_visible()


def test_a_table_that_cannot_be_drawn_says_what_is_missing(runs):
    with pytest.raises(InputError, match="no column low, high; it has task"):
        figures.accuracy_by_task(analysis.accuracy_table(runs)[["task", "method", "accuracy"]])
    with pytest.raises(InputError, match="no rows"):
        figures.accuracy_by_task(analysis.accuracy_table(runs).iloc[:0])


def test_learning_rates_stand_by_size():
    table = pd.DataFrame({"method": "lora", "lr": [0.003, 0.01, 0.001], "trials": 4, "collapsed": 0, "share": 0.0})
    figure = figures.collapsed(table.assign(low=0.0, high=0.5, level=0.95))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["lr 0.001", "lr 0.003", "lr 0.01"]


def test_searches_of_one_size_correlate_with_nothing_and_are_not_drawn():
    table = pd.DataFrame({"scope": ["all tasks"], "spearman": np.nan, "low": np.nan, "high": np.nan})
    with pytest.raises(InputError, match="every method had equally many trials"):
        figures.budget_correlation(table.assign(methods=3, tasks=2, level=0.95))
