"""Tables of how alike features are, on features made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.features import PRETRAINED
from petl_study.errors import InputError

METHODS, SEEDS, N = ("lora", "ssf"), (0, 1, 2), 40


def features(rng, examples: int = N, **columns: object) -> analysis.Features:
    """The pre-trained backbone, and two methods under three seeds, each of which moves it in a direction of its own."""
    start, moves = rng.normal(size=(examples, 8)), rng.normal(size=(len(METHODS), examples, 8))
    runs = pd.DataFrame([(PRETRAINED, pd.NA), *itertools.product(METHODS, SEEDS)], columns=["method", "seed"])
    places = {}
    for depth, name in enumerate(("block 0", "block 1", "head")):
        of_runs = [start + depth * move + 0.3 * rng.normal(size=start.shape) for move in moves for _ in SEEDS]
        places[name] = [start, *of_runs]
    return analysis.Features(runs.astype({"seed": "Int64"}).assign(**columns), places)


def test_a_row_of_every_pair_at_every_place_has_the_cka_of_the_two(rng):
    made = features(rng, task="digits")
    table = analysis.feature_similarity(made, rng=rng, draws=20)
    assert len(table) == 3 * 21
    assert set(table["task"]) == {"digits"}
    assert table.drop_duplicates("layer")[["layer", "depth"]].to_numpy().tolist() == [
        ["block 0", 0],
        ["block 1", 1],
        ["head", 2],
    ]
    for row in table.to_dict("records"):
        two = [made.places[row["layer"]][row[side]] for side in ("run_a", "run_b")]
        assert row["cka"] == pytest.approx(analysis.linear_cka(two)[0, 1], abs=1e-12)
        assert row["cka_biased"] == pytest.approx(analysis.linear_cka(two, unbiased=False)[0, 1], abs=1e-12)
    assert (table["cka_low"] < table["cka_high"]).all()
    assert table.loc[table["method_a"] == PRETRAINED, "seed_a"].isna().all()


def test_the_interval_is_as_wide_as_other_examples_would_scatter():
    rng = np.random.default_rng(1)
    runs = pd.DataFrame({"method": ["a", "b"], "seed": [0, 0]})
    scale = 1 / np.arange(1, 13)  # a spectrum that falls, as that of features does

    def drawn(examples: int) -> list[np.ndarray]:
        shared, own = rng.normal(size=(2, examples, 12)) * scale
        return [shared, 0.6 * shared + 0.4 * own]

    truth = analysis.linear_cka(drawn(1000))[0, 1]
    found = [analysis.linear_cka(drawn(64))[0, 1] for _ in range(100)]
    expected = np.subtract(*np.quantile(found, [0.975, 0.025]))
    tables = [
        analysis.feature_similarity(analysis.Features(runs, {"head": drawn(64)}), rng=rng, draws=40) for _ in range(20)
    ]
    table = pd.concat(tables)
    assert (table["cka_high"] - table["cka_low"]).mean() == pytest.approx(expected, rel=0.25)
    assert ((table["cka_low"] < truth) & (truth < table["cka_high"])).mean() > 0.8


def test_of_unrelated_features_the_interval_holds_zero(rng):
    runs = pd.DataFrame({"method": ["a", "b"], "seed": [0, 0]})
    held = [
        analysis.feature_similarity(analysis.Features(runs, {"head": list(rng.normal(size=(2, 30, 60)))}), rng=rng)
        for _ in range(10)
    ]
    table = pd.concat(held)
    assert ((table["cka_low"] < 0) & (table["cka_high"] > 0)).sum() >= 9  # a bootstrap's lie above


def test_the_same_chance_gives_the_same_interval_and_a_run_is_wholly_like_its_copy(rng):
    made = features(rng)
    first, again = (analysis.feature_similarity(made, rng=np.random.default_rng(3), draws=9) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    runs = pd.DataFrame({"method": ["linear", PRETRAINED], "seed": [0, pd.NA]})
    same = analysis.Features(runs, {"head": [made.places["head"][1]] * 2})
    [row] = analysis.feature_similarity(same, rng=rng, draws=9).to_dict("records")
    assert [row["cka"], row["cka_low"], row["cka_high"]] == pytest.approx([1.0] * 3, abs=1e-12)


def test_of_two_methods_it_is_the_mean_over_their_pairs_of_runs(rng):
    made = features(rng)
    pairs = analysis.feature_similarity(made, rng=rng, draws=5)
    table = analysis.feature_similarity_by_method(made, rng=rng, draws=5).set_index(["layer", "method_a", "method_b"])
    for (layer, a, b), some in pairs.groupby(["layer", "method_a", "method_b"]):
        assert table.loc[(layer, a, b), "cka"] == pytest.approx(some["cka"].mean(), abs=1e-12)
        assert table.loc[(layer, a, b), "pairs"] == len(some)
        assert table.loc[(layer, b, a), "cka"] == table.loc[(layer, a, b), "cka"]
    assert ("head", PRETRAINED, PRETRAINED) not in table.index
    assert len(table) == 3 * (1 + 2 + 2 + 2 + 1)


def test_beyond_seeds_is_between_methods_minus_within_over_pairs_of_two_seeds(rng):
    made = features(rng)
    pairs = analysis.feature_similarity(made, rng=rng, draws=5)
    pairs = pairs[(pairs["layer"] == "head") & (pairs["seed_a"] != pairs["seed_b"]).fillna(False)]
    means = pairs.groupby(["method_a", "method_b"])["cka"].mean()
    expected = means["lora", "ssf"] - (means["lora", "lora"] + means["ssf", "ssf"]) / 2
    table = analysis.feature_similarity_by_method(made, rng=rng, draws=50)
    table = table[table["layer"] == "head"].set_index(["method_a", "method_b"])
    assert table.loc[("lora", "ssf"), "cka_beyond"] == pytest.approx(expected, abs=1e-12)
    assert table.loc[("lora", "ssf"), "cka_beyond_high"] < 0  # the two move in directions of their own
    assert np.isnan(table.loc[("lora", "lora"), "cka_beyond"])
    assert np.isnan(table.loc[(PRETRAINED, "ssf"), "cka_beyond"])


def test_a_run_that_says_nothing_is_left_out_of_the_means_and_spoils_no_other(rng):
    made = features(rng)
    before = analysis.feature_similarity_by_method(made, rng=rng, draws=5)
    made.places["head"][1] = np.ones((N, 8))  # of lora, seed 0
    after = analysis.feature_similarity_by_method(made, rng=rng, draws=5)
    of_ssf = after["method_a"].eq("ssf") & after["method_b"].eq("ssf")
    np.testing.assert_array_equal(after.loc[of_ssf, "cka"], before.loc[of_ssf, "cka"])
    pairs = analysis.feature_similarity(made, rng=rng, draws=5)
    of_lora = pairs[(pairs["layer"] == "head") & (pairs["method_a"] == "lora") & (pairs["method_b"] == "lora")]
    assert of_lora["cka"].isna().sum() == 2
    shown = after[(after["layer"] == "head") & (after["method_a"] == "lora") & (after["method_b"] == "lora")]
    assert shown["cka"].item() == pytest.approx(of_lora["cka"].mean())


def test_what_cannot_be_compared_is_refused(rng):
    runs, places = features(rng).runs, features(rng).places
    with pytest.raises(InputError, match="7 models, for 6 runs"):
        analysis.Features(runs.iloc[:6], places)
    with pytest.raises(InputError, match="at least one place"):
        analysis.Features(runs, {})
    with pytest.raises(InputError, match="no column seed"):
        analysis.Features(runs[["method"]], places)
    with pytest.raises(InputError, match="same examples; got 20, 40"):
        analysis.Features(runs, {**places, "late": [one[:20] for one in places["head"]]})
    with pytest.raises(InputError, match="at least 8 examples, halves of 4; got 7"):
        analysis.feature_similarity(features(rng, 7), rng=rng)
    with pytest.raises(InputError, match="of one task; got digits, letters"):
        both = runs.assign(task=["digits", *["letters"] * 6])
        analysis.feature_similarity(analysis.Features(both, places), rng=rng)
    with pytest.raises(InputError, match="needs at least two runs"):
        analysis.feature_similarity(analysis.Features(runs.iloc[:1], {"head": places["head"][:1]}), rng=rng)
    with pytest.raises(InputError, match="different backbone"):
        analysis.feature_similarity(analysis.Features(runs.assign(backbone=list("abababa")), places), rng=rng)
    for asked, complaint in (({"level": 1.5}, "level must be"), ({"draws": 0}, "draws must be")):
        with pytest.raises(InputError, match=complaint):
            analysis.feature_similarity(features(rng), rng=rng, **asked)
