"""Stored runs as models again: built from their records, trained anew where a record kept no tensors, folded."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from analysis.comparable import require_comparable
from analysis.loading import Paths
from analysis.rows import read_row, run_row, trial_row
from petl_study import methods, models, store, tasks, training, trials
from petl_study.errors import InputError, NotMergeable, unknown
from petl_study.inputs import Normalisation
from petl_study.learning import Learning
from petl_study.protocols import Precision
from petl_study.store import Record, Study, key_of
from petl_study.tasks import Split, Task
from petl_study.trials import Trial, trial_of

Tensors = Mapping[str, Tensor]

_TENSORS = "tuned.safetensors"  # the file of a record that kept them


@dataclass(frozen=True, eq=False)
class Model:
    """A model in memory, and what its inputs go through first."""

    module: nn.Module
    normalise: Normalisation
    precision: Precision = "fp32"

    def ask(self, split: Split) -> NDArray[np.float32]:
        """Its logits on `split`: (N, C)."""
        try:
            return training.predict(self.module, split, self.normalise, self.precision)
        except training.Diverged as error:
            raise InputError(f"these weights compute nothing usable: {error}.") from None


@dataclass(frozen=True, eq=False)
class Weights:
    """R stored results of one task as weights: what `load_weights` returns.

    Only tuned tensors stay in memory; a model is built when it is asked for.

    Attributes
    ----------
    runs : DataFrame
        R rows, as of `analysis.load_runs` or, of trials, of `analysis.load_trials`.
    records : R records, in the same order.
    device : str
        Where models are built and asked.
    """

    runs: pd.DataFrame
    records: tuple[Record, ...]
    device: str = "cpu"
    _tensors: dict[str, Tensors] = field(default_factory=dict, init=False, repr=False)  # by the key of their trial
    _curves: dict[str, list[dict[str, float]]] = field(default_factory=dict, init=False, repr=False)  # of those trained

    def __len__(self) -> int:
        return len(self.records)

    @property
    def names(self) -> list[str]:
        """A readable name of every row: ``lora, seed 0``."""
        return [f"{method}, seed {seed}" for method, seed in zip(self.runs["method"], self.runs["seed"], strict=True)]

    @property
    def task(self) -> Task:
        return tasks.load(self.trial(0).data)

    def split(self, name: str) -> Split:
        """Examples of the task, as the protocol shows them to models."""
        return self.task.split(name, self.trial(0).protocol.view)

    def trial(self, row: int) -> Trial:
        """What row `row` was trained as."""
        return trial_of(self.records[row])

    def held_out(self, row: int) -> Trial:
        """Row `row` with its own seed and hyperparameters, but trained on train alone: validation is new to it."""
        return dataclasses.replace(self.trial(row), fit="train", selected=None)

    def selected(self, row: int) -> Record:
        """The search trial that selected run `row`; a trial itself.

        Raises
        ------
        InputError
            The run does not name it, or it is not in the run's study.
        """
        record = self.records[row]
        if record.header["kind"] == "trial":
            return record
        path = record.path.parents[3] / record.header.get("selected", {}).get("path", "of no name")
        if not path.is_dir():
            raise InputError(
                f"{record.path}: the search trial that selected this run is not in its study ({path}), and validation"
                " tells nothing of a model that was trained on it. Copy the study's trials/ back beside its runs/."
            )
        return store.read(path)

    def tensors(self, trial: Trial) -> Tensors:
        """The tuned tensors and the classifier of `trial`: those stored, or else those of training it, once."""
        key = key_of(trial.spec)
        if key not in self._tensors:
            record = next((r for r in self.records if r.key == key and _TENSORS in r.header["files"]), None)
            self._tensors[key] = (
                self._train(trial)
                if record is None
                else {name: torch.from_numpy(tensor) for name, tensor in record.tensors().items()}
            )
        return self._tensors[key]

    def untrained(self, trial: Trial) -> Model:
        """The model that `trial` starts from, carrying its method."""
        with _undisturbed():
            module, normalise = models.build(trial, self.task, self.device)
        return Model(module.eval(), normalise, trial.protocol.precision)

    def model(self, trial: Trial) -> Model:
        """The tuned model of `trial`, carrying its method."""
        model = self.untrained(trial)
        methods.load_state_dict(model.module, self.tensors(trial))
        return model

    def plain(self, trial: Trial, alpha: float = 1.0) -> Model:
        """The model of `trial` at `alpha` of its path, folded: modules and names of the plain backbone.

        Raises
        ------
        NotMergeable
            The plain backbone's weights cannot express its method.
        """
        model = self.model(trial)
        methods.scale(model.module, alpha)
        try:
            return dataclasses.replace(model, module=methods.merge(model.module))
        except NotMergeable as error:
            raise NotMergeable(
                f"{error} Its weights cannot be put together with those of other methods: leave {trial.method!r} out of"
                " `methods`. (Over seeds of this one method, space='tuned' works on its tuned tensors.)"
            ) from None

    def reproduced(self, record: Record) -> bool | None:
        """Whether training `record` again gave its last epoch's losses, bit for bit; None where its tensors are stored.

        Where not (another machine), what is looked at is a sibling of what was stored.
        """
        self.tensors(trial_of(record))
        return self._curves[record.key][-1] == record.header["curve"][-1] if record.key in self._curves else None

    def _train(self, trial: Trial) -> Tensors:
        """Train `trial` as the study did; with the study's number of threads, on the same machine, bit for bit."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.records[0].header["environment"].get("threads", before))
        try:
            with _undisturbed():
                module, normalise = models.build(trial, self.task, self.device)
                self._curves[key_of(trial.spec)] = Learning(module, trial, self.task, normalise).fit()
        except training.Diverged as error:
            raise InputError(
                f"{trial.describe()} seed={trial.seed}, trained on {trial.fit} alone: {error}. Leave it out."
            ) from None
        finally:
            torch.set_num_threads(before)
        return methods.state_dict(module)


def load_weights(
    path: Paths,
    task: str,
    methods: Sequence[str] | str | None = None,
    seeds: Sequence[int] | int | None = None,
    *,
    of: Literal["runs", "trials"] = "runs",
    best: int | None = None,
    stored: bool = False,
    device: str = "cpu",
) -> Weights:
    """The finished runs of one task as weights, to be averaged, walked between and looked into.

    Parameters
    ----------
    methods, seeds : optional
        Which; all of them by default.
    of : str
        ``runs``, or the ``trials`` of the searches. Tensors that are not stored, as those of trials never are, are
        trained again, the first time that they are needed, at the cost of the training (`runs.fit_seconds`).
    best : int, optional
        Of every method's trials only so many, those with the highest validation accuracy (of equals the lowest loss).
        Among runs there is no such choice: what validation said is of the one trial that selected all seeds.
    stored : bool
        Leave out runs whose records kept no tensors (`keep.tensors` in the study file), which had to be trained again.
    device : str
        Where models are built: ``cpu``, ``cuda``, ...

    Returns
    -------
    Weights
        Ordered by method and seed; trials by method, the best on validation first.

    Raises
    ------
    InputError
        No such task, method or seed (the message lists what there is); `best` of runs, or `stored` of trials; results
        of different protocols, backbones, weights or data (it names both); or data or weights that are not those
        installed here.
    """
    if of not in ("runs", "trials"):
        raise unknown("of", of, ("runs", "trials"))
    if best is not None:
        _require_rankable(of, best)
    if stored and of == "trials":
        raise InputError("trials keep no tensors, so none are stored; leave `stored` out, and they are trained again.")
    kind: store.Kind = "run" if of == "runs" else "trial"
    paths = [path] if isinstance(path, str | Path) else list(path)
    found = {r.key: r for one in paths for r in Study.open(one).records(kind, task) if _was_trained(r)}
    if not found:
        known = {r.spec["task"] for one in paths for r in Study.open(one).records(kind) if _was_trained(r)}
        raise unknown("task", task, known, where=f"{', '.join(map(str, paths))}: finished {of}")
    where = f"{', '.join(map(str, paths))}, task {task!r}"
    if stored:
        found = {key: record for key, record in found.items() if _TENSORS in record.header["files"]}
        if not found:
            raise InputError(f"{where}: no run kept its tensors. Name its method in `keep.tensors` of the study file.")
    rows = pd.DataFrame([read_row(r, run_row if of == "runs" else trial_row) for r in found.values()])
    rows = _only(rows, "method", methods, where)
    rows = _only(rows, "seed", seeds, where)
    if rows.empty:
        raise InputError(f"{where}: none of these methods has such a seed; ask for other methods or seeds.")
    order = ["method", "seed"] if of == "runs" else ["method", "val_accuracy", "val_loss"]
    rows = rows.sort_values(order, ascending=[name != "val_accuracy" for name in order], kind="stable")
    if best is not None:
        rows = rows.groupby("method").head(best)
    rows = rows.reset_index(drop=True)
    require_comparable(rows)
    records = tuple(found[key] for key in rows["key"])
    for record in records:
        read_row(record, trials.rebuildable)
    return Weights(rows, records, device)


def _was_trained(record: Record) -> bool:
    """Whether weights came of it that may stand beside others: of a whole training, and not the untouched backbone.

    That, as `zero_shot` stores it, is every method's alpha 0.
    """
    return not record.failed and not record.stopped and record.spec["fit"] != "none"


def _require_rankable(of: str, best: int) -> None:
    if best < 1:
        raise InputError(f"best must be at least 1, how many of every method to take; got {best!r}")
    if of == "runs":
        raise InputError(
            f"best={best} has no meaning for runs: all seeds of a method have the validation accuracy of the one trial"
            " that selected them, so none is better by it, and test must not choose. Ask for some `seeds`, or"
            " of='trials'."
        )


def _only(rows: pd.DataFrame, column: str, wanted: Any, where: str) -> pd.DataFrame:
    if wanted is None:
        return rows
    wanted = [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)
    for value in wanted:
        if value not in set(rows[column]):
            raise unknown(column, value, set(map(str, rows[column])), where=where)
    return rows[rows[column].isin(wanted)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave the global generators as they were: building and training a model seeds them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
