"""What the curves of weight-space ensembles say: which alpha validation chooses, and what that gains on new images.

Works on the frame of `wise_curves`, or on anyone's: `method`, `alpha`, `set`, `accuracy`, and what there is of `task`,
`seed`, `merged`. Which alpha is best on the test sets themselves is hindsight, and is called that wherever it stands.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.comparable import require_columns, require_comparable
from analysis.intervals import require_level
from analysis.one_seed import over_seeds_or_examples
from analysis.shift import shift_means
from petl_study.errors import InputError

CURVE = ["task", "method", "merged"]
_GAINS = {"gain": "", "shift_gain": "shift_"}


def choose_alpha(curves: pd.DataFrame) -> pd.DataFrame:
    """The alpha that validation chooses for every method: the highest accuracy on ``val``.

    Of equals the one with the lowest loss (where it is known), of equals the largest: the tuned model changed least.

    Returns
    -------
    DataFrame
        `task`, `method`, `merged`, `alpha`, `val_accuracy`, and `reproduced` where `curves` has it.

    Raises
    ------
    InputError
        No rows of ``val``, or an accuracy among them that is missing or NaN.
    """
    curves = _filled(curves)
    on_val = curves[curves["set"] == "val"]
    if on_val.empty:
        raise InputError(
            "alpha is chosen on validation, and the curves have no set 'val'. Measure it with wise_curves(...,"
            " validate=True); curves of test sets alone can be drawn, but no point of them is a result."
        )
    if len(unknown := on_val[on_val["accuracy"].isna()]):
        first = ", ".join(f"{name} {unknown.iloc[0][name]}" for name in [*CURVE, "alpha"])
        raise InputError(
            f"{len(unknown)} of {len(on_val)} validation accuracies are missing or NaN, such as that of {first}; the"
            " best alpha might be there. Measure them, or leave that alpha out of the curve."
        )
    known = [name for name in ("loss", "reproduced") if name in on_val]
    table = on_val.groupby([*CURVE, "alpha"], as_index=False)[["accuracy", *known]].mean()
    loss = table["loss"] if "loss" in known else pd.Series(0.0, index=table.index)
    order = table.assign(accuracy=-table["accuracy"].round(12), loss=loss, nearest=-table["alpha"])
    best = order.sort_values([*CURVE, "accuracy", "loss", "nearest"]).groupby(CURVE).head(1).index
    chosen = table.loc[best].rename(columns={"accuracy": "val_accuracy"}).reset_index(drop=True)
    columns = [*CURVE, "alpha", "val_accuracy", *(["reproduced"] if "reproduced" in known else [])]
    return chosen[columns].astype({"reproduced": bool} if "reproduced" in known else {})


def wise_table(curves: pd.DataFrame, *, target: str = "test", level: float = 0.95) -> pd.DataFrame:
    """Accuracy on the target set and on the shift sets along every method's path.

    Parameters
    ----------
    curves : DataFrame
        From `wise_curves`, or by hand (see the module).
    target : str
        The set whose distribution the model was tuned on; all others but ``val`` are shifts, and count the same.

    Returns
    -------
    DataFrame
        A row for each `task`, `method`, `merged` and `alpha`: `seeds`, `accuracy`, `low`, `high` (on the target),
        `shift_sets` (how many), `shift_accuracy`, `shift_low`, `shift_high` (their mean; missing where there are none),
        `level`, `interval`: ``t over seeds``; for one seed ``conservative over examples`` (see `analysis.one_seed`), or
        ``none`` where `curves` has no number of `examples`; and `chosen`: whether validation chooses this alpha (false
        everywhere where the curves have no ``val``).

    Raises
    ------
    InputError
        No such target; a point of a curve lacks a set that others have (it says which).
    """
    require_level(level)
    by_seed = _by_seed(curves, target, level)
    parts = {"accuracy": "", "shift_accuracy": "shift_"}
    table = []
    for values, some in by_seed.groupby([*CURVE, "alpha"], sort=True):
        row = {**dict(zip([*CURVE, "alpha"], values, strict=True)), "seeds": len(some)}
        row["shift_sets"] = int(some["shift_sets"].iloc[0])
        table.append(row | over_seeds_or_examples(some, parts, level=level))
    frame = pd.DataFrame(table)
    if (curves["set"] == "val").any():
        chosen = choose_alpha(curves)[[*CURVE, "alpha"]].assign(chosen=True)
        frame = frame.merge(chosen, on=[*CURVE, "alpha"], how="left")
        return frame.assign(chosen=frame["chosen"].notna())
    return frame.assign(chosen=False)


def wise_gain(curves: pd.DataFrame, *, target: str = "test", level: float = 0.95) -> pd.DataFrame:
    """What moving back towards the pre-trained model gains over the tuned one (alpha 1).

    Returns
    -------
    DataFrame
        Up to three rows for each `task`, `method` and `merged`, by `choice`: ``validation``, the result (see
        `choose_alpha`; missing where the curves have no ``val``); ``test in hindsight`` and ``shift in hindsight``, the
        alpha that is best on those sets themselves, beyond which no rule of choice can come. `alpha`, `seeds`;
        `accuracy`, `gain` (over alpha 1, seed by seed), `low`, `high` on the target; `shift_accuracy`, `shift_gain`,
        `shift_low`, `shift_high` on the shift sets; `level`, `interval`: of the gains, as in `wise_table`. Of one seed
        it is conservative: both ends of a path look at the same images, so a gain is surer than two accuracies tell.

    Raises
    ------
    InputError
        A curve without alpha 1; or as `wise_table`.
    """
    require_level(level)
    by_seed = _by_seed(curves, target, level)
    validated = bool((curves["set"] == "val").any())
    chosen = choose_alpha(curves).set_index(CURVE)["alpha"] if validated else pd.Series(dtype=float)
    table = []
    for values, curve in by_seed.groupby(CURVE, sort=True):
        accuracy, shift = (curve.pivot_table(index="seed", columns="alpha", values=name, dropna=False)
                           for name in ("accuracy", "shift_accuracy"))  # fmt: skip
        if 1.0 not in accuracy:
            task, method, merged = values
            raise InputError(
                f"the curve of {method!r} (task {task!r}, merged {merged!r}) has no alpha 1, the tuned model, to gain"
                " anything over. Leave it out: curves[curves.method != 'NAME']."
            )
        choices = {"validation": chosen.get(values)} if validated else {}
        choices["test in hindsight"] = _best(accuracy)
        if shift.notna().to_numpy().any():
            choices["shift in hindsight"] = _best(shift)
        for choice, alpha in choices.items():
            if alpha is None:
                continue
            row = {**dict(zip(CURVE, values, strict=True)), "choice": choice, "alpha": alpha, "seeds": len(accuracy)}
            row |= {"accuracy": accuracy[alpha].mean(), "shift_accuracy": shift[alpha].mean()}
            gains = _over_tuned(curve, alpha)
            table.append(row | over_seeds_or_examples(gains, _GAINS, level=level, bounds=(-1.0, 1.0)))
    order = [*CURVE, "choice", "alpha", "seeds", "accuracy", "gain", "low", "high"]
    order += ["shift_accuracy", "shift_gain", "shift_low", "shift_high", "level", "interval"]
    return pd.DataFrame(table)[order]


def _filled(curves: pd.DataFrame) -> pd.DataFrame:
    """`curves` with the columns that a frame by hand may lack."""
    require_comparable(curves)
    require_columns(curves, ["method", "alpha", "set", "accuracy"])
    lacking: dict[str, Any] = {"task": "", "seed": 0, "merged": "all"}
    return curves.assign(**{name: value for name, value in lacking.items() if name not in curves})


def _by_seed(curves: pd.DataFrame, target: str, level: float) -> pd.DataFrame:
    """A row for each point of each seed's curve: accuracy on the target, and the mean over the shift sets."""
    return shift_means(_filled(curves), ["method", "merged", "seed", "alpha"], target, level=level)


def _over_tuned(curve: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """What every seed gains over alpha 1, with the ends of one seed: a row a seed."""
    at, tuned = (curve[curve["alpha"] == place].set_index("seed") for place in (alpha, 1.0))
    columns = {}
    for name, prefix in {"accuracy": "", "shift_accuracy": "shift_"}.items():
        columns[f"{prefix}gain"] = at[name] - tuned[name]
        for end, other in (("low", "high"), ("high", "low")):
            against = end if alpha == 1 else other  # over itself a model gains nothing, for certain
            columns[f"{prefix}gain_{end}"] = at[f"{name}_{end}"] - tuned[f"{name}_{against}"]
    return pd.DataFrame(columns)


def _best(by_alpha: pd.DataFrame) -> float:
    """The alpha with the highest mean over seeds; of equals the largest."""
    means = by_alpha.mean().round(12)
    return float(means.index[means == means.max()].max())
