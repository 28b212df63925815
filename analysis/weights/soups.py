"""Model soups: one model whose weights are the mean of several models' (Wortsman et al., arXiv 2203.05482).

Two means go by that name, and they differ. ``folded``: every model is first written as weights of the plain backbone,
and those are averaged: the mean of what the methods *do* to the weights, which also exists across methods. ``tuned``:
the tensors that the method trained are averaged, whatever they are: with LoRA's factors the mean of A times the mean of
B, which is not the mean of the updates A B; but it is all that a method has that does not fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.numeric import score
from analysis.predictions import Predictions
from analysis.rows import MADE_UNDER
from analysis.weights.arithmetic import Tensors, average
from analysis.weights.models import Model, Weights
from petl_study import methods
from petl_study.errors import InputError, unknown
from petl_study.trials import Trial

SPACES = ("folded", "tuned")
RECIPES = ("uniform", "greedy")


@dataclass(frozen=True)
class Soup:
    """An average of `taken` rows of a `Weights`; greedy takes them in the order that is best on validation."""

    recipe: str
    space: str
    taken: tuple[int, ...]
    tensors: Tensors

    @property
    def name(self) -> str:
        return f"soup:{self.recipe}:{self.space}"


class Space:
    """The members of a `Weights` as tensors that can be averaged, and a model to put an average into."""

    def __init__(self, weights: Weights, space: str) -> None:
        if space not in SPACES:
            raise unknown("space", space, SPACES)
        first, *others = (trial_of_row.method for trial_of_row in map(weights.trial, range(len(weights))))
        if space == "tuned" and (different := sorted({m for m in others if m != first})):
            raise InputError(
                f"the tuned tensors of {first!r} and {different[0]!r} are different things and have no mean; use"
                " space='folded', or one method."
            )
        self._weights, self._folded = weights, space == "folded"
        trial = weights.trial(0)
        self._model = weights.plain(trial) if self._folded else weights.model(trial)

    def tensors(self, trial: Trial) -> Tensors:
        """What is averaged of the model of `trial`."""
        return self._weights.plain(trial).module.state_dict() if self._folded else self._weights.tensors(trial)

    def put(self, tensors: Tensors) -> Model:
        """The model with these weights; the same one each time."""
        if self._folded:
            self._model.module.load_state_dict(tensors)
        else:
            methods.load_state_dict(self._model.module, tensors)
        return self._model


def soup(weights: Weights, recipe: str = "uniform", space: str = "folded") -> Soup:
    """One model out of several.

    Parameters
    ----------
    weights : Weights
        Runs of one method under several seeds, trials of one search, or (``folded``) runs of several methods.
    recipe : str
        ``uniform``: the mean of all. ``greedy``: from the best on validation downwards, each is taken if the mean with
        it is no less accurate on validation than without. Runs were trained on validation too, so what is asked there
        is each run's like with the same seed and hyperparameters trained on train alone: as many trainings as runs.
        What they decide is then done with the runs. Trials were trained on train alone and are asked themselves.
    space : str
        ``folded`` or ``tuned``: what is averaged (see the module).

    Raises
    ------
    InputError
        Fewer than two members; a member that cannot be folded; tuned tensors that are not of one shape.
    """
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    if len(weights) < 2:
        raise InputError(f"a soup needs two members; got {weights.names[0]} alone. Load more seeds, methods or trials.")
    pot = Space(weights, space)
    rows: Sequence[int] = range(len(weights))
    if recipe == "greedy":
        val = weights.split("val")
        likes = [pot.tensors(weights.held_out(row)) for row in rows]

        def on_val(taken: Sequence[int]) -> tuple[float, float]:
            said = score(pot.put(average([likes[row] for row in taken])).ask(val), val.labels)
            return said["accuracy"], said["loss"]

        rows = greedy(len(weights), on_val)
    return Soup(recipe, space, tuple(rows), average([pot.tensors(weights.trial(row)) for row in rows]))


def greedy(members: int, on_val: Callable[[Sequence[int]], tuple[float, float]]) -> list[int]:
    """Which members a greedy soup takes, in order (arXiv 2203.05482, recipe 1).

    Parameters
    ----------
    on_val : callable
        Accuracy and loss on validation of the soup of some members. Members come by falling accuracy, of equals by
        rising loss; one stays if the accuracy does not fall.
    """
    alone = [on_val([member]) for member in range(members)]
    order = sorted(range(members), key=lambda member: (-alone[member][0], alone[member][1]))
    taken, best = order[:1], alone[order[0]][0]
    for member in order[1:]:
        accuracy, _ = on_val([*taken, member])
        if accuracy >= best:
            taken, best = [*taken, member], accuracy
    return taken


def soup_predictions(weights: Weights, soups: Sequence[Soup] | Soup, split: str = "test") -> Predictions:
    """What the members and their `soups` say of one set of examples.

    Parameters
    ----------
    split : str
        ``test`` or a shift set; of trials also ``val``.

    Returns
    -------
    Predictions
        The rows of ``weights.runs``, then one for each soup: `method` is its name, ``soup:greedy:folded``; `role`
        ``member`` or ``soup``; `size`, how many members were taken.

    Raises
    ------
    InputError
        A split that the members were trained on.
    """
    soups = [soups] if isinstance(soups, Soup) else list(soups)
    trained_on = {"train", "trainval", *(["val"] if weights.trial(0).fit == "trainval" else [])}
    if split in trained_on:
        raise InputError(f"the members were trained on {split!r}; ask about 'test' or a shift set.")
    examples = weights.split(split)
    said: list[NDArray[np.floating]] = []
    for row, record in enumerate(weights.records):
        stored = split in record.sets
        said.append(record.logits(split) if stored else weights.model(weights.trial(row)).ask(examples))
    spaces = {space: Space(weights, space) for space in {each.space for each in soups}}
    said += [spaces[each.space].put(each.tensors).ask(examples) for each in soups]
    members = weights.runs.assign(role="member", size=1)
    same = ["task", "group", "test_examples", *(name for name in MADE_UNDER if name != "key")]
    common = weights.runs.loc[0, [name for name in same if name in weights.runs]].to_dict()
    made = [{**common, "method": each.name, "role": "soup", "size": len(each.taken)} for each in soups]
    runs = pd.DataFrame([*members.to_dict("records"), *made])
    return Predictions(examples.labels, np.stack(said), runs, examples.ids)
