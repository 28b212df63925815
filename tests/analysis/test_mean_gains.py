from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import mean_gains
from petl_study.errors import InputError


def test_values_of_one_task_are_averaged_before_tasks_are():
    gains = pd.DataFrame({"task": ["a", "a", "a", "b"], "rule": "vote", "gain": [0.0, 0.0, 0.3, 0.4]})
    row = mean_gains(gains, by=["rule"]).iloc[0]
    assert (row["count"], row["gain"]) == (2, pytest.approx((0.1 + 0.4) / 2))


def test_a_gain_that_is_nan_is_not_left_out_of_the_mean():
    gains = pd.DataFrame({"task": ["a", "b", "a", "b"], "rule": ["vote", "vote", "mean", "mean"]})
    table = mean_gains(gains.assign(gain=[0.1, np.nan, 0.1, 0.3]), by=["rule"]).set_index("rule")
    assert table.loc["vote", ["gain", "low", "high"]].isna().all()
    assert table.loc["mean", "gain"] == pytest.approx(0.2)


def test_a_kept_value_that_is_missing_keeps_its_rows():
    gains = pd.DataFrame({"task": ["a", "b"], "size": [8.0, np.nan], "gain": [0.1, 0.2]})
    assert mean_gains(gains, by=["size"])["gain"].tolist() == [0.1, 0.2]


def test_no_gains_are_refused():
    with pytest.raises(InputError, match="there are no gains"):
        mean_gains(pd.DataFrame(columns=["task", "rule", "gain"]), by=["rule"])
