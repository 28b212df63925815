"""Successive halving (arXiv 1502.07943) and Hyperband (arXiv 1603.06560) over epochs, in numbers.

At a rung all trials of a bracket that have come as far are compared after the same number of epochs, and one in
`factor` of them, rounded up, trains on. Halving is one bracket, compared at every rung. Hyperband has one for every
rung, compared from there on, and one that never is: good trials that start slowly are lost in the first alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NAMES = ("halving", "hyperband")


def rungs(epochs: int, factor: int, first: int) -> list[int]:
    """After how many epochs trials are compared, ascending: a factor-th of the whole, of that, ... down to `first`.

    >>> rungs(40, factor=3, first=4)
    [4, 13]
    """
    found = [epochs]
    while first <= (at := round(epochs / factor ** len(found))) < found[-1]:
        found.append(at)
    return found[:0:-1]


def promoted(trials: int, factor: int) -> int:
    """How many of the trials of a bracket train on from a rung."""
    return math.ceil(trials / factor)


def brackets(trials: int, rungs: int, pruner: Mapping[str, Any], seed: int) -> list[int]:
    """At which rung, from 0, each trial of a search is first compared; `rungs` stands for never.

    Hyperband's brackets get about the same number of epochs each, as published. Which trial is in which is drawn, so
    that the order of a grid does not decide.
    """
    if pruner["name"] == "halving":
        return [0] * trials
    sizes = np.array([pruner["factor"] ** later / (later + 1) for later in range(rungs, -1, -1)])
    ends = np.round(sizes.cumsum() / sizes.sum() * trials)
    dealt = np.searchsorted(ends, np.arange(trials), side="right")
    return [int(bracket) for bracket in np.random.default_rng(seed).permutation(dealt)]


def legs(begin: Sequence[int], at: Sequence[int], epochs: int, factor: int) -> list[list[int]]:
    """What a search trains in which no trial fails: for every rung, and for the end, the epochs of each leg to it.

    Parameters
    ----------
    begin : sequence of int
        Of every trial, the rung at which it is first compared, as from `brackets`.
    at : sequence of int
        The rungs, as from `rungs`.

    >>> legs([0] * 9, [4, 13], 40, factor=3)
    [[4, 4, 4, 4, 4, 4, 4, 4, 4], [9, 9, 9], [27]]
    """
    left = [begin.count(bracket) for bracket in range(len(at) + 1)]
    ends, made = [*at, epochs], []
    for rung, end in enumerate(ends):
        gone_on = [end - ends[rung - 1]] * sum(left[:rung])
        made.append(gone_on + [end] * left[rung])
        left[: rung + 1] = [promoted(count, factor) for count in left[: rung + 1]]
    return made
