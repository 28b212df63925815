from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import Predictions, calibration, calibration_by_severity, calibration_under_shift
from petl_study.errors import InputError

RUNS = pd.DataFrame({"method": ["lora", "lora", "ssf"], "seed": [0, 1, 0]})


def predictions(seed: int, skill: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=120)
    logits = rng.normal(size=(len(RUNS), 120, 4))
    logits[:, np.arange(120), labels] += skill
    return Predictions(labels, 3 * logits, RUNS)


SETS = {"test": 2.0, "noise:1": 1.5, "noise:2": 0.5, "blur:1": 1.2, "blur:2": 0.7, "sketch": 1.0}


@pytest.fixture
def sets() -> dict[str, Predictions]:
    return {name: predictions(i, skill) for i, (name, skill) in enumerate(SETS.items())}


def test_every_set_has_the_calibration_of_its_own_predictions(sets, rng):
    table = calibration_under_shift(sets, rng=rng, draws=5)
    assert len(table) == len(SETS) * len(RUNS)
    for name, preds in sets.items():
        own = calibration(preds, rng=rng, draws=5)
        np.testing.assert_allclose(table.loc[table["set"] == name, "ece"], own["ece"])
    assert table.loc[table["set"] == "sketch", "severity"].isna().all()
    assert set(table.loc[table["set"] == "test", "severity"]) == {0}


def test_a_severity_is_the_mean_over_kinds_then_over_seeds(sets, rng):
    table = calibration_under_shift(sets, rng=rng, draws=5)
    by_severity = calibration_by_severity(table).set_index(["method", "severity"])
    assert set(by_severity.index) == {(m, s) for m in ("lora", "ssf") for s in (0, 1, 2)}
    at_two = table[table["set"].isin(["noise:2", "blur:2"]) & (table["method"] == "lora")]
    by_seed = at_two.groupby("seed")["ece"].mean().to_numpy()
    row = by_severity.loc[("lora", 2)]
    assert row["ece"] == pytest.approx(by_seed.mean())
    assert row["high"] == pytest.approx(min(1, stats.t.interval(0.95, 1, by_seed.mean(), stats.sem(by_seed))[1]))
    assert (row["kinds"], row["seeds"]) == (2, 2)
    assert by_severity.loc[("ssf", 2), "interval"] == "none"


def test_temperatures_are_those_that_were_handed_in(sets, rng):
    hot = calibration_under_shift(sets, temperatures=[3.0, 3.0, 3.0], rng=rng, draws=5)
    cold = calibration_under_shift(sets, rng=rng, draws=5)
    assert (hot["confidence"] < cold["confidence"]).all()
    assert (hot["accuracy"] == cold["accuracy"]).all()


def test_sets_of_other_runs_are_refused(sets, rng):
    other = sets["test"].select([0, 2])
    with pytest.raises(InputError, match="'test' is of the runs lora, seed 0; lora, seed 1; ssf, seed 0 but 'fog:1'"):
        calibration_under_shift({"test": sets["test"], "fog:1": other}, rng=rng)
    with pytest.raises(InputError, match="at least one set"):
        calibration_under_shift({}, rng=rng)


def test_a_kind_that_lacks_a_severity_does_not_shift_the_mean(sets, rng):
    table = calibration_under_shift(sets, rng=rng, draws=5)
    lacking = table[table["set"] != "blur:2"]
    without = calibration_by_severity(table[table["kind"] != "blur"])
    pd.testing.assert_frame_equal(calibration_by_severity(lacking), without)
    several = pd.concat([lacking.assign(task="a"), table.assign(task="b")])
    kinds = calibration_by_severity(several).query("severity == 1").groupby("task")["kinds"].first()
    assert kinds.to_dict() == {"a": 1, "b": 2}
