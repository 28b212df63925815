"""How alike what two models make of the same images is, place by place: their CKA (`analysis.cka`), with baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cka import LEAST, Matrices, cka, grams
from analysis.comparable import require_columns, require_comparable
from analysis.examples import interval
from analysis.intervals import require_draws, require_level
from analysis.pairs import pair_columns, pairs
from petl_study.errors import InputError

PRETRAINED = "pre-trained"  # the method of the one row of `Features.runs` that nothing tuned
HALVES = "halves of the examples"  # what intervals are made of


@dataclass(frozen=True, eq=False)
class Features:
    """What R models make of the same N examples, at several places: as `analysis.block_features` has it, or by hand.

    Attributes
    ----------
    runs : DataFrame
        R rows: `method`, `seed` and whatever else is known. A row of the untuned backbone has the method
        ``pre-trained`` and no seed.
    places : mapping
        Name of a place, from the input on, to the features there: (R, N, d), or R arrays (N, d_r).
    """

    runs: pd.DataFrame
    places: Mapping[str, Sequence[NDArray[np.floating[Any]]]]

    def __post_init__(self) -> None:
        require_columns(self.runs, ["method", "seed"])
        if not self.places:
            raise InputError("features need at least one place that they are taken from; got none")
        for name, of_place in self.places.items():
            if len(of_place) != len(self.runs):
                raise InputError(f"at {name!r} there are features of {len(of_place)} models, for {len(self.runs)} runs")
        examples = {len(one) for of_place in self.places.values() for one in of_place}
        if len(examples) > 1:
            raise InputError(
                f"features must be of the same examples; got {', '.join(map(str, sorted(examples)))} of them"
            )

    def __len__(self) -> int:
        return len(self.runs)


def feature_similarity(
    features: Features, *, rng: np.random.Generator, level: float = 0.95, draws: int = 200
) -> pd.DataFrame:
    """CKA of every pair of runs, place by place.

    Two runs of one method under different seeds are a pair like any other: the baseline that says how much of the
    distance between methods is that of a method from itself. So is a run and the pre-trained backbone.

    The intervals come from `draws` random halves of the examples, the same for all pairs and places. A half drawn
    without repetition scatters around the whole as the whole around the truth (Shao and Wu, 1989). The bootstrap would
    not do: an example that it draws twice is a pair that all models find identical, which moves CKA towards 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    DataFrame
        A row for each place and pair: (`task`, where the runs have one,) `layer` (the place's name), `depth` (its
        number, from 0), `run_a` < `run_b`, `method_a`, `method_b`, `seed_a`, `seed_b`; `cka`, `cka_low`, `cka_high`;
        `cka_biased`, the biased estimate; `examples`, `level`, `interval`. The interval is of these models on other
        examples; it says nothing of other seeds.

    Raises
    ------
    InputError
        One run only, fewer than 8 examples, or runs of different tasks, protocols, backbones or data.
    """
    pair = pair_columns(features.runs)
    tables = []
    for place in _places(features, rng, level, draws):
        low, high = interval(place.drawn, level)
        measured = {"cka": place.cka, "cka_low": low, "cka_high": high, "cka_biased": place.biased}
        tables.append(pd.concat([place.named(len(pair)), pair.assign(**measured, examples=place.examples)], axis=1))
    return pd.concat(tables, ignore_index=True).assign(level=level, interval=HALVES)


def feature_similarity_by_method(
    features: Features, *, rng: np.random.Generator, level: float = 0.95, draws: int = 200
) -> pd.DataFrame:
    """Mean CKA of every two methods over the pairs of their runs, place by place.

    Parameters
    ----------
    rng, level, draws
        As for `feature_similarity`.

    Returns
    -------
    DataFrame
        (`task`,) `layer`, `depth`, `method_a`, `method_b`, `cka`, `cka_low`, `cka_high`; `cka_beyond`: the mean over
        pairs of the two methods under two seeds, minus that of either method with itself, below 0 where methods are
        less alike than seeds (missing where one of them has one seed), `cka_beyond_low`, `cka_beyond_high`; `pairs`
        (how many), `level`, `interval`. Both orders of two methods are there; a method with itself is the mean over
        its seeds, and is missing where it has one. A pair of which one run has the same features for every example has
        no CKA, and is left out of the mean.

    Raises
    ------
    InputError
        As `feature_similarity`.
    """
    groups = _Groups(features.runs)
    columns = pd.DataFrame({"method_a": groups.methods[0], "method_b": groups.methods[1]})
    tables = []
    for place in _places(features, rng, level, draws):
        measured: dict[str, Matrices] = {}
        for name, of in (("cka", groups.mean), ("cka_beyond", groups.beyond)):
            low, high = interval(of(place.drawn), level)
            measured |= {name: of(place.cka[None])[0], f"{name}_low": low, f"{name}_high": high}
        tables.append(pd.concat([place.named(len(columns)), columns.assign(**measured, pairs=groups.pairs)], axis=1))
    table = pd.concat(tables, ignore_index=True).assign(level=level, interval=HALVES)
    swapped = {"method_a": "method_b", "method_b": "method_a"}
    mirrored = table[table["method_a"] != table["method_b"]].rename(columns=swapped)
    return pd.concat([table, mirrored], ignore_index=True)


class _Place(NamedTuple):
    """CKA of all P pairs at one place: on the whole (P,), and on every half (draws, P)."""

    name: dict[str, Any]
    cka: Matrices
    drawn: Matrices
    biased: Matrices
    examples: int

    def named(self, rows: int) -> pd.DataFrame:
        return pd.DataFrame([self.name] * rows)


def _places(features: Features, rng: np.random.Generator, level: float, draws: int) -> Iterator[_Place]:
    require_level(level)
    require_draws(draws)
    require_comparable(features.runs)
    tasks = sorted(set(features.runs["task"])) if "task" in features.runs else []
    if len(tasks) > 1:
        raise InputError(f"features are of one task; got {', '.join(tasks)}")
    a, b = pairs(len(features))
    halves: list[NDArray[np.int64]] = []
    for depth, layer in enumerate(features.places):
        products = grams(features.places[layer])  # (R, N, N)
        N = products.shape[1]
        if N < 2 * LEAST:
            raise InputError(f"an interval needs at least {2 * LEAST} examples, halves of {LEAST}; got {N}")
        halves = halves or [np.sort(rng.permutation(N)[: N // 2]) for _ in range(draws)]
        drawn = np.stack([cka(products[:, half[:, None], half], unbiased=True)[a, b] for half in halves])
        name = {**({"task": tasks[0]} if tasks else {}), "layer": layer, "depth": depth}
        yield _Place(name, cka(products, unbiased=True)[a, b], drawn, cka(products, unbiased=False)[a, b], N)


class _Groups:
    """The pairs of runs of every two methods, of which there are G."""

    def __init__(self, runs: pd.DataFrame):
        first, second = pairs(len(runs))
        method = runs["method"].to_numpy(dtype=str)
        seed = runs["seed"].to_numpy(dtype=np.float64, na_value=np.nan)
        named = np.sort(np.stack([method[first], method[second]]), axis=0)  # (2, P)
        self.methods, group = np.unique(named, axis=1, return_inverse=True)  # (2, G), (P,)
        self.pairs = np.bincount(group)  # (G,)
        self._members = np.eye(len(self.pairs))[group]  # (P, G)
        self._apart = self._members * (np.abs(seed[first] - seed[second]) > 0)[:, None]  # none where a seed is unknown
        a, b = self.methods
        own = {name: g for g, (name, other) in enumerate(zip(a, b, strict=True)) if name == other}
        self._own = [np.array([own.get(name, -1) for name in side]) for side in (a, b)]

    def mean(self, values: Matrices) -> Matrices:
        """Of the pairs for which there is a value: (B, P) -> (B, G)."""
        return _mean(values, self._members)

    def beyond(self, values: Matrices) -> Matrices:
        """The mean over pairs under two seeds, minus that of either method with itself: (B, P) -> (B, G)."""
        apart = _mean(values, self._apart)
        of_seeds = sum(np.where(own < 0, np.nan, apart[:, own]) for own in self._own) / 2
        return np.where(self.methods[0] == self.methods[1], np.nan, apart - of_seeds)


def _mean(values: Matrices, members: Matrices) -> Matrices:
    known = ~np.isnan(values)
    counts = known @ members
    return np.where(counts > 0, np.where(known, values, 0.0) @ members / np.maximum(counts, 1.0), np.nan)
