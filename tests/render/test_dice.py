"""Chance by name: fixed, independent, and within its bounds."""

import numpy as np

from petl_study.render.dice import Dice


def test_a_name_always_gives_the_same_stream():
    dice = Dice("count", "test", 17)
    assert [dice.uniform(), dice.uniform()] == [0.8416231837111742, 0.27428982378054056]


def test_streams_of_different_names_differ():
    draws = {Dice("count", "test", k).uniform() for k in range(100)}
    assert len(draws) == 100


def test_integers_reach_both_ends_and_no_further():
    dice = Dice("integers")
    assert {dice.integer(2, 5) for _ in range(200)} == {2, 3, 4}


def test_gaussians_have_mean_zero_and_deviation_one():
    draws = Dice("gaussians").gaussians((200, 200))
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02


def test_a_permutation_holds_every_index_once():
    assert sorted(Dice("permutation").permutation(50).tolist()) == list(range(50))


def test_uniforms_fill_their_range():
    draws = Dice("uniforms").uniforms((1000,), -2.0, 3.0)
    assert -2.0 <= draws.min() < -1.9
    assert 2.9 < draws.max() < 3.0
    assert np.abs(draws.mean() - 0.5) < 0.15
