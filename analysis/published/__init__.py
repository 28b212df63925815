"""The published results of the study (arXiv 2409.16434), in the columns of a study's own.

Source, commit, what was changed and what to beware of: README.md beside the tables.
"""

from __future__ import annotations

import io
import json
from importlib import resources

import numpy as np
import pandas as pd

from analysis.rows import ACCURACY, RUN, TRIAL
from petl_study.errors import InputError, unknown

KINDS = ("vtab1k", "search", "manyshot", "robustness", "wise", "parameters")
_SEED = 42  # of every run of the source
_SIZES = {"test": 50_000, "imagenet-v2": 10_000, "imagenet-r": 30_000, "imagenet-s": 50_889, "imagenet-a": 7_500}
_POINT = ["protocol", "task", "method", "hyperparameters", "lr", "weight_decay"]  # one point of one search


def load_published(kind: str = "vtab1k", protocol: str | None = None) -> pd.DataFrame:
    """What the study published, a row a result. Accuracies are fractions, of one seed; what was withheld is NaN.

    Parameters
    ----------
    kind : str
        - ``vtab1k``: 16 methods on the 19 tasks of VTAB-1K, in the columns of `load_runs`; `test_accuracy` is of the
          last epoch, `best_epoch_accuracy` of the best *on the test set*. Beside them `dataset`.
        - ``search``: every point of every grid, in the columns of `load_trials`; beside them `train_accuracy`,
          `train_loss`, `dataset` and `train_examples`. `val_examples` is missing where accuracies are means of several
          splits or the validation images were trained on.
        - ``manyshot``: methods at several sizes on larger training sets, as ``vtab1k``, with `size`. The task is
          one training set (``resisc_225``, ``resisc_full``) of a `dataset`.
        - ``robustness``: CLIP models tuned on 100 images a class of ImageNet, in the columns of `load_accuracies`.
          `set` is ``test`` (ImageNet) or a shift; the model is the stored one (`checkpoint`), and on ``test``
          `final_epoch_accuracy` and `best_epoch_accuracy` tell of the others.
        - ``wise``: those models on the way from the pre-trained weights (`alpha` 0) to the tuned (1), as
          ``robustness``, with `merged`: ``all``, ``head`` (head only) or ``none`` (zero-shot).
        - ``parameters``: tuned parameters, without the classifier, by method and structure.
    protocol : str, optional
        Only the results of one: ``default`` or ``aug_norm`` (CIFAR-100 alone) of VTAB-1K, ``many-shot`` or ``clip``.
        ``paper``, of ``vtab1k`` only, is what the paper's tables put together: the best *test* epoch, and ``aug_norm``
        for CIFAR-100 beside ``default`` for the rest. By default all, each under its name in the column `protocol`
        (``published: default``): what averages or ranks will ask for one.

    Examples
    --------
    >>> load_published(protocol="default").groupby("method").size().nunique()
    1
    """
    if kind not in KINDS:
        raise unknown("kind of published result", kind, KINDS)
    if kind == "parameters":
        return _with_dicts(_read("parameters"))
    if protocol == "paper":
        if kind != "vtab1k":
            raise InputError(f"the protocol 'paper' is of 'vtab1k' alone; got kind {kind!r}. Leave protocol out.")
        return _as_the_paper(_vtab1k())
    made = {"vtab1k": _vtab1k, "search": _search, "manyshot": _manyshot, "robustness": _robustness, "wise": _wise}
    table = made[kind]()
    if protocol is None:
        return table
    if (name := f"published: {protocol}") not in set(table["protocol"]):
        known = {str(name).removeprefix("published: ") for name in table["protocol"].unique()}
        raise unknown("protocol", protocol, known, where=f"published {kind}")
    return table[table["protocol"] == name].reset_index(drop=True)


# -------------------------------------------------------------------------------------------------------------- tables


def _vtab1k() -> pd.DataFrame:
    return _runs(_read("vtab1k"), ["best_epoch_accuracy", "dataset"])


def _manyshot() -> pd.DataFrame:
    return _runs(_read("manyshot"), ["size", "best_epoch_accuracy", "dataset"])


def _search() -> pd.DataFrame:
    table = _read("search")
    final = pd.concat([_read("vtab1k"), _read("manyshot")])[_POINT].drop_duplicates()
    selected = table[_POINT].merge(final, on=_POINT, how="left", indicator=True)["_merge"].eq("both")
    table = table.assign(status="finished", selected=selected.to_numpy(), tuned_parameters=np.nan)
    extra = ["train_accuracy", "train_loss", "dataset", "train_examples"]
    return _in_columns(_with_dicts(table), [*TRIAL, *extra])


def _robustness() -> pd.DataFrame:
    table = _on_sets(_read("robustness"))
    epochs = table[table["checkpoint"].isin(["final_epoch", "best_epoch"])]
    of_epochs = epochs.pivot_table(index=["method", "set"], columns="checkpoint", values="accuracy").reset_index()
    of_epochs = of_epochs.rename(columns={name: f"{name}_accuracy" for name in ("final_epoch", "best_epoch")})
    stored = table.drop(epochs.index).merge(of_epochs, on=["method", "set"], how="left")
    extra = ["checkpoint", "final_epoch_accuracy", "best_epoch_accuracy", "tuned_parameters"]
    return _in_columns(stored, [*ACCURACY, *extra])


def _wise() -> pd.DataFrame:
    return _in_columns(_on_sets(_read("wise")), [*ACCURACY, "merged", "alpha"])


def _as_the_paper(table: pd.DataFrame) -> pd.DataFrame:
    augmented = table["protocol"] == "published: aug_norm"
    kept = table[augmented | ~table["task"].isin(table.loc[augmented, "task"])]
    return kept.assign(protocol="published: paper", test_accuracy=kept["best_epoch_accuracy"]).reset_index(drop=True)


# --------------------------------------------------------------------------------------------------------------- parts


def _runs(table: pd.DataFrame, extra: list[str]) -> pd.DataFrame:
    """Final runs, beside what their search said of the point that was chosen."""
    trials = _read("search")
    searched = trials.groupby(["protocol", "task", "method"]).size().rename("search_trials").reset_index()
    table = table.merge(trials[[*_POINT, "val_accuracy", "val_loss"]], on=_POINT, how="left")
    table = table.merge(searched, on=["protocol", "task", "method"], how="left").assign(search_failed=0, seed=_SEED)
    return _in_columns(_with_dicts(table), [*RUN, *extra])


def _on_sets(table: pd.DataFrame) -> pd.DataFrame:
    names = table["set"].replace("imagenet", "test")
    severity = pd.array([0 if name == "test" else pd.NA for name in names], dtype="Int64")
    return table.assign(
        task="imagenet",
        seed=_SEED,
        protocol="clip",
        set=names,
        kind=names,
        severity=severity,
        examples=names.map(_SIZES),
    )


def _in_columns(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """`table` with what is known of its tasks, in exactly these columns; what the source does not tell is missing."""
    tasks = pd.read_csv(_file("tasks.csv"))
    clip = table["protocol"] == "clip"
    table = table.merge(tasks, on="task", how="left").assign(
        protocol="published: " + table["protocol"],
        backbone=np.where(clip, "vit_b16_clip", "vit_b16_in21k"),
        head=np.where(clip, "zero_shot", "new"),
        study="published",
    )
    order = [name for name in ("protocol", "task", "method") if name in table]
    return table.reindex(columns=columns).sort_values(order, kind="stable", ignore_index=True)


def _with_dicts(table: pd.DataFrame) -> pd.DataFrame:
    """Hyperparameters as dicts: parsed once for every distinct text, and a dict of its own for every row."""
    parsed = {text: json.loads(text) for text in table["hyperparameters"].unique()}
    dicts = pd.Series([dict(parsed[text]) for text in table["hyperparameters"]], table.index, dtype=object)
    return table.assign(hyperparameters=dicts)


def _read(name: str) -> pd.DataFrame:
    return pd.read_parquet(_file(f"{name}.parquet"))


def _file(name: str) -> io.BytesIO:
    return io.BytesIO(resources.files("analysis.published").joinpath(name).read_bytes())
