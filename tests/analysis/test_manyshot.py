from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import accuracy_by_size, overtaking
from analysis.manyshot import crossings
from petl_study.errors import InputError

EXAMPLES = {"small": 100, "medium": 1_000, "large": 10_000}


def runs(accuracy: dict[tuple[str, str], list[float]], size: float = np.nan) -> pd.DataFrame:
    """Runs by (task, method), a seed an accuracy; the tasks are training sets of one data set."""
    rows = [
        {"task": task, "method": method, "seed": seed, "test_accuracy": value}
        for (task, method), values in accuracy.items()
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows).assign(dataset="d", test_examples=100, tuned_parameters=10, size=size)
    return frame.assign(train_examples=frame["task"].map(EXAMPLES))


OVERTAKEN = {
    ("small", "lora"): [0.8],
    ("small", "full"): [0.6],
    ("medium", "lora"): [0.85],
    ("medium", "full"): [0.8],
    ("large", "lora"): [0.9],
    ("large", "full"): [0.95],
}


def test_full_overtakes_where_the_lines_cross_on_a_logarithmic_scale(rng):
    row = overtaking(runs(OVERTAKEN), rng=rng).iloc[0]
    assert row["outcome"] == "baseline overtakes"
    assert row["crossing"] == pytest.approx(1_000 * 10**0.5)  # from +5 points to -5, half way in powers of ten
    assert (row["first"], row["last"]) == pytest.approx((0.2, -0.05))
    assert (row["interval"], row["points"]) == ("none", 3)
    assert np.isnan(row["low"])


def test_seeds_give_the_crossing_an_interval(rng):
    noise = [-0.02, 0.0, 0.02]
    several = {cell: [values[0] + e for e in noise] for cell, values in OVERTAKEN.items()}
    row = overtaking(runs(several), rng=rng).iloc[0]
    assert row["interval"] == "bootstrap over seeds"
    assert row["low"] < row["crossing"] < row["high"]
    assert row["crosses"] > 0.9
    narrow = overtaking(runs(several), rng=rng, level=0.5).iloc[0]
    assert row["high"] - row["low"] > narrow["high"] - narrow["low"]


@pytest.mark.parametrize(
    ("lora", "outcome"),
    [
        ([0.9, 0.9, 0.99], "method ahead"),
        ([0.1, 0.1, 0.1], "baseline ahead"),
        ([0.6, 0.8, 0.95], "tied"),
        ([0.1, 0.9, 0.96], "method overtakes"),
        ([0.9, 0.1, 0.96], "several crossings"),
        ([0.7, 0.8, 0.96], "method ahead"),  # touches and turns back
    ],
)
def test_every_course_has_its_name(rng, lora, outcome):
    cells = dict(OVERTAKEN) | {(task, "lora"): [value] for task, value in zip(EXAMPLES, lora, strict=True)}
    assert overtaking(runs(cells), rng=rng)["outcome"].item() == outcome


def test_lines_through_zero_change_sign_at_zero():
    x = np.arange(4.0)
    assert crossings(x, np.array([1.0, 0.0, 0.0, -1.0])).tolist() == [1.5]
    assert crossings(x, np.array([1.0, 0.0, 1.0, 2.0])).tolist() == []
    assert crossings(x, np.array([1.0, -1.0, -1.0, 3.0])).tolist() == [0.5, 2.25]
    assert crossings(x, np.zeros(4)).tolist() == []


def test_along_its_sizes_a_method_is_compared_with_the_one_baseline(rng):
    base = runs({("small", "full"): [0.7]})
    sizes = [runs({("small", "lora"): [value]}, size=size) for size, value in ((1, 0.6), (10, 0.65), (100, 0.75))]
    row = overtaking(pd.concat([base, *sizes], ignore_index=True), "size", rng=rng).iloc[0]
    assert (row["task"], row["outcome"]) == ("small", "method overtakes")
    assert row["crossing"] == pytest.approx(10**1.5)


def test_sizes_that_are_not_known_are_counted(rng):
    sizes = [runs({("small", "lora"): [value]}, size=size) for size, value in ((1, 0.6), (10, 0.8))]
    frame = pd.concat([runs({("small", "full"): [0.7]}), *sizes], ignore_index=True)
    frame.loc[frame["size"] == 10, "tuned_parameters"] = np.nan
    row = overtaking(frame, "tuned_parameters", rng=rng).iloc[0]
    assert (row["points"], row["unknown"], row["outcome"]) == (1, 1, "baseline ahead")


def test_what_tunes_nothing_has_no_place_on_a_logarithmic_scale(rng):
    frame = runs(OVERTAKEN).assign(tuned_parameters=0)
    row = overtaking(frame, "tuned_parameters", rng=rng).iloc[0]
    assert (row["points"], row["unknown"], row["outcome"]) == (0, 1, "not measured")


def test_a_study_of_the_baseline_alone_is_refused(rng):
    frame = runs(OVERTAKEN)
    with pytest.raises(InputError, match="nothing to compare with the baseline 'full'"):
        overtaking(frame[frame["method"] == "full"], rng=rng)


def test_the_table_has_every_size_of_every_training_set():
    frame = pd.concat([runs(OVERTAKEN), runs({("small", "lora"): [0.7, 0.8]}, size=8)], ignore_index=True)
    table = accuracy_by_size(frame)
    assert len(table) == 7
    row = table[table["size"] == 8].iloc[0]
    assert (row["accuracy"], row["seeds"], row["interval"]) == (pytest.approx(0.75), 2, "t over seeds")
    assert row["tuned_parameters"] == 10


def test_input_that_leaves_something_open_is_refused(rng):
    with pytest.raises(InputError, match=r"no column 'train_examples'.*runs\.assign"):
        accuracy_by_size(runs(OVERTAKEN).drop(columns="train_examples"))
    with pytest.raises(InputError, match="'lora' has two results on task 'small' at size nan"):
        overtaking(pd.concat([runs(OVERTAKEN), runs({("small", "lora"): [0.7]})]), rng=rng)
    with pytest.raises(InputError, match="unknown baseline 'ful'; known: full, lora"):
        overtaking(runs(OVERTAKEN), baseline="ful", rng=rng)
    with pytest.raises(InputError, match="unknown axis 'examples'"):
        overtaking(runs(OVERTAKEN), "examples", rng=rng)
