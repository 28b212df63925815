"""Combining what several models say of an example, and what that gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.combine import COMBINE, Combine
from analysis.comparable import require_comparable
from analysis.examples import mean_interval
from analysis.fitting import FITTED, FittedRule, fit_ensemble
from analysis.intervals import require_level
from analysis.numeric import Floats
from analysis.paired import mcnemar
from analysis.predictions import Members, Predictions
from petl_study.errors import InputError, unknown


def ensemble(
    preds: Predictions,
    combine: str | FittedRule = "mean_logit",
    members: Members = None,
    *,
    val: Predictions | None = None,
) -> Floats:
    """The scores of several runs as one.

    Parameters
    ----------
    combine : str or FittedRule
        ``mean_logit``: mean of the logits; ``mean_prob``: mean of the probabilities; ``geometric``: normalised
        geometric mean of the probabilities; ``median``: their median; ``vote``: number of members that predict the
        class, ties decided by the mean probability (see `analysis.combine`). ``weighted``, ``greedy`` and ``stacking``
        are fitted on `val` first (see `analysis.fitting`); a rule from `fit_ensemble` is used as it is.
    members : optional
        Rows of ``preds.runs`` (a repeated row counts twice), a mask, or names of methods; all runs by default.
    val : Predictions, optional
        What the same runs say of validation; for the rules that are fitted.

    Returns
    -------
    (N, C) floats
        The highest is the ensemble's prediction. At least float32, whatever the logits are kept in.
    """
    rows = preds.positions(members)
    require_comparable(preds.runs.iloc[rows])
    rule = _rule(preds, combine, rows, val)
    scores = np.empty(preds.logits.shape[1:], np.result_type(preds.logits.dtype, np.float32))
    for block in preds.blocks(len(rows)):
        scores[block] = rule(preds.logits[rows, block])
    return scores


def scores_as_logits(scores: Floats, combine: str) -> Floats:
    """`scores` of `ensemble` as logits, whose softmax is the ensemble's probability of each class; same order of
    classes.

    The probability under ``vote`` is the score over its sum: the share of votes, and a little of the mean probability.
    """
    if combine not in (*COMBINE, *FITTED):
        raise unknown("combine", combine, (*COMBINE, *FITTED))
    if combine in ("mean_logit", "geometric"):
        return scores
    return np.log(np.maximum(scores, np.finfo(scores.dtype).tiny))  # a probability that rounded to 0 stays finite


def ensemble_gain(
    preds: Predictions,
    scores: Floats,
    members: Members = None,
    *,
    others: Mapping[str, Floats] | None = None,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
) -> pd.DataFrame:
    """What an ensemble gains over its members, and over other ensembles, on the same examples.

    Parameters
    ----------
    scores : (N, C)
        The ensemble's, from `ensemble` of the same `members`.
    others : mapping of (N, C), optional
        Scores of what else it is compared with, by name: an equal-sized ensemble of seeds (see `ensemble_of_seeds`).
    rng : numpy.random.Generator
        The only source of chance: `draws` resamples of the N examples, of which the interval covers `level` (0 to 1).

    Returns
    -------
    DataFrame
        A row a comparison: `against`, `member` (row of ``preds.runs``; none for a mean or another ensemble), `method`,
        `seed`, `accuracy` (of what it is compared with), `ensemble_accuracy`, `oracle_accuracy` (see `oracle`), `gain`
        (of the ensemble over what it is compared with, a fraction), `low`, `high`, `level`; `only_ensemble`,
        `only_other`: how many examples one of the two alone gets right, and `p_value`, `mid_p` of McNemar's test (none
        of the four for a mean). `against` is

        - ``best member``: the member with the highest accuracy on *these* examples (of equal ones the first): known
          only afterwards, so the comparison is to the ensemble's disadvantage;
        - ``best member on val``: the one with the highest `val_accuracy`, of equal ones the lowest `val_loss`, of
          equal ones the first; where ``preds.runs`` has them;
        - ``mean member``: the mean of the members' accuracies;
        - the names of `others`.

        Which member is compared with is not drawn anew in the bootstrap.
    """
    require_level(level)
    rows = preds.positions(members)
    correct = _correct(preds, scores)
    of_members = preds.correct[rows]  # (M, N)
    best = int(rows[of_members.mean(axis=1).argmax()])
    comparisons: list[tuple[str, int | None, NDArray[Any]]] = [("best member", best, preds.correct[best])]
    if (chosen := best_on_val(preds.runs.iloc[rows])) is not None:
        comparisons.append(("best member on val", int(rows[chosen]), preds.correct[rows[chosen]]))
    comparisons.append(("mean member", None, of_members.mean(axis=0)))
    comparisons += [(name, None, _correct(preds, other)) for name, other in (others or {}).items()]
    table = []
    for against, member, other in comparisons:
        low, high = mean_interval(correct - other.astype(np.float64), rng, level, draws)
        whose = {"method": None, "seed": None} if member is None else dict(preds.runs.iloc[member][["method", "seed"]])
        table.append(
            {
                "against": against,
                "member": member,
                **whose,
                "accuracy": other.mean(),
                "ensemble_accuracy": correct.mean(),
                "oracle_accuracy": oracle(preds, rows).mean(),
                "gain": correct.mean() - other.mean(),
                "low": low,
                "high": high,
                "level": level,
                **_discordant(correct, other),
            }
        )
    whole = ("member", "seed", "only_ensemble", "only_other")
    return pd.DataFrame(table).astype(dict.fromkeys(whole, "Int64"))


def oracle(preds: Predictions, members: Members = None) -> NDArray[np.bool_]:
    """Which examples at least one member gets right: (N,).

    Its mean bounds the accuracy of every rule that answers as one of its members does, such as a vote. An average of
    logits or probabilities may also answer what no member does, and so be right where all are wrong; that is rare.
    """
    right: NDArray[np.bool_] = np.logical_or.reduce(preds.correct[preds.positions(members)], axis=0)
    return right


def ensemble_of_seeds(
    preds: Predictions,
    size: int,
    combine: str = "mean_logit",
    *,
    method: str | None = None,
    val: Predictions | None = None,
) -> tuple[NDArray[np.int64], Floats]:
    """The control of an ensemble of methods: equally many seeds of one method, combined by the same rule.

    Parameters
    ----------
    size : int
        How many members; the lowest seeds are taken.
    method : str, optional
        By default the method that validation picks among those with `size` seeds: the highest mean `val_accuracy` of
        ``preds.runs``, of equal ones the lowest mean `val_loss`.

    Returns
    -------
    members, scores : (size,) rows of ``preds.runs``, (N, C)

    Raises
    ------
    InputError
        No method (or not `method`) has `size` seeds; or validation would have to pick, and its accuracy is not known.
    """
    counts = preds.runs.groupby("method")["seed"].nunique()
    enough = sorted(counts.index[counts >= size])
    if not enough or (method is not None and method not in enough):
        raise InputError(
            f"an ensemble of {size} seeds needs a method with {size}; seeds there are: "
            f"{', '.join(f'{name} {count}' for name, count in counts.items())}. Run more seeds, or compare smaller"
            " ensembles (see ensemble_sizes)."
        )
    if method is None:
        known = [name for name in ("val_accuracy", "val_loss") if name in preds.runs]
        means = preds.runs.groupby("method")[known].mean().loc[enough].reset_index()
        chosen = best_on_val(means)
        if chosen is None:
            raise InputError(
                "val_accuracy, which runs lacks, would choose the method whose seeds are combined; give method="
            )
        method = str(means["method"].iloc[chosen])
    of_method = preds.runs[preds.runs["method"] == method].sort_values("seed", kind="stable")
    rows = of_method.index.to_numpy()[:size]
    return rows, ensemble(preds, combine, rows, val=val)


def best_on_val(runs: pd.DataFrame) -> int | None:
    """The position of the run that validation would pick; None where it is not known."""
    if "val_accuracy" not in runs or runs["val_accuracy"].isna().any():
        return None
    loss = runs["val_loss"].fillna(np.inf) if "val_loss" in runs else np.zeros(len(runs))
    return int(np.lexsort([loss, -runs["val_accuracy"]])[0])


def _rule(preds: Predictions, combine: str | FittedRule, rows: NDArray[np.int64], val: Predictions | None) -> Combine:
    """The rule that `combine` names, fitted where it has to be."""
    members = preds.runs.iloc[rows]
    if isinstance(combine, str):
        if combine in COMBINE:
            return COMBINE[combine]
        if combine not in FITTED:
            raise unknown("combine", combine, (*COMBINE, *FITTED))
        if val is None:
            raise InputError(
                f"{combine} is fitted on validation before it combines: give val=, what the same runs say of the"
                " validation set, such as load_predictions(path, task, 'val')"
            )
        _require_same(preds.runs, val.runs, f"{combine}: preds and val")
        if val.logits.shape[2] != preds.logits.shape[2]:
            raise InputError(f"val has {val.logits.shape[2]} classes and the predictions have {preds.logits.shape[2]}")
        combine = fit_ensemble(val, combine, rows)
    _require_same(members, combine.members, f"{combine.combine}: the members now and when it was fitted")
    return combine.rule


def _require_same(one: pd.DataFrame, other: pd.DataFrame, what: str) -> None:
    """Refuse to use what was learned of some runs on others."""
    names = [[f"{m} {s}" for m, s in zip(frame["method"], frame["seed"], strict=True)] for frame in (one, other)]
    if names[0] != names[1]:
        shown = [", ".join(some) for some in names]
        raise InputError(f"{what} must be the same runs in the same order; got {shown[0]} and {shown[1]}")


def _correct(preds: Predictions, scores: Floats) -> NDArray[np.bool_]:
    scores = np.asarray(scores)
    if scores.shape != preds.logits.shape[1:]:
        raise InputError(f"scores have shape {scores.shape} but the predictions are (N, C) = {preds.logits.shape[1:]}")
    if np.isnan(scores).any():
        raise InputError(
            f"scores are NaN for {np.isnan(scores).any(axis=1).sum()} of {len(scores)} examples, so what is answered"
            " there is not known"
        )
    right: NDArray[np.bool_] = scores.argmax(axis=1) == preds.labels
    return right


def _discordant(correct: NDArray[np.bool_], other: NDArray[Any]) -> dict[str, object]:
    """McNemar's test of two models; nothing for a mean of several."""
    if other.dtype != bool:
        return dict.fromkeys(("only_ensemble", "only_other", "p_value", "mid_p"))
    only, only_other = int((correct & ~other).sum()), int((other & ~correct).sum())
    p_value, mid_p = mcnemar(only, only_other)
    return {"only_ensemble": only, "only_other": only_other, "p_value": float(p_value), "mid_p": float(mid_p)}
