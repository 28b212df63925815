"""The source's numbers come out as its records give them; what is pinned here was computed from those directly."""

from __future__ import annotations

import statistics
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import load_published
from analysis.rows import ACCURACY, RUN, TRIAL
from petl_study.errors import InputError

ROWS = {"vtab1k": 320, "search": 12_758, "manyshot": 155, "robustness": 65, "wise": 665, "parameters": 35}
MEAN_RANKS = {  # of the last epoch, default protocol: the best three of every group and the last
    "natural": {"difffit": 4.5, "convpass": 5.5714, "fact_tt": 5.7143, "full": 15.2857},
    "specialized": {"houlsby_adapter": 3.5, "fact_tk": 4.5, "adaptformer": 4.75, "full": 13.0},
    "structured": {"convpass": 3.75, "houlsby_adapter": 4.3125, "pfeiffer_adapter": 4.875, "linear": 15.625},
}
PAPER_RANKS = {"natural": {"difffit": 5.0714}, "specialized": {"convpass": 3.125}, "structured": {"convpass": 3.6875}}
OPTIMISM = {"full": 7.4268, "vpt_deep": 1.51, "pfeiffer_adapter": 0.8611, "lora": 0.6921, "linear": 0.2879}  # points
WISE = {  # target, mean of four shifts, in per cent
    ("full", 0.0): (67.69, 58.6725),
    ("full", 0.5): (77.69, 57.5075),
    ("full", 1.0): (74.95, 42.5025),
    ("lora", 0.5): (74.92, 61.05),
    ("lora", 1.0): (76.56, 55.9375),
}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return load_published(protocol="default")


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return load_published("search", "default")


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("vtab1k", RUN), ("manyshot", RUN), ("search", TRIAL), ("robustness", ACCURACY), ("wise", ACCURACY)],
)
def test_every_record_is_there_in_the_columns_of_own_studies(kind, columns):
    table = load_published(kind)
    assert len(table) == ROWS[kind]
    assert list(table.columns)[: len(columns)] == columns
    accuracies = table[[name for name in table if name.endswith("accuracy")]].to_numpy()
    assert 0 <= np.nanmin(accuracies) < 0.4
    assert 0.7 < np.nanmax(accuracies) <= 1
    assert table["protocol"].str.startswith("published: ").all()


def test_what_is_withheld_is_missing_and_never_zero():
    table = load_published("parameters")
    assert len(table) == ROWS["parameters"]
    assert table["tuned_parameters"].notna().all()
    known = load_published()["tuned_parameters"]
    assert 0 < known.isna().sum() < len(known)
    assert (known.dropna() > 0).all()
    means = analysis.mean_accuracies(load_published(protocol="default")).set_index(["scope", "method"])
    sizes = means[["tuned_parameters", "fewest_parameters", "most_parameters"]]
    assert sizes.loc[("specialized", "adaptformer")].notna().all()
    assert sizes.loc[("natural", "adaptformer")].isna().all()  # withheld on some of these tasks


def test_protocols_are_never_mixed_in_silence(runs, rng):
    for table in (analysis.accuracy_table, analysis.mean_accuracies, lambda f: analysis.mean_ranks(f, rng=rng)):
        with pytest.raises(InputError, match=r"different protocol .*published: aug_norm .*; published: default"):
            table(load_published())
    own = runs.assign(protocol="vtab", backbone="micro_vit")
    with pytest.raises(InputError, match="different protocol"):
        analysis.require_comparable(pd.concat([runs, own]))
    with pytest.raises(InputError, match="different protocol"):
        analysis.expected_best(load_published("search"))


def test_side_by_side_protocols_keep_their_names(runs, rng):
    own = runs[runs["task"].isin(["dtd", "svhn"])].assign(protocol="mine")
    both = analysis.by_protocol(pd.concat([runs, own]), analysis.mean_ranks, rng=rng)
    assert both.groupby("protocol")["tasks"].first().to_dict() == {"mine": 2, "published: default": 19}
    figure = analysis.figures.mean_ranks(both)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["mine", "published: default"]


@pytest.mark.parametrize("group", MEAN_RANKS)
def test_mean_ranks_of_every_group_are_the_sources(runs, rng, group):
    some = runs[runs["group"] == group]
    by_task = defaultdict(dict)
    for task, method, accuracy in some[["task", "method", "test_accuracy"]].itertuples(index=False):
        by_task[task][method] = accuracy
    ranks = defaultdict(list)
    for of_task in by_task.values():
        for method, accuracy in of_task.items():
            better = sum(other > accuracy for other in of_task.values())
            ranks[method].append(better + (1 + sum(other == accuracy for other in of_task.values())) / 2)
    found = analysis.mean_ranks(some, rng=rng).set_index("method")["mean_rank"]
    assert found.to_dict() == pytest.approx({method: statistics.mean(of) for method, of in ranks.items()})
    pinned = MEAN_RANKS[group]
    assert found[list(pinned)].to_dict() == pytest.approx(pinned, abs=1e-4)
    assert list(found.index[:3]) == list(pinned)[:3]
    assert found.index[-1] == list(pinned)[-1]


def test_the_papers_own_mixture_is_there_under_its_name(rng):
    paper = load_published(protocol="paper")
    assert set(paper["protocol"]) == {"published: paper"}
    assert len(paper) == 19 * 16
    for group, pinned in PAPER_RANKS.items():
        found = analysis.mean_ranks(paper[paper["group"] == group], rng=rng).set_index("method")["mean_rank"]
        assert found.index[0] == next(iter(pinned))
        assert found.iloc[0] == pytest.approx(pinned[found.index[0]], abs=1e-4)
    full = paper[(paper["task"] == "cifar") & (paper["method"] == "full")]
    assert full["test_accuracy"].item() == 0.6241


def test_full_fine_tuning_is_flattered_most(runs, rng):
    table = analysis.optimism(runs, "best_epoch_accuracy", "test_accuracy", rng=rng).set_index("method")
    assert table.index[0] == "full"
    assert (100 * table.loc[list(OPTIMISM), "optimism"]).to_dict() == pytest.approx(OPTIMISM, abs=1e-3)
    adapted = table.drop(index=["full", "linear"])["optimism"]
    assert adapted.mean() == pytest.approx(0.0065, abs=1e-4)
    assert table.loc["full", "low"] > adapted.max()


def test_the_size_of_the_grid_goes_with_rank(runs, rng):
    table = analysis.budget_correlation(runs, rng=rng).set_index("scope")
    assert table["spearman"].round(2).to_dict() == {
        "natural": -0.31,
        "specialized": -0.71,
        "structured": -0.81,
        "all tasks": -0.77,
    }
    assert table.loc["all tasks", "high"] < 0
    assert table.loc["natural", "high"] > 0
    sizes = runs.groupby("method")["search_trials"].agg(["min", "max"])
    assert (sizes["min"] == sizes["max"]).all()
    assert (sizes["min"].min(), sizes["min"].max()) == (4, 80)


def test_wise_curves_are_the_sources():
    table = load_published("wise")
    table = table[table["merged"] == "all"]
    for (method, alpha), (target, shifts) in WISE.items():
        point = table[(table["method"] == method) & (table["alpha"] == alpha)].set_index("set")["accuracy"]
        assert 100 * point["test"] == pytest.approx(target)
        assert 100 * point.drop("test").mean() == pytest.approx(shifts)


def test_shift_sets_were_tested_with_the_stored_weights():
    table = load_published("robustness")
    assert not table.duplicated(["method", "set"]).any()
    on_test = table[table["set"] == "test"].set_index("method")
    assert on_test.loc["full", ["accuracy", "final_epoch_accuracy", "best_epoch_accuracy"]].tolist() == [
        0.7495,
        0.7284,
        0.7452,
    ]
    shifts = analysis.shift_table(table)
    assert (shifts.groupby("method").size() == 5).all()
    assert shifts["low"].notna().all()


def test_the_point_that_was_chosen_is_among_the_trials(trials, runs):
    assert (trials.groupby(["task", "method"])["selected"].sum() == 1).all()
    chosen = trials[trials["selected"]].set_index(["task", "method"])["val_accuracy"]
    said = runs.set_index(["task", "method"])["val_accuracy"]
    assert said.sub(chosen).abs().max() == 0
    best = trials.groupby(["task", "method"])["val_accuracy"].max()
    assert (chosen == best.reindex(chosen.index)).mean() > 0.99


def test_the_chosen_point_has_the_names_of_this_projects_hyperparameters(trials):
    names = {name for point in trials["hyperparameters"] for name in point}
    assert names == {"bottleneck", "scale", "rank", "prompts", "xavier_init"}
    trials["hyperparameters"].iloc[0]["changed"] = True  # every row has a dict of its own
    assert sum("changed" in point for point in trials["hyperparameters"]) == 1
    del trials["hyperparameters"].iloc[0]["changed"]


def test_every_grid_is_full_and_no_trial_is_lost(trials):
    shares = analysis.importance_by_task(trials)
    assert shares["balanced"].all()
    curves = analysis.expected_best(trials)
    assert len(curves) == len(trials) == 19 * 516
    assert curves[curves["budget"] == curves["trials"]]["expected"].max() == 1.0


def test_test_sizes_agree_with_the_recorded_digits(runs):
    """Accuracies are whole numbers of images, rounded to two decimals of a per cent; only caltech101's are not."""
    odd = set()
    for task, some in runs.groupby("task"):
        n = some["test_examples"].iloc[0]
        recorded = 100 * some[["test_accuracy", "best_epoch_accuracy"]].to_numpy().ravel()
        whole = np.round(100 * np.round(recorded * n / 100) / n, 2)
        if not np.allclose(whole, recorded, atol=1e-9):
            odd.add(task)
    assert odd == {"caltech101"}


def test_many_shot_results_name_their_data_set_and_size(rng):
    table = load_published("manyshot")
    assert table.groupby("dataset")["train_examples"].unique().map(sorted).to_dict() == {
        "cifar100": [500, 50_000],
        "clevr_dist": [70_000],
        "resisc45": [225, 25_200],
    }
    found = analysis.overtaking(table, rng=rng)
    assert set(found["interval"]) == {"none"}  # one seed
    ssf = found[(found["dataset"] == "resisc45") & (found["method"] == "ssf")].iloc[0]
    assert ssf["outcome"] == "baseline overtakes"
    assert 225 < ssf["crossing"] < 25_200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vtab",), "unknown kind of published result 'vtab'.*Did you mean 'vtab1k'"),
        (("vtab1k", "defaults"), "published vtab1k: unknown protocol 'defaults'; known: aug_norm, default"),
        (("wise", "paper"), "the protocol 'paper' is of 'vtab1k' alone"),
    ],
)
def test_what_was_not_published_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        load_published(*arguments)
