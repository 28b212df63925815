from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import choose_alpha, load_published, mean_gains, wise_gain, wise_table
from petl_study.errors import InputError

ALPHAS = (0.0, 0.5, 1.0)
VAL = {0.0: 0.5, 0.5: 0.9, 1.0: 0.8}
TEST = {0.0: 0.40, 0.5: 0.70, 1.0: 0.80}
SHIFT = {0.0: 0.30, 0.5: 0.60, 1.0: 0.50}


def curves(seeds=(0,), method="lora", val=VAL, loss=None, merged="all") -> pd.DataFrame:
    """Curves of one method; a seed adds a hundredth to test and to alpha 0.5 of the shifts."""
    rows = []
    for seed in seeds:
        for alpha in ALPHAS:
            for name, accuracy in {
                "val": val[alpha],
                "test": TEST[alpha] + 0.01 * seed,
                "noise:1": SHIFT[alpha] + 0.1 + 0.01 * seed * (alpha == 0.5),
                "sketch": SHIFT[alpha] - 0.1 + 0.01 * seed * (alpha == 0.5),
            }.items():
                row = {"task": "digits", "method": method, "seed": seed, "merged": merged, "alpha": alpha, "set": name}
                rows.append(row | {"accuracy": accuracy, "loss": (loss or {}).get(alpha, 1.0)})
    return pd.DataFrame(rows)


def test_validation_chooses_alpha_whatever_the_test_sets_say():
    frame = curves()
    chosen = choose_alpha(frame)
    assert chosen[["method", "alpha", "val_accuracy"]].to_dict("records") == [
        {"method": "lora", "alpha": 0.5, "val_accuracy": 0.9}
    ]
    frame.loc[frame["set"] != "val", "accuracy"] = 0.0
    pd.testing.assert_frame_equal(choose_alpha(frame), chosen)


def test_a_validation_accuracy_that_is_not_known_leaves_no_choice():
    frame = curves()
    frame.loc[(frame["set"] == "val") & (frame["alpha"] == 0.5), "accuracy"] = np.nan
    with pytest.raises(
        InputError, match=r"1 of 3 validation accuracies are missing .* method lora, merged all, alpha 0\.5"
    ):
        choose_alpha(frame)


def test_equal_accuracies_go_to_the_lower_loss_and_then_to_the_larger_alpha():
    tied = {0.0: 0.9, 0.5: 0.9, 1.0: 0.8}
    assert choose_alpha(curves(val=tied, loss={0.0: 0.2, 0.5: 0.3}))["alpha"].item() == 0.0
    assert choose_alpha(curves(val=tied))["alpha"].item() == 0.5


def test_the_table_has_target_and_mean_of_shifts_with_intervals_over_seeds():
    table = wise_table(curves(seeds=(0, 1, 3))).set_index("alpha")
    assert table["accuracy"].to_dict() == pytest.approx({a: TEST[a] + 0.04 / 3 for a in ALPHAS})
    assert table.loc[1.0, "shift_accuracy"] == pytest.approx(0.5)
    assert set(table["shift_sets"]) == {2}
    reference = stats.t.interval(0.95, 2, np.mean([0.7, 0.71, 0.73]), stats.sem([0.7, 0.71, 0.73]))
    assert (table.loc[0.5, "low"], table.loc[0.5, "high"]) == pytest.approx(reference)
    assert table["chosen"].to_dict() == {0.0: False, 0.5: True, 1.0: False}


def test_curves_without_validation_have_no_result():
    frame = curves()
    table = wise_table(frame[frame["set"] != "val"])
    assert not table["chosen"].any()
    assert set(wise_gain(frame[frame["set"] != "val"])["choice"]) == {"test in hindsight", "shift in hindsight"}
    with pytest.raises(InputError, match=r"no set 'val'.*validate=True"):
        choose_alpha(frame[frame["set"] != "val"])


def test_gains_are_over_alpha_one_seed_by_seed():
    gains = wise_gain(curves(seeds=(0, 2))).set_index("choice")
    assert gains["alpha"].to_dict() == {"validation": 0.5, "test in hindsight": 1.0, "shift in hindsight": 0.5}
    assert gains.loc["validation", "gain"] == pytest.approx(-0.1)
    assert gains.loc["validation", ["low", "high"]].tolist() == pytest.approx([-0.1, -0.1])  # the same for both seeds
    assert gains.loc["validation", "shift_gain"] == pytest.approx(0.11)
    assert gains.loc["test in hindsight", "gain"] == 0
    half = stats.t.ppf(0.975, 1) * stats.sem([0.10, 0.12])
    assert gains.loc["validation", "shift_high"] == pytest.approx(0.11 + half)


def test_no_choice_beats_the_one_in_hindsight():
    rng = np.random.default_rng(0)
    frame = pd.concat([curves(method=name, seeds=(0, 1)) for name in ("lora", "ssf", "full")])
    frame["accuracy"] = rng.uniform(size=len(frame)).round(2)
    gains = wise_gain(frame).pivot_table(index="method", columns="choice", values=["gain", "shift_gain"])
    assert (gains["gain", "test in hindsight"] >= gains["gain", "validation"]).all()
    assert (gains["shift_gain", "shift in hindsight"] >= gains["shift_gain", "validation"]).all()


def test_of_equal_alphas_hindsight_takes_the_one_nearest_to_the_tuned_model():
    frame = curves()
    frame.loc[(frame["set"] == "test") & (frame["alpha"] == 0.5), "accuracy"] = TEST[1.0]
    frame.loc[(frame["set"] == "test") & (frame["alpha"] == 1.0), "accuracy"] = TEST[0.0]
    frame.loc[(frame["set"] == "test") & (frame["alpha"] == 0.0), "accuracy"] = TEST[1.0]
    assert wise_gain(frame).set_index("choice").loc["test in hindsight", "alpha"] == 0.5


def test_head_and_all_are_curves_of_their_own():
    frame = pd.concat([curves(), curves(merged="head", val={0.0: 0.9, 0.5: 0.8, 1.0: 0.7})])
    assert choose_alpha(frame).set_index("merged")["alpha"].to_dict() == {"all": 0.5, "head": 0.0}
    assert len(wise_table(frame)) == 6


def test_the_published_curves_come_out_as_their_source_gives_them():
    published = load_published("wise")
    table = wise_table(published[published["merged"] == "all"]).set_index(["method", "alpha"])
    assert table.loc[("full", 0.0), "accuracy"] == pytest.approx(0.6769)
    assert table.loc[("full", 0.6), "accuracy"] == pytest.approx(0.7773)
    assert set(table["shift_sets"]) == {4}
    gains = wise_gain(published[published["merged"] == "all"]).set_index(["method", "choice"])
    assert gains.loc[("full", "test in hindsight"), "alpha"] == 0.6
    assert gains.loc[("full", "test in hindsight"), "gain"] == pytest.approx(0.7773 - 0.7495)


def test_a_task_without_shift_sets_has_a_target_alone():
    frame = curves()
    table = wise_table(frame[frame["set"].isin(["val", "test"])])
    assert table["shift_accuracy"].isna().all()
    assert set(wise_gain(frame[frame["set"].isin(["val", "test"])])["choice"]) == {"validation", "test in hindsight"}


def test_holes_duplicates_and_missing_ends_are_refused():
    frame = curves()
    hole = frame[~((frame["alpha"] == 0.5) & (frame["set"] == "sketch"))]
    with pytest.raises(InputError, match=r"1 of 3 rows have no accuracy.*alpha 0.5: sketch"):
        wise_table(hole)
    with pytest.raises(InputError, match=r"same thing as another.*method lora"):
        wise_table(pd.concat([frame, frame]))
    with pytest.raises(InputError, match=r"'lora' \(task .*\) has no alpha 1.*Leave it out"):
        wise_gain(frame[frame["alpha"] < 1])
    with pytest.raises(InputError, match="unknown target 'imagenet'; known: noise:1"):
        wise_table(frame, target="imagenet")
    with pytest.raises(InputError, match="no column alpha"):
        wise_table(frame.drop(columns="alpha"))
    with pytest.raises(InputError, match="different backbone"):
        wise_table(frame.assign(backbone=["a"] * 6 + ["b"] * 6))


def test_gains_average_over_tasks_with_an_interval_over_them():
    gains = pd.DataFrame({"task": ["a", "b", "c"], "choice": "validation", "gain": [0.01, 0.03, 0.02]})
    [mean] = mean_gains(gains, by=["choice"]).to_dict("records")
    assert mean["gain"] == pytest.approx(0.02)
    assert (mean["low"], mean["high"]) == pytest.approx(stats.t.interval(0.95, 2, 0.02, stats.sem(gains["gain"])))
    assert (mean["count"], mean["interval"]) == (3, "t over task")
    alone = mean_gains(gains.iloc[:1], by=["choice"])
    assert alone["low"].isna().all()
    with pytest.raises(InputError, match="no column seed"):
        mean_gains(gains, by=["choice"], over=["seed"])
