"""Successive halving in numbers: rungs, brackets, and how much is trained."""

from __future__ import annotations

import math
from itertools import pairwise

import optuna
import pytest

from petl_study import halving
from petl_study.search import InStep

SHA = {"name": "halving", "factor": 3, "first": 1}
HYPERBAND = {**SHA, "name": "hyperband"}


@pytest.mark.parametrize("epochs", [1, 2, 7, 8, 40, 100])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("first", [1, 2, 5])
def test_rungs_ascend_from_the_first_and_a_factor_leads_to_the_next(epochs, factor, first):
    found = halving.rungs(epochs, factor, first)
    assert found == sorted(set(found))
    assert all(first <= rung < epochs for rung in found)
    for rung, following in pairwise([*found, epochs]):
        assert abs(rung - following / factor) <= 1
    assert round(epochs / factor ** (len(found) + 1)) < max(first, 2)


def test_a_hundred_epochs_thinned_by_three():
    assert halving.rungs(100, 3, 10) == [11, 33]
    assert halving.rungs(8, 2, 2) == [2, 4]


def test_each_rung_trains_the_best_third_on_to_the_next():
    assert halving.legs([0] * 10, [4, 13], 40, 3) == [[4] * 10, [9] * 4, [27] * 2]


def test_brackets_join_at_their_rung_and_the_last_is_never_compared():
    at = [4, 13]
    assert halving.legs([0, 0, 0, 0, 1, 1, 1, 2, 2], at, 40, 3) == [[4] * 4, [9] * 2 + [13] * 3, [27] * 2 + [40] * 2]


def test_halving_is_one_bracket():
    assert halving.brackets(5, 2, SHA, seed=0) == [0] * 5


@pytest.mark.parametrize("seed", [0, 1])
def test_hyperbands_brackets_get_about_the_same_budget(seed):
    at = halving.rungs(81, 3, 3)
    begin = halving.brackets(2000, len(at), HYPERBAND, seed)
    assert begin == halving.brackets(2000, len(at), HYPERBAND, seed) != sorted(begin)
    assert set(begin) == {0, 1, 2, 3}
    spent = [sum(map(sum, halving.legs([b for b in begin if b == bracket], at, 81, 3))) for bracket in range(4)]
    assert max(spent) < 1.35 * min(spent)


@pytest.mark.parametrize("pruner", [SHA, HYPERBAND])
@pytest.mark.parametrize("trials", [1, 2, 4, 16])
def test_every_trial_is_begun_once_and_one_at_least_is_trained_to_its_end(pruner, trials):
    at = halving.rungs(40, 3, 4)
    begin = halving.brackets(trials, len(at), pruner, seed=3)
    legs = halving.legs(begin, at, 40, 3)
    assert sum(len([leg for leg in some if leg == end]) for some, end in zip(legs, [*at, 40], strict=True)) == trials
    assert legs[-1]
    assert sum(map(sum, legs)) <= 40 * trials


def test_of_those_at_a_rung_the_best_go_on_whoever_asks_first():
    study = optuna.create_study(direction="maximize", pruner=InStep(3))
    said = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.9), (0.1, 0.0), (0.2, 0.0)]
    trials = [study.ask() for _ in said]
    for trial, (accuracy, loss) in zip(trials, said, strict=True):
        trial.set_user_attr(InStep.BRACKET, 0)
        trial.set_user_attr(InStep.LOSS, loss)
        trial.report(accuracy, 4)
    going_on = [trial.number for trial in reversed(trials) if not trial.should_prune()]
    assert sorted(going_on) == [1, 2, 4]  # a third of seven, rounded up
    assert math.ceil(7 / 3) == len(going_on)
