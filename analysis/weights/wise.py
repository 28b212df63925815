"""Weight-space ensembles of the tuned and the pre-trained model (WiSE-FT: Wortsman et al., arXiv 2109.01903)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from analysis.numeric import score
from analysis.rows import MADE_UNDER, parse_set
from analysis.weights.arithmetic import between
from analysis.weights.models import Model, Weights
from petl_study import methods
from petl_study.errors import InputError, NotMergeable, unknown
from petl_study.tasks import Split
from petl_study.trials import Trial, trial_of

ALPHAS = tuple(i / 10 for i in range(11))
MERGED = ("all", "head")
WISE = [
    *("task", "group", "method", "seed", "merged", "alpha", "set", "kind", "severity", "accuracy", "loss", "examples"),
    *("reproduced", *MADE_UNDER),
]


def wise_curves(
    weights: Weights,
    *,
    alphas: Sequence[float] = ALPHAS,
    merged: Sequence[str] | str = "all",
    sets: Sequence[str] | None = None,
    validate: bool = True,
    keep: str | Path | None = None,
) -> pd.DataFrame:
    """Accuracy of every run along the path from the pre-trained model (alpha 0) to the tuned one (alpha 1).

    A run was trained on train and validation, so its own accuracy on validation says nothing of alpha. The rows of
    ``val`` are therefore those of the search trial that selected it, trained on train alone; trials keep no tensors, so
    it is trained once more. From them `analysis.choose_alpha` takes the alpha that is a result; the same choice made
    from ``test`` is hindsight.

    Cost: one training for every method, on train; and for every run, at each alpha, asking about all `sets`
    (`runs.predict_seconds`). The model is built once, and folded at each alpha where it folds; ``head``, and a method
    that tunes nothing else, ask once for all alphas, since only the last layer differs between them.

    Parameters
    ----------
    alphas : sequence of float
        From 0 to 1.
    merged : str or sequence of str
        What moves along the path: ``all``, what the method tuned or added and the classifier; ``head``, the classifier
        alone, while the backbone stays tuned. With a new classifier alpha 0 is an untrained one; only where the study
        said ``head: zero_shot`` is it the zero-shot model.
    sets : sequence of str, optional
        ``test`` and shift sets; all of the task's by default.
    validate : bool
        Whether to make the rows of ``val``.
    keep : path, optional
        A Parquet file. Curves found in it are not measured again; those that are measured join it.

    Returns
    -------
    DataFrame
        `task`, `group`, `method`, `seed`, `merged`, `alpha`, `set`, `kind`, `severity`, `accuracy`, `loss`,
        `examples`, and what the run was made under. `reproduced`, of what was trained again, as the trials of
        ``val`` always are: whether that gave the stored result bit for bit; where not (another machine), what is seen,
        and alpha chosen by, is a sibling of it.
    """
    alphas = _checked_alphas(alphas)
    merged = [merged] if isinstance(merged, str) else list(merged)
    for what in merged:
        if what not in MERGED:
            raise unknown("merged", what, MERGED)
    task = weights.task
    sets = ["test", *task.shifts] if sets is None else list(sets)
    for name in sets:
        if name not in ("test", *task.shifts):
            raise unknown("set", name, ["test", *task.shifts], where=f"task {task.name!r}")
    kept = _Kept(keep)
    curves = []
    for row in range(len(weights)):
        for what in merged:
            key, seen = weights.records[row].key, [*sets, *(["val"] if validate else [])]
            curve = kept.find(key, what, alphas, seen)
            if curve is None:
                curve = _curve(weights, row, what, alphas, sets, validate)
                kept.add(curve)
            curves.append(curve)
    return pd.concat(curves, ignore_index=True).astype({"severity": "Int64", "reproduced": "boolean"})[WISE]


def _curve(
    weights: Weights, row: int, merged: str, alphas: Sequence[float], sets: Sequence[str], validate: bool
) -> pd.DataFrame:
    """The rows of one run."""
    trial = weights.trial(row)
    of_run: dict[Any, Any] = weights.runs.loc[row, ["task", "group", "method", "seed", *MADE_UNDER]].to_dict()
    rows: list[dict[str, Any]] = []

    def look(trial: Trial, names: Sequence[str], reproduced: bool | None) -> None:
        splits = {name: weights.split(name) for name in names}
        for alpha, name, logits in logits_along(weights, trial, merged, alphas, splits):
            kind, severity = parse_set(name)
            where = {"merged": merged, "alpha": alpha, "set": name, "kind": kind, "severity": severity}
            rows.append({**of_run, **where, **score(logits, splits[name].labels), "reproduced": reproduced})

    look(trial, sets, weights.reproduced(weights.records[row]))
    if validate:
        selected = weights.selected(row)
        look(trial_of(selected), ["val"], weights.reproduced(selected))
    return pd.DataFrame(rows)


def logits_along(
    weights: Weights, trial: Trial, merged: str, alphas: Sequence[float], splits: Mapping[str, Split]
) -> Iterator[tuple[float, str, NDArray[np.float32]]]:
    """What the model of `trial` says at each alpha of each split: alpha, name and logits (N, C)."""
    model = weights.model(trial)
    if merged == "head" or not methods.trainable_parameters(model.module):
        for name, split in splits.items():
            for alpha, logits in zip(alphas, _along_head(model, alphas, split), strict=True):
                yield alpha, name, logits
        return
    for alpha in alphas:
        methods.scale(model.module, alpha)
        here = _folded(model)
        for name, split in splits.items():
            yield alpha, name, here.ask(split)


def _folded(model: Model) -> Model:
    """The plain model that `model` is now, where it folds: what a method added costs time in every forward pass."""
    try:
        return dataclasses.replace(model, module=methods.merge(copy.deepcopy(model.module)))
    except NotMergeable:
        return model


@torch.inference_mode()
def _along_head(model: Model, alphas: Sequence[float], split: Split) -> Iterator[NDArray[np.float32]]:
    """The logits at each alpha of the classifier alone: everything before it is the same, and computed once."""
    head: nn.Module = model.module.get_classifier()  # type: ignore[operator]
    methods.scale(model.module, 0.0)
    start = {name: parameter.clone() for name, parameter in head.named_parameters()}
    methods.scale(model.module, 1.0)
    tuned = dict(head.named_parameters())
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        model.ask(split)
    finally:
        hook.remove()
    features = torch.cat(seen)  # (N, d)
    for alpha in alphas:
        yield functional_call(head, between(start, tuned, alpha), (features,)).float().cpu().numpy()


def _checked_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    given = tuple(float(alpha) for alpha in alphas)
    if not given or len(set(given)) < len(given) or not all(0 <= alpha <= 1 for alpha in given):
        raise InputError(f"alphas must be different numbers from 0 to 1, such as (0, 0.5, 1); got {alphas!r}")
    return given


class _Kept:
    """Curves measured before, in a Parquet file. Rows carry their run's key, so they are of that run and no other."""

    def __init__(self, file: str | Path | None) -> None:
        self._file = None if file is None else Path(file)
        self._rows = pd.DataFrame(columns=WISE)
        if self._file is not None and self._file.exists():
            try:
                self._rows = pd.read_parquet(self._file)[WISE]
            except (OSError, ValueError, KeyError) as error:
                raise InputError(
                    f"{self._file} does not hold the rows of wise_curves ({error}). Give another file as `keep`, or"
                    " remove this one: it is made anew."
                ) from None

    def find(self, key: str, merged: str, alphas: Sequence[float], sets: Sequence[str]) -> pd.DataFrame | None:
        rows = self._rows[(self._rows["key"] == key) & (self._rows["merged"] == merged)]
        rows = rows[rows["alpha"].isin(alphas) & rows["set"].isin(sets)]
        return rows if len(rows) == len(alphas) * len(sets) else None

    def add(self, rows: pd.DataFrame) -> None:
        if self._file is None:
            return
        both = pd.concat([self._rows, rows], ignore_index=True) if len(self._rows) else rows
        self._rows = both.drop_duplicates(["key", "merged", "alpha", "set"], keep="last")[WISE]
        temporary = self._file.with_name(f".{self._file.name}.writing")
        self._rows.to_parquet(temporary, index=False)
        temporary.replace(self._file)
