"""The figure beside a table draws what the table function returns, as it returns it, and says what its bars are."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from drawn import predictions
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import analysis
from analysis import figures
from analysis.palette import style
from drawing import faults
from petl_study.errors import InputError

METHODS = ("linear", "full", "lora", "ssf")


def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def said(seeds: int = 2, N: int = 80) -> analysis.Predictions:
    return predictions(chance(), METHODS, seeds, N=N, skill=2.5)


def accuracies(seeds: tuple[int, ...] = (0, 1), kinds: tuple[str, ...] = ("noise", "blur")) -> pd.DataFrame:
    rng = chance()
    sets = [("val", "val", pd.NA), ("test", "test", 0), *((f"{k}:{s}", k, s) for k in kinds for s in (1, 2))]
    rows = [
        {"task": "digits", "method": method, "seed": seed, "set": name, "kind": kind, "severity": severity,
         "accuracy": rng.uniform(0.6, 0.8), "examples": 500}
        for method, seed, (name, kind, severity) in itertools.product(METHODS, seeds, sets)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"severity": "Int64"})


def curves() -> pd.DataFrame:
    rows = itertools.product(METHODS, ("all", "head"), (0.0, 0.5, 1.0), ("val", "test", "sketch"))
    frame = pd.DataFrame(rows, columns=["method", "merged", "alpha", "set"])
    return frame.assign(accuracy=chance().uniform(0.5, 0.9, len(frame)), examples=500)


def paths() -> pd.DataFrame:
    runs = list(itertools.product(METHODS[:3], (0, 1, 2)))
    rows = [
        {"run_a": i, "run_b": j, "method_a": a[0], "method_b": b[0], "seed_a": a[1], "seed_b": b[1], "t": t,
         "loss": 0.3 + (1 + (i + j) / 9) * t * (1 - t), "accuracy": 0.9 - 0.2 * t * (1 - t), "ensemble_loss": 0.2,
         "ensemble_accuracy": 0.9, "examples": 500}
        for (i, a), (j, b) in itertools.combinations(enumerate(runs), 2)
        for t in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def soups() -> analysis.Predictions:
    preds = said(1)
    return analysis.Predictions(preds.labels, preds.logits, preds.runs.assign(role=[*["member"] * 3, "soup"]))


def published(kind: str) -> pd.DataFrame:
    table = analysis.load_published(kind)
    return table[table["merged"] != "none"] if kind == "wise" else table


BESIDE: dict[str, Callable[[], Figure]] = {
    "disagreement": lambda: figures.disagreement_heat_map(analysis.disagreement(said())),
    "disagreement_by_method": lambda: figures.disagreement_heat_map(
        analysis.disagreement_by_method({"a": said(), "b": said()}, rng=chance(), draws=9)
    ),
    "confidence_overlap": lambda: figures.disagreement_heat_map(analysis.confidence_overlap(said())),
    "confidence_overlap_by_method": lambda: figures.disagreement_heat_map(
        analysis.confidence_overlap_by_method(said(), rng=chance(), draws=9)
    ),
    "methods_against_seeds": lambda: figures.methods_against_seeds(
        analysis.methods_against_seeds(said(), rng=chance(), draws=9, top=0.2), "wrong_jaccard"
    ),
    "confidence_regions": lambda: figures.upset(analysis.confidence_regions(said())),
    "diversity_gain": lambda: figures.diversity_gain(analysis.diversity_gain(said(), rng=chance(), draws=9)),
    "ensemble_sizes": lambda: figures.ensemble_sizes(analysis.ensemble_sizes(said(), rng=chance(), draws=9)),
    "ensemble_gain": lambda: figures.ensemble_gain(
        analysis.ensemble_gain(said(), analysis.ensemble(said()), rng=chance(), draws=9)
    ),
    "subsets": lambda: figures.subsets(analysis.subsets(said(), said(), rng=chance(), draws=9)),
    "greedy_selection": lambda: figures.greedy_path(analysis.greedy_selection(said(), steps=4)),
    "ensemble_weights": lambda: figures.ensemble_weights(
        analysis.ensemble_weights(analysis.fit_ensemble(said(), "weighted"))
    ),
    "risk_coverage": lambda: figures.risk_coverage(analysis.risk_coverage(said(), points=9, rng=chance(), draws=9)),
    "aurc": lambda: figures.aurc(analysis.aurc(said(), rng=chance(), draws=9)),
    "reliability": lambda: figures.reliability_diagrams(analysis.reliability(said())),
    "calibration": lambda: figures.calibration_errors(analysis.calibration(said(), rng=chance(), draws=9)),
    "temperatures": lambda: figures.temperatures(analysis.fit_temperatures(said())),
    "barriers": lambda: figures.barrier_heat_map(analysis.barriers(paths())),
    "barriers_by_method": lambda: figures.barrier_heat_map(analysis.barriers_by_method(analysis.barriers(paths()))),
    "soup_gain": lambda: figures.soup_gain(analysis.soup_gain(soups(), rng=chance(), draws=9)),
    "shift_table": lambda: figures.accuracy_by_shift(analysis.shift_table(accuracies())),
    "mean_over_shifts": lambda: figures.accuracy_under_shift(analysis.mean_over_shifts(accuracies())),
    "target_against_shift": lambda: figures.target_against_shift(analysis.target_against_shift(accuracies())),
    "retention": lambda: figures.retention(analysis.target_against_shift(accuracies())),
    "effective_robustness": lambda: figures.effective_robustness(analysis.effective_robustness(accuracies())),
    "corruption_errors": lambda: figures.corruption_by_kind(
        analysis.corruption_errors(accuracies(), normaliser="linear")
    ),
    "mean_corruption_error": lambda: figures.corruption_error(
        analysis.mean_corruption_error(accuracies(), normaliser="linear")
    ),
    "calibration_by_severity": lambda: figures.calibration_by_severity(
        analysis.calibration_by_severity(
            analysis.calibration_under_shift({"test": said(), "noise:1": said()}, rng=chance(), draws=9)
        )
    ),
    "wise_table": lambda: figures.wise_curves(analysis.wise_table(curves())),
    "wise_gain": lambda: figures.wise_gain(analysis.wise_gain(curves())),
    "published shift_table": lambda: figures.accuracy_by_shift(analysis.shift_table(published("robustness"))),
    "published target_against_shift": lambda: figures.target_against_shift(
        analysis.target_against_shift(published("robustness")),
        analysis.effective_robustness(published("robustness")),
    ),
    "published retention": lambda: figures.retention(analysis.target_against_shift(published("robustness"))),
    "published effective_robustness": lambda: figures.effective_robustness(
        analysis.effective_robustness(published("robustness"))
    ),
    "published wise_table": lambda: figures.wise_curves(analysis.wise_table(published("wise"))),
    "published wise_gain": lambda: figures.wise_gain(analysis.wise_gain(published("wise"))),
}
WITHOUT = {  # what has no interval says so, or has none to have
    *("disagreement", "confidence_overlap", "confidence_regions", "greedy_selection", "ensemble_weights"),
    *("temperatures", "corruption_errors"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_table_is_drawn_as_it_is_returned(name):
    figure = BESIDE[name]()
    assert faults(figure) == []
    note = " ".join(figure.get_supxlabel().split())
    assert ("95% interval" in note) == (name not in WITHOUT), note
    assert ("conservative over examples" in note) == (
        name in ("wise_table", "wise_gain") or (name.startswith("published") and name != "published shift_table")
    )


# --------------------------------------------------------------------------------------------------------- heat maps


def test_a_table_of_pairs_is_drawn_by_method():
    preds = said()
    for pairs, means in (
        (analysis.disagreement(preds), analysis.disagreement_by_method(preds)),
        (analysis.confidence_overlap(preds), analysis.confidence_overlap_by_method(preds)),
    ):
        of_pairs, of_means = (figures.disagreement_heat_map(t).axes[0].images[0].get_array() for t in (pairs, means))
        assert of_pairs.shape == (4, 4)
        np.testing.assert_allclose(of_pairs.filled(-1), of_means.filled(-1))


def dots(figure: Figure) -> set[tuple[int, int]]:
    """The cells (row, column) with a dot."""
    [marks] = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    return {(round(y - 0.3), round(x - 0.3)) for x, y in marks.get_offsets()}


def test_a_dot_marks_what_is_told_apart_from_seeds():
    table = analysis.disagreement_by_method(said(3, N=400), rng=chance(), draws=50)
    apart = table["disagreement_beyond_low"] > 0
    assert 0 < apart.sum() < len(table)
    table.loc[table.index[apart][0], "disagreement_beyond_low"] = -1.0
    shown = table[(table["disagreement_beyond_low"] > 0) | (table["disagreement_beyond_high"] < 0)]
    expected = {(METHODS.index(a), METHODS.index(b)) for a, b in zip(shown["method_a"], shown["method_b"], strict=True)}
    figure = figures.disagreement_heat_map(table)
    assert dots(figure) == {(a, b) for a, b in expected if a > b}
    assert "leaves out 0" in figure.get_supxlabel()
    plain = figures.disagreement_heat_map(table.drop(columns=[n for n in table if "_" in n and n.endswith("low")]))
    assert not plain.axes[0].collections
    assert "No intervals." in plain.get_supxlabel()


def test_one_seed_has_no_difference_from_seeds_to_mark():
    figure = figures.disagreement_heat_map(analysis.disagreement_by_method(said(1), rng=chance(), draws=5))
    assert "No intervals of the difference from seeds" in " ".join(figure.get_supxlabel().split())


def test_a_dot_marks_a_barrier_that_is_none_by_chance():
    table = analysis.barriers_by_method(analysis.barriers(paths()))
    below = [METHODS.index(a) >= METHODS.index(b) for a, b in zip(table["method_a"], table["method_b"], strict=True)]
    told = table[below & (table["loss_low"] > 0).to_numpy()]
    figure = figures.barrier_heat_map(table)
    assert len(dots(figure)) == len(told) > 0
    assert "jackknife over seeds" in figure.get_supxlabel()
    one = table.assign(loss_low=np.nan, loss_high=np.nan, interval="none")
    assert "No intervals: too few seeds" in figures.barrier_heat_map(one).get_supxlabel()


# ---------------------------------------------------------------------------------------------------- bars and bands


def segments(figure: Figure, panel: int = 0) -> list[list[list[float]]]:
    ax = figure.axes[panel]
    return [s.tolist() for c in ax.collections if isinstance(c, LineCollection) for s in c.get_segments()]


def test_few_pairs_have_bars_and_many_one_cross():
    table = analysis.diversity_gain(said(), rng=chance(), draws=20)
    drawn = segments(figures.diversity_gain(table))
    assert len(drawn) == 2 * len(table)
    row = table.iloc[3]
    across = [[100 * row[f"disagreement_{end}"], 100 * row["gain_over_mean"]] for end in ("low", "high")]
    upright = [[100 * row["disagreement"], 100 * row[f"gain_over_mean_{end}"]] for end in ("low", "high")]
    for expected in (across, upright):
        assert any(np.allclose(segment, expected) for segment in drawn)
    many = figures.diversity_gain(pd.concat([table] * 3))
    assert not segments(many)
    cross = [
        line for line in many.axes[0].lines if to_hex(line.get_color()) == "#333333" and len(line.get_xdata()) == 2
    ]
    wide, high = (table[f"{name}_high"] - table[f"{name}_low"] for name in ("disagreement", "gain_over_mean"))
    assert np.ptp(cross[1].get_xdata()) == pytest.approx(100 * wide.median())
    assert np.ptp(cross[2].get_ydata()) == pytest.approx(100 * high.median())
    assert "the median pair's" in many.get_supxlabel()


def test_the_picked_subset_shows_its_accuracy_and_its_gain():
    table = analysis.subsets(said(), said(N=40), rng=chance(), draws=50)
    best = table.iloc[0]
    figure = figures.subsets(table)
    ends = [[100 * best["val_accuracy"], 100 * best[end]] for end in ("low", "high")]
    assert any(np.allclose(segment, ends) for segment in segments(figure))
    assert f"[{100 * best['gain_low']:+.1f}, {100 * best['gain_high']:+.1f}]" in " ".join(
        figure.get_supxlabel().split()
    )
    many = pd.concat([table, *[table.assign(rank=table["rank"] + 1)] * 2])
    assert len(segments(figures.subsets(many))) == 2  # the star's, in its own colour and in black


def test_one_ensemble_of_a_rule_that_is_not_named_is_called_none():
    gain = analysis.ensemble_gain(said(), analysis.ensemble(said(), "vote"), rng=chance(), draws=9)
    assert not figures.ensemble_gain(gain).legends
    [legend] = figures.ensemble_gain(gain.assign(combine="vote")).legends
    assert [text.get_text() for text in legend.get_texts()] == ["ensemble:vote"]


def test_a_band_is_the_mean_of_the_seeds_intervals():
    table = analysis.risk_coverage(said(), points=9, rng=chance(), draws=20)
    ax = figures.risk_coverage(table).axes[0]
    assert len(ax.collections) == len(METHODS)
    mean = 100 * table[table["method"] == "ssf"].groupby("coverage")["high"].mean()
    band = next(c for c in ax.collections if to_hex(c.get_facecolor()[0]).upper() == style("ssf").colour)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(mean.max())
    assert not figures.risk_coverage(table.drop(columns=["low", "high", "interval"])).axes[0].collections


# ------------------------------------------------------------------------------------------------- shifts and curves


def test_severity_0_alone_is_no_line():
    with pytest.raises(InputError, match=r"shift sets of imagenet have no severities.* Draw accuracy_by_shift"):
        figures.accuracy_under_shift(analysis.mean_over_shifts(published("robustness")))
    natural = accuracies(kinds=()).assign(task="photos")
    sketch = natural[natural["set"] == "test"].assign(set="sketch", kind="sketch", severity=pd.NA)
    both = pd.concat([accuracies(), natural, sketch]).astype({"severity": "Int64"})
    figure = figures.accuracy_under_shift(analysis.mean_over_shifts(both))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["digits"]
    assert "Not drawn: photos" in figure.get_supxlabel()


def test_a_line_that_tells_nothing_is_named_in_both_figures():
    effective = analysis.effective_robustness(published("robustness"))
    table = analysis.target_against_shift(published("robustness"))
    for figure in (figures.effective_robustness(effective), figures.target_against_shift(table, effective)):
        assert figure.axes[0].get_title(loc="right") == "falling line"
        assert "No line to go by" in " ".join(figure.get_supxlabel().split())
    sound = effective.assign(line_doubt="")
    for figure in (figures.effective_robustness(sound), figures.target_against_shift(table, sound)):
        assert figure.axes[0].get_title(loc="right") == ""
        assert "No line" not in figure.get_supxlabel()


def test_gains_of_head_and_all_weights_stand_in_panels_of_their_own():
    table = analysis.wise_gain(curves())
    figure = figures.wise_gain(table)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["all weights, target", "all weights, under shift", "head only, target", "head only, under shift"]
    row = table[(table["merged"] == "head") & (table["choice"] == "validation") & (table["method"] == "ssf")].iloc[0]
    marks = {round(float(line.get_xdata()[0]), 9) for line in figure.axes[3].lines if len(line.get_xdata()) == 1}
    assert round(100 * row["shift_gain"], 9) in marks


def test_without_validation_the_gains_are_hindsight_and_called_so():
    table = analysis.wise_gain(published("wise"))
    figure = figures.wise_gain(table[table["merged"] == "all"])
    note = " ".join(figure.get_supxlabel().split())
    assert note.startswith("No validation: the best alpha on these very images (hindsight)")
    assert "No result." in note
    full = table[(table["merged"] == "all") & (table["method"] == "full")].set_index("choice")
    for ax, value in zip(
        figure.axes, (full.loc["test in hindsight", "gain"], full.loc["shift in hindsight", "shift_gain"]), strict=True
    ):
        assert "hindsight" in ax.get_xlabel()
        marks = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
        assert any(mark == pytest.approx(100 * value) for mark in marks)


def test_curves_without_validation_have_their_intervals_at_the_tuned_model():
    table = analysis.wise_table(published("wise"))
    figure = figures.wise_curves(table[table["merged"] == "all"])
    tuned = table[(table["merged"] == "all") & (table["alpha"] == 1) & (table["method"] == "lora")].iloc[0]
    across = [100 * tuned["low"], 100 * tuned["high"]]
    assert any(len(line.get_xdata()) == 2 and np.allclose(line.get_xdata(), across) for line in figure.axes[0].lines)
