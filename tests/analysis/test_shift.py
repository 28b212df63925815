from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import mean_over_shifts, shift_table, target_against_shift
from analysis.intervals import wilson_interval
from petl_study.errors import InputError

SETS = {
    "val": 0.95,
    "test": 0.9,
    "noise:1": 0.8,
    "noise:2": 0.6,
    "blur:1": 0.7,
    "blur:2": 0.4,
    "sketch": 0.3,
    "fog:2": 0.1,
}


def accuracies(*offsets: float) -> pd.DataFrame:
    """A frame as `load_accuracies` gives it: one method, a seed an offset, and a task without shift sets."""
    rows = []
    for seed, offset in enumerate(offsets):
        for name, accuracy in SETS.items():
            kind, _, severity = name.partition(":")
            severity = int(severity) if severity else (0 if name == "test" else pd.NA)
            row = {"task": "digits", "group": "natural", "method": "lora", "seed": seed, "set": name, "kind": kind}
            rows.append(row | {"severity": severity, "accuracy": accuracy + offset, "examples": 100})
        rows.append(rows[-7] | {"task": "count", "set": "test", "kind": "test"})
    return pd.DataFrame(rows).astype({"severity": "Int64"})


def test_a_row_for_test_and_every_shift_set_with_what_was_lost():
    table = shift_table(accuracies(0.0)).set_index(["kind", "severity"])
    assert set(table["task"]) == {"digits"}  # the other task has no shift set
    assert "val" not in table.index.get_level_values("kind")
    assert table.loc[("noise", 2), "drop"].item() == pytest.approx(0.3)
    assert table.loc[("test", 0), "drop"].item() == 0
    assert len(table) == len(SETS) - 1
    reference = stats.binomtest(60, 100).proportion_ci(0.95, "wilson")
    assert table.loc[("noise", 2), "low"].item() == pytest.approx(reference.low)


def test_what_was_lost_has_an_interval():
    [row] = shift_table(accuracies(0.0)).query("kind == 'noise' and severity == 2").to_dict("records")
    test, noise = wilson_interval(0.9, 100), wilson_interval(0.6, 100)
    assert (row["drop_low"], row["drop_high"]) == pytest.approx((test[0] - noise[1], test[1] - noise[0]))
    of_test = shift_table(accuracies(0.0)).query("kind == 'test'").iloc[0]
    assert of_test[["drop", "drop_low", "drop_high"]].tolist() == [0, 0, 0]
    frame = accuracies(0.0, 0.01, 0.02)
    frame.loc[(frame["set"] == "noise:2") & (frame["seed"] == 1), "accuracy"] -= 0.05
    [row] = shift_table(frame).query("kind == 'noise' and severity == 2").to_dict("records")
    lost = np.array([0.3, 0.35, 0.3])  # seed by seed
    assert row["drop"] == pytest.approx(lost.mean())
    assert (row["drop_low"], row["drop_high"]) == pytest.approx(stats.t.interval(0.95, 2, lost.mean(), stats.sem(lost)))
    unknown = shift_table(accuracies(0.0).drop(columns="examples").assign(examples=np.nan))
    assert unknown[["drop_low", "drop_high"]].isna().all(axis=None)


def test_the_mean_is_over_kinds_that_have_every_severity():
    table = mean_over_shifts(accuracies(0.0)).set_index("severity")
    assert table["accuracy"].to_dict() == pytest.approx({0: 0.9, 1: (0.8 + 0.7) / 2, 2: (0.6 + 0.4) / 2})
    assert table["kinds"].to_dict() == {0: 1, 1: 2, 2: 2}
    ends = np.mean([wilson_interval(p, 100) for p in (0.8, 0.7)], axis=0)  # of one seed: the kinds' mean ends
    assert table.loc[1, ["low", "high"]].tolist() == pytest.approx(ends.tolist())
    assert set(table["interval"]) == {"conservative over examples"}
    unknown = mean_over_shifts(accuracies(0.0).drop(columns="examples"))
    assert set(unknown["interval"]) == {"none"}
    assert unknown["low"].isna().all()


def test_with_several_seeds_the_interval_is_over_the_seeds_means():
    table = mean_over_shifts(accuracies(0.0, 0.01, 0.03)).set_index("severity")
    means = np.array([0.75, 0.76, 0.78])
    assert (table.loc[1, "low"], table.loc[1, "high"]) == pytest.approx(
        stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    )
    assert set(table["interval"]) == {"t over seeds"}


def test_tasks_without_shift_sets_give_empty_tables():
    frame = accuracies(0.0)
    none = frame[frame["set"].isin(["val", "test"])]
    assert len(shift_table(none)) == 0
    assert len(mean_over_shifts(none)) == 0


def test_target_beside_the_mean_of_all_shift_sets_and_what_is_retained():
    [row] = target_against_shift(accuracies(0.0)).to_dict("records")
    shifts = [accuracy for name, accuracy in SETS.items() if name not in ("val", "test")]
    assert row["accuracy"] == pytest.approx(0.9)
    assert row["shift_accuracy"] == pytest.approx(np.mean(shifts))
    assert row["retention"] == pytest.approx(np.mean(shifts) / 0.9)
    assert (row["shift_sets"], row["seeds"], row["interval"]) == (6, 1, "conservative over examples")
    test, shift = wilson_interval(0.9, 100), np.mean([wilson_interval(p, 100) for p in shifts], axis=0)
    assert (row["low"], row["high"], row["shift_low"], row["shift_high"]) == pytest.approx((*test, *shift))
    assert (row["retention_low"], row["retention_high"]) == pytest.approx((shift[0] / test[1], shift[1] / test[0]))


def test_retention_is_of_each_seed_before_it_is_averaged():
    [row] = target_against_shift(accuracies(0.0, 0.05)).to_dict("records")
    mean = np.mean([accuracy for name, accuracy in SETS.items() if name not in ("val", "test")])
    each = np.array([mean / 0.9, (mean + 0.05) / 0.95])
    assert row["retention"] == pytest.approx(each.mean())
    reference = stats.t.interval(0.95, 1, each.mean(), stats.sem(each))
    assert (row["retention_low"], row["retention_high"]) == pytest.approx((max(0, reference[0]), reference[1]))


def test_what_never_is_right_retains_nothing_that_could_be_said():
    frame = accuracies(0.0).assign(accuracy=0.0)
    [row] = target_against_shift(frame).to_dict("records")
    assert np.isnan(row["retention"])


def test_a_method_that_lacks_a_shift_set_is_not_averaged_over_the_others():
    both = pd.concat([accuracies(0.0), accuracies(0.0).assign(method="ssf")])
    with pytest.raises(InputError, match="method ssf, seed 0: fog:2"):
        target_against_shift(both[~((both["method"] == "ssf") & (both["set"] == "fog:2"))])
    with pytest.raises(InputError, match="no shift sets of"):
        target_against_shift(both[both["set"].isin(["test", "val"])])


def test_a_run_that_lacks_a_severity_is_not_averaged_over_other_kinds():
    both = pd.concat([accuracies(0.0), accuracies(0.0).assign(method="ssf")])
    with pytest.raises(InputError, match="method ssf, seed 0: blur:2"):
        mean_over_shifts(both[~((both["method"] == "ssf") & (both["set"] == "blur:2"))])


@pytest.mark.parametrize("table", [shift_table, mean_over_shifts, target_against_shift])
def test_one_result_given_twice_is_no_second_seed(table):
    with pytest.raises(InputError, match="same thing as another, such as task"):
        table(pd.concat([accuracies(0.0), accuracies(0.0)]))


def test_groups_are_optional_and_other_columns_are_not():
    frame = accuracies(0.0, 0.01)
    pd.testing.assert_frame_equal(shift_table(frame).drop(columns="group"), shift_table(frame.drop(columns="group")))
    for column in ("set", "kind", "severity", "accuracy", "seed"):
        with pytest.raises(InputError, match=f"no column {column}"):
            shift_table(frame.drop(columns=column))


def test_a_run_without_a_seed_counts_as_one():
    frame = accuracies(0.0).assign(seed=pd.NA)
    assert target_against_shift(frame)["seeds"].item() == 1
