from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import predictions, shuffled

from analysis import MEASURES, Predictions, confidence_overlap, disagreement, methods_against_seeds
from analysis.confidence import JACCARDS
from petl_study.errors import InputError

TOP = 0.3  # of the confidence sets


def control(preds, measure="disagreement", seed=0, **options):
    table = methods_against_seeds(preds, rng=np.random.default_rng(seed), **({"draws": 20} | options))
    return table[table["measure"] == measure].iloc[0]


def without(preds: Predictions, *runs: int) -> Predictions:
    return preds.select([row for row in range(len(preds)) if row not in runs])


def difference(table: pd.DataFrame, method: dict[int, str], seed: list[int], measure: str) -> float:
    """Between minus within, pair by pair, where run r is called ``method[r]``."""
    sides = {"within": [], "between": []}
    for row in table.to_dict("records"):
        a, b = row["run_a"], row["run_b"]
        if seed[a] != seed[b]:
            sides["within" if method[a] == method[b] else "between"].append(row[measure])
    return np.mean(sides["between"]) - np.mean(sides["within"])


def brute_force(preds: Predictions, measure: str) -> tuple[float, float]:
    """The difference, and its one-sided p value over every exchange of names within every seed."""
    table = disagreement(preds) if measure in MEASURES else confidence_overlap(preds, TOP)
    sign = MEASURES.get(measure, -1)
    names, seeds = preds.runs["method"].tolist(), preds.runs["seed"].tolist()
    observed = difference(table, dict(enumerate(names)), seeds, measure)
    blocks = [[run for run, of_run in enumerate(seeds) if of_run == seed] for seed in sorted(set(seeds))]
    permuted = []
    for ways in itertools.product(*(itertools.permutations(block) for block in blocks)):
        named = {
            run: names[other]
            for block, way in zip(blocks, ways, strict=True)
            for run, other in zip(block, way, strict=True)
        }
        permuted.append(difference(table, named, seeds, measure))
    return observed, float(np.mean([sign * value >= sign * observed - 1e-12 for value in permuted]))


@pytest.mark.parametrize("measure", [*MEASURES, *JACCARDS])
@pytest.mark.parametrize("missing", [(), (1,), (0, 5)])
def test_the_test_is_that_of_every_exchange_of_names_within_seeds(rng, measure, missing):
    preds = without(predictions(rng, "abc", seeds=3, apart=0.6), *missing)
    row = control(preds, measure, top=TOP)
    observed, p_value = brute_force(preds, measure)
    assert row["exact"]
    assert row["difference"] == pytest.approx(observed)
    assert row["p_value"] == pytest.approx(p_value)
    assert row["between"] - row["within"] == pytest.approx(observed)


def test_one_seed_can_stay_where_all_are_complete(rng):
    assert control(predictions(rng, "abc", seeds=3))["permutations"] == 6**2
    assert control(without(predictions(rng, "abc", seeds=3), 0))["permutations"] == 2 * 6**2


def test_methods_that_differ_are_told_from_seeds_and_methods_that_do_not_are_not(rng):
    for measure in ("disagreement", "kappa", "error_consistency"):
        apart = control(predictions(rng, "abcd", seeds=3, apart=1.5, noise=0.3), measure)
        assert apart["p_value"] == pytest.approx(1 / 24**2)
    names_only = control(predictions(rng, "abcd", seeds=3, apart=0.0))
    assert names_only["p_value"] > 0.02
    assert names_only["low"] < 0.02
    assert abs(names_only["difference"]) < 0.05


def test_overlaps_are_tested_where_a_size_of_the_sets_is_given(rng):
    preds = predictions(rng, "abcd", seeds=3, apart=1.5, noise=0.3)
    plain = methods_against_seeds(preds, rng=np.random.default_rng(0), draws=10)
    both = methods_against_seeds(preds, rng=np.random.default_rng(0), draws=10, top=TOP)
    assert both["measure"].tolist() == [*MEASURES, *JACCARDS]
    pd.testing.assert_frame_equal(both[: len(MEASURES)], plain)  # and nothing else changes
    for name in JACCARDS[:2]:  # methods share less of what they are sure of than seeds do
        row = control(preds, name, top=TOP)
        assert row["high"] < 0
        assert row["p_value"] == pytest.approx(1 / 24**2)


def test_where_methods_are_names_only_small_p_values_are_as_rare_as_they_say(rng):
    p_values = [control(predictions(rng, "abc", seeds=2, apart=0.0, N=30), draws=1)["p_value"] for _ in range(60)]
    for level in (0.17, 0.34, 0.5):  # six exchanges: p is a multiple of 1/6
        assert np.mean(np.array(p_values) <= level) < level + 0.15


def test_runs_with_a_seed_in_common_are_not_compared(rng):
    preds = predictions(rng, "ab", seeds=2, N=60)
    table = disagreement(preds)  # runs: a 0, a 1, b 0, b 1
    row = control(preds)
    assert row["within"] == pytest.approx(table.loc[[0, 5], "disagreement"].mean())
    assert row["between"] == pytest.approx(table.loc[[2, 3], "disagreement"].mean())


def test_too_many_exchanges_are_drawn_and_count_the_observed_one(rng):
    preds = predictions(rng, "abcde", seeds=3, apart=2.0, noise=0.2)
    row = control(preds, permutations=500)
    assert not row["exact"]
    assert row["permutations"] == 500
    assert row["p_value"] == 1 / 500
    exact = predictions(rng, "abc", seeds=3, apart=0.3)
    assert control(exact, permutations=35)["p_value"] == pytest.approx(control(exact)["p_value"], abs=0.2)


def test_several_tasks_are_averaged_and_tested_together(rng):
    tasks = {"one": predictions(rng, "abc", seeds=2), "two": predictions(rng, "abc", seeds=2, N=50)}
    table = methods_against_seeds(tasks, rng=rng, draws=20)
    cells = table[table["measure"] == "kappa"].set_index("task")
    assert cells.index.tolist() == ["one", "two", "all tasks"]
    for column in ("within", "between", "difference"):
        assert cells.loc["all tasks", column] == pytest.approx(cells.loc[["one", "two"], column].mean())
    assert cells.loc["all tasks", "permutations"] == 36
    assert cells.loc["all tasks", "runs"] == 12
    many = methods_against_seeds(tasks, rng=rng, draws=2, permutations=30)
    last = many[many["task"] == "all tasks"].iloc[0]
    assert (last["permutations"], last["exact"]) == (30, False)
    assert last["p_value"] == pytest.approx(cells.loc["all tasks", "p_value"], abs=0.25)


def test_the_interval_is_over_examples_and_moves_with_its_level_and_its_own_chance(rng):
    preds = predictions(rng, "abc", seeds=2, N=300)
    wide, narrow = control(preds, draws=400, level=0.99), control(preds, draws=400, level=0.5)
    assert wide["low"] < narrow["low"] < narrow["difference"] < narrow["high"] < wide["high"]
    assert control(preds)["low"] == control(preds)["low"] != control(preds, seed=1)["low"]
    each = np.zeros(300)
    for row in disagreement(preds).to_dict("records"):
        if row["seed_a"] != row["seed_b"]:
            weight = -1 / 3 if row["method_a"] == row["method_b"] else 1 / 6
            each += weight * (preds.predicted[row["run_a"]] != preds.predicted[row["run_b"]])
    sampled = control(preds, draws=2000)
    assert sampled["high"] - sampled["low"] == pytest.approx(2 * 1.96 * each.std() / np.sqrt(300), rel=0.1)


def test_neither_the_order_of_examples_nor_a_constant_matters(rng):
    preds = predictions(rng, "abc", seeds=2)
    columns = ["within", "between", "difference", "p_value"]
    assert control(shuffled(preds, rng))[columns].tolist() == pytest.approx(control(preds)[columns].tolist())


def test_what_is_not_defined_for_a_pair_is_not_defined_at_all(rng):
    preds = predictions(rng, "ab", seeds=2)
    logits = preds.logits.copy()
    logits[0] = 9 * np.eye(5)[preds.labels]  # always right: its Q statistic is not defined
    row = control(Predictions(preds.labels, logits, preds.runs), "q_statistic")
    assert row[["difference", "p_value", "low"]].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: runs.assign(method=["a", "b", "c", "d"]), r"a method with two seeds; got 4 method\(s\) and seed"),
        (lambda runs: runs.assign(method="a", seed=[0, 1, 2, 3]), "needs two methods"),
        (lambda runs: runs.drop(columns="seed"), "a run of 'a' has no seed; give it one"),
        (lambda runs: runs.assign(seed=[0, 0, 0, 1]), "two runs of 'a' have seed 0; keep one of them"),
        (lambda runs: runs.assign(protocol=["x", "x", "x", "y"]), "different protocol"),
    ],
)
def test_without_a_control_there_is_no_answer(rng, change, message):
    preds = predictions(rng, "ab", seeds=2)
    preds = Predictions(preds.labels, preds.logits, change(preds.runs))
    with pytest.raises(InputError, match=message):
        methods_against_seeds(preds, rng=rng)
    with pytest.raises(InputError, match=f"task 'digits': .*{message}" if "protocol" not in message else message):
        methods_against_seeds({"digits": preds}, rng=rng)


def test_no_task_and_no_chance_are_refused(rng):
    with pytest.raises(InputError, match="no task was given"):
        methods_against_seeds({}, rng=rng)
    preds = predictions(rng, "ab", seeds=2)
    for many in (0, 2.5, True):
        with pytest.raises(InputError, match="permutations must be a whole number of at least 1, such as 10000; got"):
            methods_against_seeds(preds, rng=rng, permutations=many)
        with pytest.raises(InputError, match="draws must be a whole number of at least 1"):
            methods_against_seeds(preds, rng=rng, draws=many)
    with pytest.raises(InputError, match="top must be a fraction"):
        methods_against_seeds(preds, rng=rng, top=0.0)
