"""Figures of what models say of examples: what is drawn is what was handed in, and it can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import predictions
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import analysis
from analysis import figures
from analysis.palette import style
from drawing import faults, shown_texts
from petl_study.errors import InputError

FEW = ("linear", "full", "bitfit", "lora")
MANY = (*FEW, *(f"peft:a_method_of_some_name_{i}" for i in range(26)))


def draw_all(methods: tuple[str, ...], seeds: int, tasks: int) -> dict[str, Figure]:
    """Every figure, of tables as they come."""
    rng = np.random.default_rng(0)
    test, val = (predictions(rng, methods, seeds, N=n, skill=3.0) for n in (100, 60))
    pairs = analysis.disagreement_by_method(test, rng=rng, draws=4)
    overlap = analysis.confidence_overlap_by_method(test, 0.2, rng=rng, draws=4)
    one_seed = test.select(np.flatnonzero(test.runs["seed"] == 0))
    temperatures = analysis.fit_temperatures(val)
    before, after = (
        analysis.calibration(test, rng=rng, draws=5, temperatures=t) for t in (None, temperatures["temperature"])
    )
    control = analysis.methods_against_seeds(test, rng=rng, draws=5, permutations=500)
    control = pd.concat([control.assign(task=f"task {i}") for i in range(tasks)])
    gain = analysis.ensemble_gain(test, analysis.ensemble(test), others={"2 seeds of lora": test.logits[0]}, rng=rng)
    gains = [
        gain.assign(task=f"task {i}", combine=rule)
        for i in range(tasks)
        for rule in (*analysis.COMBINE, *analysis.FITTED)
    ]
    return {
        "heat map": figures.disagreement_heat_map(pairs),
        "heat map of kappa": figures.disagreement_heat_map(pairs, "kappa"),
        "overlap": figures.disagreement_heat_map(overlap, "confident_wrong_jaccard"),
        "clusters": figures.agreement_clusters(pairs, analysis.cluster_methods(pairs)),
        "clusters of errors": figures.agreement_clusters(pairs, analysis.cluster_methods(pairs, "error_consistency")),
        "control": figures.methods_against_seeds(control),
        "control of kappa": figures.methods_against_seeds(control, "kappa"),
        "intervals": figures.accuracy_intervals(analysis.accuracy_intervals(test, rng=rng, draws=20)),
        "differences": figures.accuracy_differences(analysis.accuracy_differences(one_seed, rng=rng, draws=20)),
        "venn": figures.venn(analysis.confidence_regions(test.select([0, seeds, 2 * seeds]), 0.3)),
        "upset": figures.upset(analysis.confidence_regions(one_seed, 0.2)),
        "reliability": figures.reliability_diagrams(analysis.reliability(test)),
        "calibration": figures.calibration_errors(before, after),
        "temperatures": figures.temperatures(temperatures),
        "risk and coverage": figures.risk_coverage(analysis.risk_coverage(test, points=20, rng=rng, draws=4)),
        "area under risk": figures.aurc(analysis.aurc(test, rng=rng, draws=5)),
        "diversity": figures.diversity_gain(analysis.diversity_gain(test, rng=rng, draws=4)),
        "sizes": figures.ensemble_sizes(analysis.ensemble_sizes(test, rng=rng, most=20)),
        "greedy": figures.greedy_path(analysis.greedy_selection(val, steps=20)),
        "subsets": figures.subsets(analysis.subsets(test, val, up_to=2, members=methods[:9], rng=rng, draws=9)),
        "weights": figures.ensemble_weights(analysis.ensemble_weights(analysis.fit_ensemble(val, "weighted"))),
        "gain": figures.ensemble_gain(pd.concat(gains)),
    }


@pytest.fixture(scope="module")
def few() -> dict[str, Figure]:
    return draw_all(FEW, seeds=2, tasks=2)


@pytest.fixture(scope="module")
def many() -> dict[str, Figure]:
    return draw_all(MANY, seeds=2, tasks=19)


NAMES = tuple(draw_all(FEW[:3], seeds=2, tasks=1))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_overlaps_or_is_cut_off(few, name):
    assert faults(few[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_thirty_methods_on_nineteen_tasks_stay_readable(many, name):
    assert faults(many[name]) == []


UNITS = ("%", "points", "nats", "(1:", "Jaccard", "Yule", "minus", "temperature", "picks", "members")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "venn"])
def test_every_axis_in_use_has_a_label_with_its_unit(few, name):
    labels = " ".join(ax.get_xlabel() + ax.get_ylabel() for ax in few[name].axes)
    assert any(unit in labels for unit in (*UNITS, "test examples"))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in shown_texts(figure)]


def test_a_heat_map_of_kappa_shows_kappa(few, rng):
    table = analysis.disagreement_by_method(analysis.disagreement(predictions(rng, "ab", seeds=2)))
    ax = figures.disagreement_heat_map(table, "kappa").axes[0]
    shown = ax.images[0].get_array().filled(np.nan)
    cells = table.set_index(["method_a", "method_b"])["kappa"]
    assert shown[1, 0] == pytest.approx(cells["b", "a"])
    assert shown[1, 1] == pytest.approx(cells["b", "b"])
    assert np.isnan(shown[0, 1])


def test_clusters_stand_in_the_order_of_the_tree_and_at_its_heights(rng):
    table = analysis.disagreement_by_method(analysis.disagreement(predictions(rng, "abcd")))
    clustering = analysis.cluster_methods(table)
    tree, ax, _ = figures.agreement_clusters(table, clustering).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == clustering.order
    shown = ax.images[0].get_array().filled(np.nan)
    cells = table.set_index(["method_a", "method_b"])["disagreement"]
    assert shown[0, 3] == shown[3, 0] == pytest.approx(100 * cells[clustering.order[0], clustering.order[3]])
    heights = sorted(max(line.get_ydata()) for line in tree.lines)
    assert heights == pytest.approx(100 * clustering.linkage[:, 2])


def test_the_control_shows_within_between_and_the_p_value(rng):
    table = analysis.methods_against_seeds(predictions(rng, "ab", seeds=3), rng=rng, draws=5)
    figure = figures.methods_against_seeds(table, "kappa")
    row = table[table["measure"] == "kappa"].iloc[0]
    points = {round(float(line.get_xdata()[0]), 9) for line in figure.axes[0].lines if len(line.get_xdata()) == 1}
    assert points == {round(row["within"], 9), round(row["between"], 9)}
    assert f"p = {row['p_value']:.3f}" in texts(figure)


def test_a_venn_diagram_counts_all_seven_regions():
    sets = {"lora": [1, 1, 1, 1, 0, 0, 0], "ssf": [1, 1, 0, 0, 1, 1, 0], "bitfit": [1, 0, 1, 0, 1, 0, 1]}
    regions = analysis.set_regions({name: np.repeat(members, range(10, 17)) for name, members in sets.items()})
    figure = figures.venn(regions)
    counts = [text.get_text().split("\n")[0] for text in figure.axes[0].texts if "\n" in text.get_text()]
    assert sorted(counts) == [str(n) for n in range(10, 17)]
    by_place = {text.get_text().split("\n")[0]: text.get_position() for text in figure.axes[0].texts}
    assert by_place["10"] == (0, 0)  # in all three
    names = {text.get_text(): np.array(text.get_position()) for text in figure.axes[0].texts if text.get_text() in sets}
    alone = {"lora": "13", "ssf": "15", "bitfit": "16"}
    for name, count in alone.items():
        nearest = min(names, key=lambda other: np.linalg.norm(names[other] - np.array(by_place[count])))
        assert nearest == name
    shared = np.array(by_place["11"])  # lora and ssf: away from bitfit
    assert max(names, key=lambda other: np.linalg.norm(names[other] - shared)) == "bitfit"


def test_a_venn_diagram_is_of_three_and_an_empty_set_may_be_named():
    regions = analysis.set_regions({"a": [1, 0], "b": [1, 1], "c": [0, 0]})
    with pytest.raises(InputError, match=r"of three sets; got a, b\. Draw more with upset"):
        figures.venn(regions)
    assert "c" in texts(figures.venn(regions, ["a", "b", "c"]))
    with pytest.raises(InputError, match="names lacks b"):
        figures.venn(regions, ["a", "c", "d"])


def test_an_upset_plot_draws_the_largest_regions_and_says_what_it_leaves_out():
    rng = np.random.default_rng(0)
    regions = analysis.set_regions({name: rng.random(300) < 0.4 for name in "abcde"})
    figure = figures.upset(regions, most=6)
    bars, _, totals = figure.axes
    assert [bar.get_height() for bar in bars.patches] == regions["examples"].tolist()[:6]
    sizes = [sum(regions["examples"][[name in m for m in regions["members"]]]) for name in "abcde"]
    assert [bar.get_width() for bar in totals.patches] == sizes
    rest = regions["examples"].sum() - regions["examples"].head(6).sum()
    assert any(f"{rest:,} examples are in the others" in text for text in texts(figure))


def test_more_methods_than_lines_can_be_told_apart_get_a_panel_each(few, many):
    assert len(few["risk and coverage"].axes) == 1
    assert [ax.get_title(loc="left") for ax in many["risk and coverage"].axes][:4] == list(FEW)


def test_lines_of_risk_are_means_over_seeds(rng):
    table = analysis.risk_coverage(predictions(rng, ("lora", "ssf"), seeds=3), points=10)
    ax = figures.risk_coverage(table).axes[0]
    expected = table[table["method"] == "ssf"].groupby("coverage")["risk"].mean()
    line = next(line for line in ax.lines if to_hex(line.get_color()).upper() == style("ssf").colour)
    assert line.get_ydata() == pytest.approx(100 * expected.to_numpy())


def test_what_is_not_kept_of_a_greedy_path_stands_right_of_the_line(rng):
    table = analysis.greedy_selection(predictions(rng, N=40), steps=10)
    ax = figures.greedy_path(table).axes[0]
    line = next(line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2)
    assert line.get_xdata()[0] == table["selected"].sum() + 0.5


def test_a_significant_difference_is_dotted_on_both_sides():
    table = pd.DataFrame({"run_a": [0, 0, 1], "run_b": [1, 2, 2], "difference": [0.3, 0.1, -0.2]})
    table = table.assign(method_a=["a", "a", "b"], method_b=["b", "c", "c"], seed_a=0, seed_b=0)
    table = table.assign(accuracy_a=[0.9, 0.9, 0.6], accuracy_b=[0.6, 0.8, 0.8], p_holm=[0.01, 0.2, 0.2])
    ax = figures.accuracy_differences(table).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c", "b"]
    assert ax.images[0].get_array().filled(0).tolist() == [[0, 10, 30], [-10, 0, 20], [-30, -20, 0]]
    [dots] = ax.collections
    assert sorted(dots.get_offsets().tolist()) == [[0, 2], [2, 0]]


def test_a_measure_or_column_that_is_not_there_is_named(rng):
    table = analysis.disagreement_by_method(analysis.disagreement(predictions(rng)))
    with pytest.raises(InputError, match=r"unknown measure 'kapa'; known: .* Did you mean 'kappa'"):
        figures.disagreement_heat_map(table, "kapa")
    with pytest.raises(InputError, match="no column correct_jaccard"):
        figures.disagreement_heat_map(table, "correct_jaccard")
    control = pd.DataFrame(columns=["measure", "within", "between", "difference", "low", "high", "p_value", "level"])
    with pytest.raises(InputError, match="no rows"):
        figures.methods_against_seeds(control)
    with pytest.raises(InputError, match="no column method, rms_error, low, high"):
        figures.calibration_errors(table)
