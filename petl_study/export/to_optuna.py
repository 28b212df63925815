"""What records say as Optuna's journal, DIR/optuna.journal: a study for the search of every method on every task.

The searches themselves keep their studies in memory, and go on from records: a journal beside those would be a second
truth. This one is made of the records, as often as anyone likes, for Optuna's dashboard and its plots.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from petl_study.export._said import Said, Scalar

FILE = "optuna.journal"
_STATES = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}


def write(records: list[Said], out: Path) -> str:
    """Write the journal; returns what was written, in words."""
    searches: defaultdict[tuple[str, str], list[Said]] = defaultdict(list)
    for one in records:
        searches[one.task, one.method].append(one)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=out) as temporary:
            made = Path(temporary) / FILE
            storage = JournalStorage(JournalFileBackend(str(made)))
            for (task, method), of_search in sorted(searches.items()):
                _write(storage, f"{task} {method}", of_search)
            made.replace(out / FILE)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return f"{len(records)} records in {len(searches)} studies"


def _write(storage: JournalStorage, name: str, records: list[Said]) -> None:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    runs = [one for one in records if one.kind == "run"]
    if runs:
        tested = {f"seed {one.made_under['seed']}": _finite(one.results.get("test/accuracy")) for one in runs}
        study.set_user_attr("test accuracy of the final runs", tested)
    trials = [one for one in records if one.kind == "trial"]
    choices = _choices(trials)
    chosen = {(one.record.header.get("selected") or {}).get("trial") for one in runs}
    for number, one in enumerate(trials):
        study.add_trial(_trial(one, number, choices, one.record.key in chosen))


def _choices(trials: list[Said]) -> dict[str, BaseDistribution]:
    """What each hyperparameter was chosen from: what the study's file lists, then what else its records have."""
    values: defaultdict[str, list[Scalar]] = defaultdict(list)
    for one in trials:
        for name, value in itertools.chain(
            ((name, value) for name, listed in one.search.items() if name in one.settings for value in listed),
            one.settings.items(),
        ):
            if not any(_same(value, known) for known in values[name]):
                values[name].append(value)
    return {name: CategoricalDistribution(listed) for name, listed in values.items()}


def _trial(one: Said, number: int, choices: dict[str, BaseDistribution], selected: bool) -> FrozenTrial:
    accuracy = _finite(one.results.get("val/accuracy"))
    state = _STATES[one.status]
    if state is TrialState.COMPLETE and accuracy is None:
        state = TrialState.FAIL  # Optuna completes nothing without a number
    noted: dict[str, Any] = {"record": one.place, "selected": selected}
    noted |= {"validation loss": _finite(one.results.get("val/loss")), **({"error": one.error} if one.error else {})}
    return FrozenTrial(
        number=number,
        state=state,
        value=None if state is TrialState.FAIL else accuracy,
        datetime_start=datetime.fromtimestamp(one.written - one.seconds),
        datetime_complete=datetime.fromtimestamp(one.written),
        params=one.settings,
        distributions={name: choices[name] for name in one.settings},
        user_attrs=noted,
        system_attrs={},
        intermediate_values=_by_epoch(one, "val/accuracy"),
        trial_id=number,
    )


def _by_epoch(one: Said, name: str) -> dict[int, float]:
    seen = {epoch: _finite(values.get(name)) for epoch, values in one.curve}
    return {epoch: value for epoch, value in seen.items() if value is not None}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _same(a: Scalar, b: Scalar) -> bool:
    return type(a) is type(b) and a == b
