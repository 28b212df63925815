"""Rules that are fitted on validation before they combine: convex weights, greedy selection, stacking.

Each answers with probabilities, (M, n, C) -> (n, C). They are fitted on validation and on nothing else: fitted on the
test set they would be judged by what they were made with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.combine import Combine
from analysis.comparable import require_comparable
from analysis.greedy import greedy_selection
from analysis.numeric import Floats, softmax
from analysis.predictions import Members, Predictions
from analysis.stacking import fit_stacking
from petl_study.errors import InputError, unknown

FITTED = ("weighted", "greedy", "stacking")


@dataclass(frozen=True, eq=False)
class FittedRule:
    """A rule and what it learned.

    Attributes
    ----------
    combine : str
        Its name, one of `FITTED`.
    members : DataFrame
        A row a member: `method`, `seed`, and `weight` where the rule is a weighted mean of probabilities (sums to 1).
    rule : function
        (M, n, C) logits of these members, in this order, -> (n, C) probabilities.
    settings : dict
        What was chosen for the fit, besides the data.
    """

    combine: str
    members: pd.DataFrame
    rule: Combine
    settings: dict[str, Any] = field(default_factory=dict)


def fit_ensemble(
    val: Predictions,
    combine: str,
    members: Members = None,
    *,
    steps: int = 20,
    metric: str = "accuracy",
    tolerance: float = 1e-5,
) -> FittedRule:
    """Fit a rule on validation.

    Parameters
    ----------
    combine : str
        ``weighted``: the mean of probabilities under the weights of `convex_weights`; ``greedy``: under the shares of
        picks of `analysis.greedy_selection`; ``stacking``: multinomial logistic regression on the members' logits (see
        `analysis.stacking`).
    steps, metric : int, str
        Of ``greedy``.
    tolerance : float
        Of ``weighted``, in nats of mean log-likelihood; at least 1e-9.
    """
    if combine not in FITTED:
        raise unknown("fitted rule", combine, FITTED)
    rows = val.positions(members)
    require_comparable(val.runs.iloc[rows])
    if combine == "stacking":
        stacked, settings = fit_stacking(val, rows)
        return FittedRule(combine, val.runs.iloc[rows][["method", "seed"]], stacked, settings)
    if combine == "weighted":
        weights, settings = convex_weights(val.log_likelihood[rows], tolerance), {"tolerance": tolerance}
    else:
        path = greedy_selection(val, rows, steps=steps, metric=metric)
        picks = path.loc[path["selected"], "run"].to_numpy()
        weights, settings = (picks == rows[:, None]).mean(axis=1), {"steps": steps, "metric": metric}
    table = val.runs.iloc[rows][["method", "seed"]].assign(weight=weights)
    return FittedRule(combine, table, _WeightedMean(weights), settings)


def ensemble_weights(fitted: FittedRule) -> pd.DataFrame:
    """The weight of every member, the heaviest first: `method`, `seed`, `weight`."""
    if "weight" not in fitted.members:
        raise InputError(f"{fitted.combine} gives its members no weights; ask for weighted or greedy")
    return fitted.members.sort_values("weight", ascending=False, kind="stable", ignore_index=True)


def convex_weights(log_likelihood: NDArray[np.float64], tolerance: float = 1e-5) -> NDArray[np.float64]:
    """The weights w >= 0, sum 1, under which a mean of the members' probabilities makes the labels likeliest.

        maximise  f(w) = mean_n log sum_m w_m p_mn        p_mn: probability that member m gives to the label of n

    f is concave, so there is one best value. It is climbed by w_m <- w_m mean_n(p_mn / sum_k w_k p_kn) (EM of a
    mixture), from equal weights, until max_m df/dw_m - 1, which bounds how far f is from the best, is at most
    `tolerance` nats. Members that say the same get the same weight.

    Parameters
    ----------
    log_likelihood : (M, N)
        log p_mn.

    Returns
    -------
    (M,) weights
    """
    if not tolerance >= 1e-9:  # near the precision of the mean, the climb would never end
        raise InputError(f"tolerance must be at least 1e-9, such as 1e-6; got {tolerance!r}")
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=0))  # (M, N); a factor an example changes no weight
    weights = np.full(len(likelihood), 1 / len(likelihood))
    while True:
        slope = (likelihood / (weights @ likelihood)).mean(axis=1)  # (M,): df/dw, whose mean under w is 1
        if slope.max() - 1 <= tolerance:
            return weights
        weights *= slope
        weights /= weights.sum()


class _WeightedMean:
    """sum_m w_m softmax(logits_m)."""

    def __init__(self, weights: NDArray[np.float64]):
        self.weights = weights

    def __call__(self, logits: Floats) -> Floats:
        total: Floats | None = None
        for weight, of_member in zip(self.weights, logits, strict=True):
            if weight > 0:
                part = softmax(of_member)
                part *= part.dtype.type(weight)
                total = part if total is None else total + part
        assert total is not None  # the weights sum to 1
        return total
