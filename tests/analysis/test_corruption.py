from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import corruption_errors, mean_corruption_error
from analysis.intervals import wilson_interval
from petl_study.errors import InputError

# Errors in percent, by method: clean, then two severities of two corruptions.
ERRORS = {"linear": (10, 20, 40, 30, 50), "lora": (5, 10, 20, 30, 70), "full": (10, 10, 10, 10, 10)}
SETS = ("test", "noise:1", "noise:2", "blur:1", "blur:2")


def accuracies(errors=ERRORS, seeds=(0,)) -> pd.DataFrame:
    rows = []
    for method, of_method in errors.items():
        for seed in seeds:
            for name, error in zip(SETS, of_method, strict=True):
                kind, _, severity = name.partition(":")
                row = {"task": "digits", "method": method, "seed": seed, "set": name, "kind": kind}
                rows.append(row | {"severity": int(severity or 0), "accuracy": 1 - (error + seed) / 100})
    return pd.DataFrame(rows).astype({"severity": "Int64"})


def test_errors_are_counted_in_those_of_the_normaliser():
    table = corruption_errors(accuracies(), normaliser="linear").set_index(["method", "kind"])
    assert table.loc[("lora", "noise"), "ce"] == pytest.approx((10 + 20) / (20 + 40))
    assert table.loc[("lora", "blur"), "ce"] == pytest.approx((30 + 70) / (30 + 50))
    assert table.loc[("lora", "noise"), "relative_ce"] == pytest.approx((5 + 15) / (10 + 30))
    assert table.loc[("lora", "blur"), "relative_ce"] == pytest.approx((25 + 65) / (20 + 40))
    assert table.loc[("lora", "noise"), "error"] == pytest.approx(0.15)
    mean = mean_corruption_error(accuracies(), normaliser="linear").set_index("method")
    assert mean.loc["lora", "mce"] == pytest.approx((30 / 60 + 100 / 80) / 2)
    assert mean.loc["lora", "relative_mce"] == pytest.approx((20 / 40 + 90 / 60) / 2)
    assert mean.loc["full", "relative_mce"] == pytest.approx(0)


def test_the_normaliser_itself_has_one():
    mean = mean_corruption_error(accuracies(seeds=(0, 1)), normaliser="linear").set_index("method")
    assert mean.loc["linear", ["mce", "relative_mce"]].tolist() == pytest.approx([1, 1])
    assert set(mean["normaliser"]) == {"linear"}


def test_another_normaliser_changes_the_numbers():
    by_linear = mean_corruption_error(accuracies(), normaliser="linear").set_index("method")["mce"]
    by_full = mean_corruption_error(accuracies(), normaliser="full").set_index("method")["mce"]
    assert by_full["lora"] == pytest.approx((30 / 20 + 100 / 20) / 2)
    assert by_linear["lora"] != by_full["lora"]


def test_the_interval_is_over_seeds_and_best_comes_first():
    table = mean_corruption_error(accuracies(seeds=(0, 2)), normaliser="linear")
    assert table["mce"].is_monotonic_increasing
    row = table.set_index("method").loc["lora"]
    each = [(30 / 62 + 100 / 82) / 2, (34 / 62 + 104 / 82) / 2]  # the normaliser's mean over its seeds is one more
    assert row["mce"] == pytest.approx(np.mean(each))
    assert row["low"] < min(each) < max(each) < row["high"]
    one = mean_corruption_error(accuracies(), normaliser="linear")
    assert one["low"].isna().all() and set(one["interval"]) == {"none"}


def test_what_the_normaliser_does_not_lose_cannot_be_lost_relative_to_it():
    table = corruption_errors(accuracies(), normaliser="full").set_index(["method", "kind"])
    assert table["relative_ce"].isna().all()  # full loses nothing
    assert mean_corruption_error(accuracies(), normaliser="full")["relative_mce"].isna().all()


def test_a_mean_over_fewer_corruptions_is_not_passed_off_as_one_over_all():
    errors = {**ERRORS, "linear": (10, 10, 10, 30, 50)}  # linear loses nothing to noise
    by_kind = corruption_errors(accuracies(errors), normaliser="linear").set_index(["method", "kind"])
    assert by_kind.loc[("lora", "blur"), "relative_ce"] == pytest.approx(90 / 60)
    mean = mean_corruption_error(accuracies(errors), normaliser="linear")
    assert mean["relative_mce"].isna().all()
    assert mean["mce"].notna().all()


def test_order_of_rows_does_not_matter(rng):
    frame = accuracies(seeds=(0, 1))
    shuffled = frame.sample(frac=1, random_state=rng)
    pd.testing.assert_frame_equal(
        mean_corruption_error(frame, normaliser="linear"), mean_corruption_error(shuffled, normaliser="linear")
    )


def test_bad_input_is_refused_by_name():
    frame = accuracies()
    with pytest.raises(InputError, match="unknown normaliser 'alexnet'; known: full, linear, lora"):
        mean_corruption_error(frame, normaliser="alexnet")
    with pytest.raises(InputError, match="'lora', seed 0: blur:2"):
        mean_corruption_error(frame[~((frame["method"] == "lora") & (frame["set"] == "blur:2"))], normaliser="linear")
    with pytest.raises(InputError, match=r"makes no error under 'noise'.*another normaliser"):
        mean_corruption_error(accuracies({**ERRORS, "linear": (0, 0, 0, 1, 1)}), normaliser="linear")
    with pytest.raises(InputError, match="no task here has corruptions"):
        mean_corruption_error(frame[frame["set"] == "test"], normaliser="linear")
    with pytest.raises(InputError, match="no accuracies on 'test'"):
        mean_corruption_error(frame[frame["set"] != "test"], normaliser="linear")


def test_of_one_seed_errors_have_the_ends_of_their_accuracies():
    frame = accuracies().assign(examples=500)
    row = corruption_errors(frame, normaliser="linear").set_index(["method", "kind"]).loc[("lora", "noise")]
    clean, *noise = (wilson_interval(error / 100, 500) for error in (5, 10, 20))
    low, high = np.sum(noise, axis=0)
    assert (row["low"], row["high"]) == pytest.approx((low / 0.6, high / 0.6))
    assert (row["relative_low"], row["relative_high"]) == pytest.approx(
        ((low - 2 * clean[1]) / 0.4, (high - 2 * clean[0]) / 0.4)
    )
    assert row["interval"] == "conservative over examples"
    mean = mean_corruption_error(frame, normaliser="linear").set_index("method").loc["lora"]
    blur = np.sum([wilson_interval(error / 100, 500) for error in (30, 70)], axis=0)
    assert (mean["low"], mean["high"]) == pytest.approx(
        ((low / 0.6 + blur[0] / 0.8) / 2, (high / 0.6 + blur[1] / 0.8) / 2)
    )
    assert mean["relative_low"] < mean["relative_mce"] < mean["relative_high"]
