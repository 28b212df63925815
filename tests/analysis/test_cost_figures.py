"""The figures of cost: legible with 19 tasks and 30 methods, and true to their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import figures
from drawing import faults, shown_texts
from petl_study.errors import InputError
from tables import runs_of

NAMES = [
    *("linear", "full", "bitfit", "lora", "ssf", "adaptformer", "vpt_deep", "repadapter", "convpass", "mona"),
    *(f"a_method_with_a_long_name_{i:02d}" for i in range(20)),
]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """19 tasks, 30 methods, two seeds."""
    rng = np.random.default_rng(0)
    accuracy = rng.uniform(0.4, 0.7, size=(19, 1, 1)) + np.arange(30)[:, None] / 150 + rng.normal(0, 0.02, (19, 30, 2))
    frame = runs_of(accuracy)
    place = frame["method"].map({name: i for i, name in enumerate(sorted(set(frame["method"])))})
    tuned = np.where(place == 0, 0, np.round(10 ** (3 + 0.1 * place)))
    costs = {"tuned_parameters": tuned, "bytes": 4.0 * tuned + 400, "peak_memory_bytes": 1e9 + 7e6 * (place % 11)}
    seconds = rng.uniform(3, 9, len(frame)) * (1 + place / 10)
    return frame.assign(method=[NAMES[i] for i in place], **costs, fit_seconds=seconds, predict_seconds=1.0)


@pytest.fixture(scope="module")
def inference() -> pd.DataFrame:
    before = 1 + np.arange(30) / 90
    after = np.where(np.arange(30) % 2, 1.0 + np.arange(30) / 3000, np.nan)
    numbers = {"before": before, "before_low": before - 0.02, "before_high": before + 0.02, "before_seconds": 0.01}
    numbers |= {"after": after, "after_low": after, "after_high": after, "after_seconds": 0.01}
    return pd.DataFrame({"method": NAMES, **numbers}).assign(backbone="net")


@pytest.fixture(scope="module")
def front(runs) -> pd.DataFrame:
    return analysis.pareto_front(runs, rng=np.random.default_rng(0), draws=50)


@pytest.fixture(scope="module")
def drawn(runs, inference, front):
    return {
        "costs": figures.costs(analysis.costs(runs, inference=inference)),
        "front": figures.pareto_front(front),
        "memory": figures.pareto_front(
            analysis.pareto_front(runs, "peak_memory_bytes", rng=np.random.default_rng(0), draws=20)
        ),
        "probability": figures.front_probability(front),
        "ppt": figures.ppt(analysis.ppt(analysis.mean_accuracies(runs))),
    }


@pytest.mark.parametrize("name", ["costs", "front", "memory", "probability", "ppt"])
def test_no_text_overlaps_or_is_cut_off(drawn, name):
    assert faults(drawn[name]) == []


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("costs", {"tuned parameters", "stored (kB)", "training time (times that of linear)", "peak memory (MB)"}),
        ("front", {"tuned parameters"}),
        ("memory", {"peak memory (MB)"}),
        ("probability", {"probability of being on the front (%)"}),
        ("ppt", {"PPT (accuracy, a fraction, discounted by tuned parameters)"}),
    ],
)
def test_every_figure_says_what_is_measured_and_in_what(drawn, name, labels):
    assert labels <= {" ".join(ax.get_xlabel().split()) for ax in drawn[name].axes}


def marks(ax) -> list[tuple[float, float]]:
    """Where single marks stand."""
    return [(x[0], y[0]) for x, y in (line.get_data() for line in ax.lines) if len(x) == 1]


def test_costs_stand_where_the_table_has_them(drawn, runs):
    table = analysis.costs(runs)
    table = table[table["scope"] == "all tasks"].reset_index(drop=True)
    ratio = next(ax for ax in drawn["costs"].axes if "training" in ax.get_xlabel())
    drawn_ratios = [x for x, _ in sorted(marks(ratio), key=lambda mark: mark[1])]
    assert drawn_ratios == pytest.approx(table["ratio"].tolist())
    assert [label.get_text() for label in drawn["costs"].axes[0].get_yticklabels()] == table["method"].tolist()


def test_what_was_never_recorded_has_no_panel_and_is_named(runs):
    figure = figures.costs(analysis.costs(runs))
    assert len(figure.axes) == 4
    note = " ".join(figure._supxlabel.get_text().split())
    assert "Not recorded: search, prediction." in note
    with pytest.raises(InputError, match="no rows"):
        figures.costs(analysis.costs(runs_of([[0.5, 0.6]]).drop(columns="tuned_parameters")))


def test_merged_is_marked_where_it_was_measured(drawn):
    ax = next(ax for ax in drawn["costs"].axes if "plain model" in ax.get_xlabel().replace("\n", " "))
    strokes = [line for line in ax.lines if line.get_marker() == "|"]
    assert len(strokes) == 15


def test_two_machines_are_not_drawn_as_one(runs):
    both = pd.concat([runs.assign(hardware="a"), runs.assign(hardware="b", seed=runs["seed"] + 2)])
    table = analysis.costs(both)
    with pytest.raises(InputError, match=r"more than one machine: a; b\. Draw one at a time"):
        figures.costs(table)
    assert figures.costs(table[table["machine"] == "a"])


def test_the_line_runs_through_the_front_and_who_is_off_it_is_pale(drawn, front):
    ax = drawn["front"].axes[-1]
    some = front[front["scope"] == "all tasks"]
    on = some[some["on_front"].to_numpy(dtype=bool)]
    [line] = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert line.get_ydata()[:-1].tolist() == pytest.approx((100 * on["accuracy"]).tolist())
    assert line.get_xdata()[1:-1].tolist() == on["value"].tolist()[1:]  # the first tunes nothing: behind the break
    pale = [line for line in ax.lines if len(line.get_xdata()) == 1 and line.get_alpha() == 0.4]
    assert len(pale) == len(some) - len(on)


def test_a_method_of_unknown_cost_is_named_and_not_drawn(runs):
    lacking = runs.assign(tuned_parameters=runs["tuned_parameters"].where(runs["method"] != "mona"))
    table = analysis.pareto_front(lacking, rng=np.random.default_rng(0), draws=5)
    figure = figures.pareto_front(table)
    texts = {text.get_text() for text in shown_texts(figure)}
    assert "mona" not in texts
    assert any("Cost not known: mona." in " ".join(text.split()) for text in texts)
    assert "Size not known: mona." in " ".join(
        figures.ppt(analysis.ppt(analysis.mean_accuracies(lacking)))._supxlabel.get_text().split()
    )


def test_scopes_of_one_task_have_no_probability_and_are_named(runs):
    three = runs[runs["task"].isin(["t0", "t1", "t3"])]  # two of the one group, one of the other
    table = analysis.pareto_front(three, rng=np.random.default_rng(0), draws=5)
    figure = figures.front_probability(table)
    assert len(figure.axes) == 2
    assert "One task, and so none: specialized." in " ".join(figure._supxlabel.get_text().split())
    with pytest.raises(InputError, match="no scope has two tasks or more"):
        figures.front_probability(table[table["scope"] == "specialized"])


def test_ppt_of_two_protocols_stand_beside_each_other(runs):
    both = pd.concat([runs.assign(protocol="mine"), runs.assign(protocol="theirs")])
    means = analysis.by_protocol(both, analysis.mean_accuracies).query("scope == 'all tasks'")
    assert len(figures.ppt(analysis.ppt(means)).axes) == 2
