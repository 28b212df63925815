"""A whole study: opens searches, keeps the engine busy, hands each search its records; runs nothing twice."""

from __future__ import annotations

import fcntl
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from petl_study.engines import Engine
from petl_study.errors import InputError
from petl_study.search import Batches, searches
from petl_study.spec import StudySpec
from petl_study.store import Record, Study
from petl_study.trials import Trial


class Listener(Protocol):
    """Whoever wants to know how a study gets on."""

    def started(self, trial: Trial) -> None: ...

    def finished(self, trial: Trial, record: Record, stored_before: bool) -> None: ...

    def without_result(self, task: str, method: str, trials: int) -> None: ...


@dataclass
class Outcome:
    """What a call of `run` did: counts of records."""

    trained: int = 0
    stored_before: int = 0
    failed: int = 0


@dataclass
class _Batch:
    """Trials that a search asked for together, and their records as they come in."""

    search: Batches
    trials: list[Trial]
    records: dict[int, Record] = field(default_factory=dict)

    def next(self) -> _Batch | None:
        """The batch that follows, now that all records of this one are in; None when the search is over."""
        try:
            return _Batch(self.search, self.search.send([self.records[i] for i in range(len(self.trials))]))
        except StopIteration:
            return None


def run(spec: StudySpec, directory: Path, engine: Engine, listener: Listener) -> Outcome:
    """Run what is left of the study `spec` at `directory`.

    Parameters
    ----------
    engine : Engine
        Entered already.
    listener : Listener
        Told, in this process, of every trial's start and end.

    Raises
    ------
    InputError
        `directory` holds something else or is in use, or a stored record there is damaged.
    """
    study = Study.create(directory, _as_begun(directory, spec.model_dump()))
    outcome = Outcome()
    with _alone(study):
        study.sweep()
        unopened = deque(searches(spec))
        waiting: deque[tuple[_Batch, int]] = deque()
        running: dict[Future[Record], tuple[_Batch, int]] = {}

        def deliver(batch: _Batch, i: int, record: Record, stored_before: bool) -> None:
            batch.records[i] = record
            if spec.rungs and batch.trials[i].kind == "trial":
                study.supersede(record)
                if not record.stopped:
                    study.forget(record.spec)
            outcome.failed += record.failed
            listener.finished(batch.trials[i], record, stored_before)
            if len(batch.records) < len(batch.trials):
                return
            following = batch.next()
            going_on = [trial.whole for trial in following.trials] if following else []
            for trial in batch.trials:
                if trial.until is not None and trial.whole not in going_on:
                    study.forget(trial.spec)
            if following:
                waiting.extendleft((following, i) for i in reversed(range(len(following.trials))))
            elif all(r.failed for r in batch.records.values()) and batch.trials[0].kind == "trial":
                listener.without_result(batch.trials[0].task, batch.trials[0].method, len(batch.trials))

        while True:
            while len(running) < engine.capacity:
                if not waiting:
                    if not unopened:
                        break
                    opened = unopened.popleft()
                    first = _Batch(opened, next(opened))
                    waiting.extend((first, i) for i in range(len(first.trials)))
                batch, i = waiting.popleft()
                trial = batch.trials[i]
                if record := study.furthest(trial.spec) if trial.kind == "trial" else study.find("run", trial.spec):
                    outcome.stored_before += 1
                    deliver(batch, i, record, stored_before=True)
                else:
                    listener.started(trial)
                    running[engine.submit(trial, directory)] = batch, i
            if not running:
                return outcome
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                batch, i = running.pop(future)
                record = future.result()
                outcome.trained += 1
                deliver(batch, i, record, stored_before=False)


def _as_begun(directory: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`, or the one that the study there was begun with, where no result but those of `zero_shot` hangs on it."""
    if not (directory / "study.json").exists():
        return plan
    begun = Study(directory).spec
    return begun if {**begun, "zero_shot": None} == {**plan, "zero_shot": None} else plan


@contextmanager
def _alone(study: Study) -> Iterator[None]:
    """Hold the study's lock, which the system releases however this process ends."""
    with (study.path / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{study.path} is being run by another process. Wait for it, or stop it; what it has stored is kept."
            ) from None
        yield
