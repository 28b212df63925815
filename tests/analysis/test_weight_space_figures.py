"""Figures of weight space and robustness: what is drawn is what was handed in, and all of it can be read."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import figures
from drawing import cut_off, faults, overlapping
from petl_study.errors import InputError

METHODS = ("linear", "full", "bitfit", "lora", "ssf", "houlsby_adapter")
TASKS = ("digits", "letters")
ALPHAS = np.linspace(0, 1, 6)


def curves(
    tasks=TASKS, methods=METHODS, merged=("all", "head"), seeds=(0, 1), sets=("val", "test", "noise:1", "sketch")
):
    cells = itertools.product(tasks, methods, merged, seeds, ALPHAS, sets)
    frame = pd.DataFrame(cells, columns=["task", "method", "merged", "seed", "alpha", "set"])
    chance = np.random.default_rng(0)
    return frame.assign(accuracy=0.5 + 0.3 * frame["alpha"] + chance.uniform(0, 0.1, len(frame)), loss=1.0)


def accuracies(tasks=TASKS, methods=METHODS, kinds=("noise", "blur", "contrast")) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    sets = [("test", "test", 0), *((f"{kind}:{s}", kind, s) for kind in kinds for s in (1, 2, 3))]
    rows = [
        {"task": task, "group": "natural", "method": method, "seed": seed, "set": name, "kind": kind, "severity": s,
         "accuracy": chance.uniform(0.7, 0.75) - 0.1 * s, "examples": 500}
        for task, method, seed, (name, kind, s) in itertools.product(tasks, methods, (0, 1), sets)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"severity": "Int64"})


def paths(methods=("lora", "ssf", "full"), points=5) -> pd.DataFrame:
    rows = []
    for (a, first), (b, second) in itertools.combinations(enumerate(methods), 2):
        for t in np.linspace(0, 1, points):
            pair = {"task": "digits", "run_a": a, "run_b": b, "method_a": first, "method_b": second}
            loss = 0.5 + t * (1 - t) + 0.1 * t
            measured = {"t": t, "loss": loss, "accuracy": 1 - loss / 2, "ensemble_loss": 0.5, "ensemble_accuracy": 0.8}
            rows.append({**pair, "seed_a": 0, "seed_b": int(first == second), **measured})
    return pd.DataFrame(rows)


def soup_gains() -> pd.DataFrame:
    soups = ("soup:uniform:folded", "soup:greedy:folded", "soup:uniform:tuned")
    against = ("best member", "best member on val", "mean member", "logit ensemble")
    rows = itertools.product(TASKS, ("lora, 3 seeds", "4 methods"), soups, against)
    frame = pd.DataFrame(rows, columns=["task", "of", "soup", "against"])
    return frame.assign(gain=0.01, low=-0.02, high=0.03, level=0.95)


def changes(methods=("full", "lora", "ssf")) -> pd.DataFrame:
    sites = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    frame = pd.DataFrame(
        itertools.product(methods, (0, 1), range(6), sites), columns=["method", "seed", "layer", "site"]
    )
    measures = dict.fromkeys(("effective_rank", "stable_rank", "energy_in_top", "left_overlap", "right_overlap"), 0.3)
    chances = dict.fromkeys(("energy_by_chance", "left_by_chance", "right_by_chance"), 0.1)
    norm = np.where((frame["method"] == "lora") & (frame["site"] != "attn.qkv"), 0.0, 0.05 * (1 + frame["layer"]))
    return frame.assign(task="digits", rows=96, relative_norm=norm, **measures, **chances)


def channels(tasks=("cells", "digits", "letters"), seeds=(0, 1), sites=("attn",), layers=6, width=96) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    rows = [
        {"task": task, "method": "sct", "seed": seed, "site": site, "layer": layer, "channel": int(c), "width": width}
        for site, task, layer in itertools.product(sites, tasks, range(layers))
        for c in chance.permutation(width // 3)[: width // 8]
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def overlaps(**of) -> pd.DataFrame:
    return analysis.channel_overlap_by_task(analysis.channel_overlap(channels(**of)))


def similarities(methods=METHODS, blocks=6, seeds=2) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    runs = [("pre-trained", pd.NA), *itertools.product(methods, range(seeds))]
    start = chance.normal(size=(16, 5))
    places = {
        name: [start + 0.05 * depth * chance.normal(size=start.shape) for _ in runs]
        for depth, name in enumerate([*(f"block {number}" for number in range(blocks)), "head"])
    }
    features = analysis.Features(pd.DataFrame(runs, columns=["method", "seed"]).astype({"seed": "Int64"}), places)
    return analysis.feature_similarity_by_method(features, rng=chance, draws=4)


@pytest.fixture(scope="module")
def drawn() -> dict[str, object]:
    scores = accuracies()
    gains = analysis.wise_gain(curves())
    effective = analysis.effective_robustness(scores, line=["linear", "full"])
    calibration = pd.DataFrame(itertools.product(TASKS, METHODS, range(4)), columns=["task", "method", "severity"])
    calibration = calibration.assign(ece=0.1, low=0.05, high=0.2, level=0.95, interval="t over seeds")
    return {
        "wise_curves": figures.wise_curves(analysis.wise_table(curves())),
        "wise_gain": figures.wise_gain(gains[gains["merged"] == "all"]),
        "soup_gain": figures.soup_gain(soup_gains()),
        "linear_paths": figures.linear_paths(paths()),
        "linear_paths_accuracy": figures.linear_paths(paths(("lora", "lora")), "accuracy"),
        "barrier_heat_map": figures.barrier_heat_map(analysis.barriers_by_method(analysis.barriers(paths(METHODS)))),
        "weight_change": figures.weight_change(changes()),
        "weight_overlap": figures.weight_change(changes(), "left_overlap"),
        "target_against_shift": figures.target_against_shift(analysis.target_against_shift(scores), effective),
        "retention": figures.retention(analysis.target_against_shift(scores)),
        "corruption_error": figures.corruption_error(analysis.mean_corruption_error(scores, normaliser="linear")),
        "corruption_by_kind": figures.corruption_by_kind(analysis.corruption_errors(scores, normaliser="linear")),
        "effective_robustness": figures.effective_robustness(effective),
        "calibration": figures.calibration_by_severity(calibration),
        "channel_map": figures.channel_map(channels()),
        "channel_overlap": figures.channel_overlap(overlaps()),
        "channel_overlap_qv": figures.channel_overlap(overlaps(sites=("q", "v"), seeds=(0,)), "jaccard"),
        "channel_overlap_by_block": figures.channel_overlap_by_block(overlaps(sites=("q", "v"))),
        "feature_similarity": figures.feature_similarity(similarities()),
        "features_along_blocks": figures.features_along_blocks(similarities()),
    }


NAMES = (
    *("wise_curves", "wise_gain", "soup_gain", "linear_paths", "linear_paths_accuracy", "barrier_heat_map"),
    *("weight_change", "weight_overlap", "target_against_shift", "retention", "corruption_error"),
    *("corruption_by_kind", "effective_robustness", "calibration"),
    *("channel_map", "channel_overlap", "channel_overlap_qv", "channel_overlap_by_block"),
    *("feature_similarity", "features_along_blocks"),
)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_overlaps_or_is_cut_off(drawn, name):
    assert overlapping(drawn[name]) == []
    assert cut_off(drawn[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_axes_have_labels_with_their_unit(drawn, name):
    labels = " ".join(ax.get_xlabel() + ax.get_ylabel() for ax in drawn[name].axes)
    assert any(
        unit in labels for unit in ("(%)", "%)", "points)", "(nats)", "linear: 1)", "log2", "% of runs)", "1: alike)")
    )


def test_the_line_is_the_sweep_and_the_large_mark_what_validation_chose():
    frame = curves(tasks=["digits"], methods=["lora"], merged=["all"])
    table = analysis.wise_table(frame)
    [ax] = figures.wise_curves(table).axes
    sweep = max(ax.lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(sweep.get_xdata(), 100 * table["accuracy"])
    np.testing.assert_allclose(sweep.get_ydata(), 100 * table["shift_accuracy"])
    mark = max((line for line in ax.lines if len(line.get_xdata()) == 1), key=lambda line: line.get_markersize())
    chosen = table[table["chosen"]]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == pytest.approx(
        (100 * chosen["accuracy"].item(), 100 * chosen["shift_accuracy"].item())
    )


def test_a_sweep_without_validation_says_that_it_has_no_result():
    frame = curves(tasks=["digits"], merged=["all"])
    figure = figures.wise_curves(analysis.wise_table(frame[frame["set"] != "val"]))
    assert "no point is a result" in figure.get_supxlabel()
    assert "hindsight" in figure.get_supxlabel()


def test_what_a_figure_cannot_show_is_refused():
    frame = curves(sets=("val", "test"))
    with pytest.raises(InputError, match="no task of the table has shift sets"):
        figures.wise_curves(analysis.wise_table(frame))
    with pytest.raises(InputError, match="unknown measure 'error'; known: accuracy, loss"):
        figures.linear_paths(paths(), "error")
    with pytest.raises(InputError, match="unknown measure"):
        figures.barrier_heat_map(paths(), "height")
    with pytest.raises(InputError, match="unknown measure 'rank'"):
        figures.weight_change(changes(), "rank")
    with pytest.raises(InputError, match="draw one task at a time"):
        figures.weight_change(pd.concat([changes(), changes().assign(task="letters")]))
    with pytest.raises(InputError, match="changed a weight matrix"):
        figures.weight_change(changes().assign(relative_norm=0.0))


def test_a_matrix_that_a_method_leaves_alone_has_no_line_of_it(drawn):
    lines = {ax.get_title(loc="left"): len(ax.lines) for ax in drawn["weight_change"].axes}
    assert lines == {"attn.qkv": 3, "attn.proj": 2, "mlp.fc1": 2, "mlp.fc2": 2}


def test_the_barrier_map_shows_the_lower_triangle():
    figure = figures.barrier_heat_map(analysis.barriers_by_method(analysis.barriers(paths())))
    shown = figure.axes[0].images[0].get_array()
    assert shown.mask.tolist() == [[False, True], [False, False]]
    assert shown[0, 0] == pytest.approx(0.25)


def test_thirty_methods_stay_readable():
    methods = [*METHODS, *(f"a_method_with_a_name_{i}" for i in range(24))]
    scores = accuracies(tasks=["digits"], methods=methods)
    for figure in (
        figures.wise_curves(analysis.wise_table(curves(tasks=["digits"], methods=methods, merged=["all"]))),
        figures.corruption_by_kind(analysis.corruption_errors(scores, normaliser="linear")),
        figures.barrier_heat_map(analysis.barriers_by_method(analysis.barriers(paths(methods)))),
        figures.feature_similarity(similarities(methods, blocks=1, seeds=1)),
        figures.features_along_blocks(similarities(methods, blocks=12, seeds=1)),
    ):
        assert overlapping(figure) == []


def test_nineteen_tasks_of_768_channels_stay_readable():
    tasks = [*(f"task_{i}" for i in range(18)), "clevr_closest_distance"]
    table = overlaps(tasks=tasks, seeds=(0,), sites=("q", "v"), layers=2, width=32)
    for figure in (
        figures.channel_map(channels(tasks, (0,), layers=12, width=768)),
        figures.channel_overlap(table),
        figures.channel_overlap_by_block(table),
    ):
        assert faults(figure) == []


def test_a_map_shows_in_which_share_of_its_runs_a_task_chose_a_channel():
    frame = pd.concat([channels(tasks=("a",), seeds=(0,)), channels(tasks=("b",), seeds=(0, 1))])
    frame = frame[~((frame["task"] == "b") & (frame["seed"] == 1) & (frame["channel"] % 2 == 0))]
    mean, *of_tasks = [ax.images[0].get_array() for ax in figures.channel_map(frame).axes[:3]]
    for shown, task in zip(of_tasks, "ab", strict=True):
        times = frame[frame["task"] == task].groupby(["layer", "channel"]).size()
        runs = frame.loc[frame["task"] == task, "seed"].nunique()
        for (layer, channel), count in times.items():
            assert shown[layer, channel] == pytest.approx(100 * count / runs)
        assert (shown > 0).sum() == len(times)
    np.testing.assert_allclose(mean, np.mean(of_tasks, axis=0))


def test_blocks_of_a_narrower_stage_end_where_their_channels_do():
    frame = pd.concat([channels(layers=1, width=48), channels(layers=1, width=96).assign(layer=1)])
    shown = figures.channel_map(frame).axes[0].images[0].get_array()
    assert shown.mask[0].tolist() == [False] * 48 + [True] * 48
    assert not shown.mask[1].any()


def test_the_overlap_map_shows_all_blocks_below_the_diagonal_and_rings_what_chance_gives():
    table = overlaps()
    table.loc[(table["task_a"] == "letters") & (table["task_b"] == "cells"), "p_holm"] = 0.2
    ax, bar = figures.channel_overlap(table).axes
    shown = ax.images[0].get_array()
    assert shown.mask.tolist() == [[False, True, True], [False, False, True], [False, False, False]]
    whole = table[table["layer"].isna()].set_index(["task_a", "task_b"])
    assert shown[2, 1] == pytest.approx(100 * whole.loc[("letters", "digits"), "share"])
    [rings] = ax.lines
    assert (rings.get_xdata().tolist(), rings.get_ydata().tolist()) == ([0], [2])
    assert bar.lines[-1].get_ydata() == pytest.approx([12.5, 12.5])


def test_along_blocks_a_method_stands_beside_its_seeds_and_the_pretrained_backbone():
    table = similarities(("lora", "ssf"))
    figure = figures.features_along_blocks(table)
    for ax, method in zip(figure.axes, ("lora", "ssf"), strict=True):
        of_method = table[table["method_a"] == method].sort_values("depth")
        for line, other in zip(ax.lines, (method, "pre-trained"), strict=True):
            np.testing.assert_allclose(line.get_ydata(), of_method.loc[of_method["method_b"] == other, "cka"])


def test_four_places_are_drawn_unless_others_are_asked_for():
    table = similarities(("lora", "ssf"))

    def titles(*asked) -> list[str]:
        return [ax.get_title(loc="left") for ax in figures.feature_similarity(table, *asked).axes[:-1]]

    assert titles() == ["block 0", "block 2", "block 4", "head"]
    assert titles(["head", "block 5"]) == ["block 5", "head"]
    with pytest.raises(InputError, match="unknown layer 'block 9'"):
        titles(["block 9"])


def test_channels_and_features_that_cannot_be_drawn_are_refused():
    with pytest.raises(InputError, match=r"of q, v; draw one"):
        figures.channel_map(channels(sites=("q", "v")))
    alone = overlaps(tasks=("cells",))
    for draw in (figures.channel_overlap, figures.channel_overlap_by_block):
        with pytest.raises(InputError, match="compared between tasks"):
            draw(alone)
        with pytest.raises(InputError, match="unknown measure 'kappa'; known: jaccard, share"):
            draw(overlaps(), "kappa")
    table = similarities(("lora", "ssf"))
    for draw in (figures.feature_similarity, figures.features_along_blocks):
        with pytest.raises(InputError, match="of a, b; draw one task"):
            draw(pd.concat([table.assign(task="a"), table.assign(task="b")]))
    with pytest.raises(InputError, match="no method 'pre-trained'"):
        figures.features_along_blocks(table[(table["method_a"] != "pre-trained")])
