"""Rules that make one answer of several: logits of M members in, scores of each class out.

    (M, n, C) -> (n, C), the highest is the answer

None of them looks at a label, nor minds the order of the members or a constant added to a member's logits of an
example. Those that are fitted on validation first are in `analysis.fitting`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.numeric import Floats, log_softmax, softmax, widen

Combine = Callable[[Floats], Floats]  # (M, n, C) -> (n, C)


def mean_logit(logits: Floats) -> Floats:
    """The mean of the members' logits."""
    return widen(logits).mean(axis=0)


def mean_prob(logits: Floats) -> Floats:
    """The mean of the members' probabilities; sums to 1."""
    return softmax(logits).mean(axis=0)


def geometric(logits: Floats) -> Floats:
    """Logarithms of the normalised geometric mean of the members' probabilities.

    The probabilities of `mean_logit`, exactly: a member's log-probabilities are its logits and a constant, which the
    normalisation takes away again. It is here because both names are in use.
    """
    return log_softmax(mean_logit(logits))


def median(logits: Floats) -> Floats:
    """The median of the members' probabilities, class by class, normalised to sum to 1.

    One member that is sure and wrong moves it less than a mean. Of two members it is the mean; where the medians of all
    classes are 0 the mean decides.
    """
    probabilities = softmax(logits)
    middle = np.median(probabilities, axis=0)
    total = middle.sum(axis=-1, keepdims=True)
    return np.where(total > 0, middle / np.where(total > 0, total, 1.0), probabilities.mean(axis=0))


def vote(logits: Floats) -> Floats:
    """How many members predict each class, plus half its mean probability.

    The half is less than one vote, so it decides between classes with equally many votes and nothing else; the number
    of votes is the whole part.
    """
    said = widen(logits).argmax(axis=-1)[..., None]  # (M, n, 1)
    return (said == np.arange(logits.shape[-1])).sum(axis=0) + mean_prob(logits) / 2


COMBINE: dict[str, Combine] = {
    "mean_logit": mean_logit,
    "mean_prob": mean_prob,
    "geometric": geometric,
    "median": median,
    "vote": vote,
}
