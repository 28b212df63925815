from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from petl_study.errors import InputError

# Of the tables of V-PETL Bench: tuned parameters in millions, accuracy (or AP) in %, PPT as printed. Its backbones are
# ViT-B/16, Video Swin-B, Swin-B and Swin-L.
PUBLISHED = [
    *((0.0, 79.32, 0.79), (0.41, 85.66, 0.84), (0.85, 89.10, 0.86), (2.38, 71.70, 0.65), (0.36, 90.00, 0.89)),
    *((6.37, 39.46, 0.32), (1.56, 68.66, 0.64), (12.60, 49.2, 0.35), (4.16, 53.4, 0.46), (28.34, 85.4, 0.48)),
]


def means(parameters, accuracy) -> pd.DataFrame:
    accuracy = np.asarray(accuracy, dtype=float)
    names = [f"m{i}" for i in range(len(accuracy))]
    columns = {"method": names, "tuned_parameters": parameters, "accuracy": accuracy}
    return pd.DataFrame({**columns, "low": accuracy - 0.01, "high": accuracy + 0.02})


def test_the_published_values_come_out():
    millions, accuracy, printed = np.array(PUBLISHED).T
    table = analysis.ppt(means(1e6 * millions, accuracy / 100)).sort_values("method")
    assert table["ppt"].round(2).tolist() == printed.tolist()


def test_ten_million_cost_as_much_as_the_logarithm_of_two():
    table = analysis.ppt(means([0, 1e7], [0.8, 0.8])).set_index("method")
    assert table["ppt"].to_dict() == {"m0": 0.8, "m1": pytest.approx(0.8 * np.exp(-np.log10(2)))}
    assert (table["scale"] == 1e7).all()


def test_the_interval_is_the_accuracys_discounted_alike():
    table = analysis.ppt(means([3e6], [0.7]))
    factor = table["ppt"][0] / 0.7
    assert table[["ppt_low", "ppt_high"]].iloc[0].tolist() == pytest.approx([0.69 * factor, 0.72 * factor])


def test_a_smaller_backbone_has_a_smaller_scale():
    small = analysis.ppt(means([1e5], [0.7]), backbone_parameters=85_798_656 / 100)
    assert small["ppt"][0] == pytest.approx(analysis.ppt(means([1e7], [0.7]))["ppt"][0])
    assert small["scale"][0] == pytest.approx(1e5)
    for wrong in (0, -1, np.nan):
        with pytest.raises(InputError, match="backbone_parameters must be how many numbers"):
            analysis.ppt(means([1], [0.5]), backbone_parameters=wrong)


def test_the_best_is_on_top_of_its_scope_and_an_unknown_size_has_none():
    two = pd.concat([means([0, 1, 2], [0.5, 0.7, 0.6]).assign(scope=scope) for scope in ("b", "a")])
    two.loc[(two["scope"] == "a") & (two["method"] == "m1"), "tuned_parameters"] = np.nan
    table = analysis.ppt(two)
    assert table["scope"].tolist() == ["b"] * 3 + ["a"] * 3
    assert table["method"].tolist() == ["m1", "m2", "m0", "m2", "m0", "m1"]
    assert table["ppt"].isna().tolist() == [False] * 5 + [True]


def test_it_takes_the_means_of_a_study():
    published = analysis.load_published(protocol="default")
    table = analysis.ppt(analysis.mean_accuracies(published)).query("scope == 'all tasks'").set_index("method")
    accuracy = published.groupby("method")["test_accuracy"].mean()
    assert table.loc["ssf", "ppt"] == pytest.approx(accuracy["ssf"] * np.exp(-np.log10(205_824 / 1e7 + 1)))
    assert np.isnan(table.loc["full", "ppt"])  # its size was not published
