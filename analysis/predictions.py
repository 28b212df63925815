"""What several models said of the same examples, and whether that is well-formed enough to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from analysis.numeric import finite_rows, log_doubt, widen
from petl_study.errors import InputError, unknown

Members = Sequence[int] | Sequence[str] | NDArray[Any] | None

_BLOCK_BYTES = 4 * 2**20  # a float64 working copy of this size stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Predictions:
    """The logits of R runs on the same N examples of C classes. Checked whole when made; also made by hand.

    Parameters
    ----------
    labels : (N,) integers
        The true classes, 0 to C - 1.
    logits : (R, N, C) floats
        Finite. Kept in the precision they come in, and where they are: an array that maps a file, such as
        ``np.load("logits.npy", mmap_mode="r")``, is never copied, and whatever computes on it works block by block.
    runs : DataFrame
        R rows, in the order of `logits`, with at least `method`; `seed` where there is one.
    ids : (N,) text, optional
        A distinct name for every example.

    Examples
    --------
    >>> logits = np.array([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    >>> preds = Predictions([0, 1], logits, pd.DataFrame({"method": ["lora", "ssf"], "seed": [0, 0]}))
    >>> preds.accuracy.tolist()
    [1.0, 0.5]
    """

    labels: NDArray[np.int64]
    logits: NDArray[np.floating[Any]]
    runs: pd.DataFrame
    ids: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        try:
            logits = np.asarray(self.logits)
        except ValueError:  # lists of unequal lengths
            raise InputError("logits of different runs must be of the same examples and classes: (R, N, C)") from None
        if logits.ndim != 3 or 0 in logits.shape or not np.issubdtype(logits.dtype, np.floating):
            raise InputError(
                f"logits must be floats of shape (R runs, N examples, C classes), none of them 0; got {logits.dtype}"
                f" of shape {logits.shape}. For a single run give logits[None]."
            )
        R, N, C = logits.shape
        runs = _checked_runs(self.runs, R)
        set_ = object.__setattr__  # the class is frozen; what was given is replaced by its checked form once, here
        set_(self, "logits", logits)
        set_(self, "labels", _checked_labels(self.labels, N, C))
        set_(self, "runs", runs)
        set_(self, "ids", None if self.ids is None else _checked_ids(self.ids, N))
        for name, said in zip(self.names, logits, strict=True):
            finite = np.concatenate([finite_rows(said[block]) for block in self.blocks()])
            if not finite.all():
                wrong = np.flatnonzero(~finite)
                raise InputError(
                    f"run {name} has NaN or infinite logits for {len(wrong)} of {N} examples (the first is number"
                    f" {wrong[0]}). Leave that run or those examples out."
                )

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def names(self) -> list[str]:
        """A readable name of every run for messages: ``lora, seed 0`` (R,)."""
        return [
            f"{method}" if pd.isna(seed) else f"{method}, seed {seed}"
            for method, seed in zip(self.runs["method"], self.runs["seed"], strict=True)
        ]

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class with the highest logit; of equal ones, the first: (R, N)."""
        said = np.empty(self.logits.shape[:2], np.int64)
        for block in self.blocks():
            for run, logits in enumerate(self.logits):
                said[run, block] = widen(logits[block]).argmax(axis=-1)
        return said

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one: (R, N)."""
        return self.predicted == self.labels

    @cached_property
    def accuracy(self) -> NDArray[np.float64]:
        """The fraction of correct examples: (R,)."""
        return self.correct.mean(axis=1)

    @cached_property
    def doubt(self) -> NDArray[np.float64]:
        """log(1 / p - 1) where p is the probability of the predicted class (see `log_doubt`): (R, N)."""
        doubt = np.empty(self.logits.shape[:2])
        for block in self.blocks():
            for run, logits in enumerate(self.logits):
                doubt[run, block] = log_doubt(logits[block])
        return doubt

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the predicted class: (R, N)."""
        return expit(-self.doubt)

    @cached_property
    def log_likelihood(self) -> NDArray[np.float64]:
        """The logarithm of the probability of the true class: (R, N). Its mean is minus the cross-entropy, in nats."""
        examples = np.arange(len(self.labels))
        top, true = (
            np.stack([logits[examples, said] for logits, said in zip(self.logits, classes, strict=True)])
            for classes in (self.predicted, np.broadcast_to(self.labels, self.predicted.shape))
        )
        behind: NDArray[np.float64] = true.astype(np.float64) - top.astype(np.float64)
        return behind - np.logaddexp(0.0, self.doubt)

    def positions(self, members: Members = None) -> NDArray[np.int64]:
        """The rows of `runs` that `members` means.

        Parameters
        ----------
        members : sequence, optional
            Rows (integers, which may repeat), a mask of R booleans, or names of methods (all runs of each). None: all.

        Returns
        -------
        (M,) integers, at least one.
        """
        if members is None:
            return np.arange(len(self))
        given = [members] if isinstance(members, str) else list(members)
        if given and all(isinstance(m, str) for m in given):
            methods = self.runs["method"].tolist()
            for name in given:
                if name not in methods:
                    raise unknown("method", name, set(methods), where="members")
            return np.flatnonzero([method in given for method in methods])
        rows = np.asarray(given)
        if rows.dtype == bool and rows.shape == (len(self),):
            rows = np.flatnonzero(rows)
        whole = rows.ndim == 1 and len(rows) > 0 and np.issubdtype(rows.dtype, np.integer)
        if not whole or rows.min() < 0 or rows.max() >= len(self):
            raise InputError(
                f"members must be rows of `runs` (0 to {len(self) - 1}), a mask of {len(self)} booleans or names of"
                f" methods, and at least one; got {members!r}"
            )
        return rows.astype(np.int64)

    def select(self, members: Members) -> Predictions:
        """The same examples, some of the runs. Rows at equal distances (0, 1, 2 or 0, 2, 4) are not copied."""
        rows = self.positions(members)
        step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
        even = step > 0 and bool((np.diff(rows) == step).all())
        logits = self.logits[rows[0] : rows[-1] + 1 : step] if even else self.logits[rows]
        return Predictions(self.labels, logits, self.runs.iloc[rows], self.ids)

    def blocks(self, runs: int = 1) -> Iterator[slice]:
        """Slices of examples, in order, so small that a float64 copy of `runs` runs' logits takes little memory."""
        _, N, C = self.logits.shape
        size = max(1, _BLOCK_BYTES // (8 * C * runs))
        return (slice(start, start + size) for start in range(0, N, size))


def _checked_runs(runs: pd.DataFrame, R: int) -> pd.DataFrame:
    if not isinstance(runs, pd.DataFrame) or "method" not in runs:
        raise InputError(f"runs must be a DataFrame with a column 'method'; got {_described(runs)}")
    if len(runs) != R:
        raise InputError(
            f"runs has {len(runs)} rows but the logits are of {R} runs; give a row for each, in their order"
        )
    runs = runs.reset_index(drop=True)
    try:
        seeds = pd.array(runs["seed"].to_list() if "seed" in runs else [pd.NA] * R, dtype="Int64")
    except (TypeError, ValueError):
        raise InputError(f"seeds must be whole numbers (or missing); got {runs['seed'].tolist()}") from None
    return runs.assign(seed=seeds)


def _checked_labels(labels: ArrayLike, N: int, C: int) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.shape != (N,):
        raise InputError(
            f"labels have shape {labels.shape} but the logits are of {N} examples; give one label for each"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be whole numbers, the true classes 0 to {C - 1}; got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= C:
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()} but the logits have {C} classes, 0 to {C - 1}."
            " Number the classes as the columns of the logits are."
        )
    return labels.astype(np.int64)


def _checked_ids(ids: ArrayLike, N: int) -> NDArray[np.str_]:
    ids = np.asarray(ids, dtype=np.str_)
    if ids.shape != (N,):
        raise InputError(
            f"ids have shape {ids.shape} but the logits are of {N} examples; give one id for each, or none"
        )
    if len(np.unique(ids)) != N:
        values, counts = np.unique(ids, return_counts=True)
        raise InputError(
            f"id {str(values[counts > 1][0])!r} names more than one example; give every example its own id, or none"
        )
    return ids


def _described(value: object) -> str:
    return f"one with columns {', '.join(map(str, value))}" if isinstance(value, pd.DataFrame) else type(value).__name__
