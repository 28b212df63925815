from __future__ import annotations

import doctest

import pandas as pd
import pytest

import analysis
import studies
from analysis import steadiness
from analysis.steadiness import jump
from petl_study import store


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([], None),
        ([2.0], None),
        ([2.0, 1.5, 1.0], None),
        ([1.0, 2.0, 0.5], None),  # to twice is no more than twice
        ([1.0, 2.1, 0.5], 1),
        ([1.0, 2.1, 0.5, 4.0, 3.0], 3),  # the largest
        ([0.001, 0.01, 0.09], None),  # of nearly nothing much more is still nothing
        ([1.0, None], 1),
        ([None, 1.0], 0),
    ],
)
def test_a_jump_is_from_the_lowest_before_to_the_largest_above_it(losses, found):
    assert jump(losses) == found


def test_the_docstring_runs():
    assert doctest.testmod(steadiness).failed == 0


def test_trainings_that_jumped_are_listed_with_what_they_were(tmp_path):
    path = studies.write_study(tmp_path / "s", tasks=["count"], methods=["lora", "ssf"], seeds=[0], examples=8)
    assert list(analysis.load_unsteady(path).columns) == steadiness.UNSTEADY
    assert analysis.load_unsteady(path).empty
    [run] = [r for r in store.Study(path).records("run") if r.spec["method"] == "ssf"]
    losses = (1.0, 0.5, 3.0, None)
    curve = [{"epoch": e + 1, "lr": 1e-3, "train_loss": loss} for e, loss in enumerate(losses)]
    (run.path / "record.json").write_bytes(store.canonical(store.seal({**run.header, "curve": curve})))
    [row] = analysis.load_unsteady(path).to_dict("records")
    assert (row["method"], row["kind"], row["epoch"], row["lowest_before"], row["epochs"]) == ("ssf", "run", 4, 0.5, 4)
    assert pd.isna(row["loss"])
    (run.path / "record.json").write_bytes(store.canonical(store.seal({**run.header, "curve": curve[:3]})))
    [row] = analysis.load_unsteady(path).to_dict("records")
    assert (row["epoch"], row["loss"], row["last_loss"]) == (3, 3.0, 3.0)
    assert analysis.load_unsteady(path, factor=7.0).empty
