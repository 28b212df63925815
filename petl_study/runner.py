"""A whole study: opens searches, keeps the engine busy, hands each search its records; runs nothing twice."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from petl_study import execution, failures
from petl_study.engines import Engine, Lost, TimedOut
from petl_study.errors import Interrupted
from petl_study.search import Batches, searches
from petl_study.spec import StudySpec
from petl_study.store import Held, Record, Study, alone, key_of
from petl_study.trials import Trial

TRIES = 3  # of a trial whose worker is lost: a node that leaves is no fault of the trial's, memory that runs out may be


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

    @property
    def whole(self) -> bool:
        return len(self.records) == len(self.trials)

    def next(self) -> _Batch | None:
        """The batch that follows, now that all records of this one are in; None when the search is over."""
        try:
            return _Batch(self.search, self.search.send([self.records[i] for i in range(len(self.trials))]))
        except StopIteration:
            return None


@dataclass(frozen=True)
class _Place:
    """One trial of a batch."""

    batch: _Batch
    index: int

    @property
    def trial(self) -> Trial:
        return self.batch.trials[self.index]


def run(spec: StudySpec, directory: Path, engine: Engine, listener: Listener, *, retry_failed: bool = False) -> Outcome:
    """Run what is left of the study `spec` at `directory`.

    A trial whose worker is lost is tried `TRIES` times, and then stored as failed; so is one that takes too long.

    Parameters
    ----------
    engine : Engine
        Entered already.
    listener : Listener
        Told, in this process, of every trial's start and end.
    retry_failed : bool
        Try stored failures again, but for trainings that diverged, which would again. A search in which a trial is
        tried again selects again, and trains its final runs anew.

    Raises
    ------
    InputError
        `directory` holds something else or is in use, or a stored record there is damaged.
    Interrupted
        By ctrl-C; says what is kept.
    """
    study = Study.create(directory, _as_begun(directory, spec.model_dump()))
    with alone(study.path) as held:
        study.sweep()
        driver = _Driver(spec, study, engine, listener, retry_failed)
        try:
            driver.drive(held)
        except KeyboardInterrupt:
            raise Interrupted(driver.kept()) from None
        return driver.outcome


class _Driver:
    """Keeps an engine busy with the trials of a study's searches, and hands every search its records."""

    def __init__(self, spec: StudySpec, study: Study, engine: Engine, listener: Listener, retry_failed: bool) -> None:
        self.outcome = Outcome()
        self._study, self._engine, self._listener, self._retry_failed = study, engine, listener, retry_failed
        self._has_rungs = bool(spec.rungs)
        self._unopened = searches(spec)
        self._waiting: deque[_Place] = deque()
        self._running: dict[Future[Record], _Place] = {}
        self._tries: Counter[str] = Counter()  # of trials whose worker was lost
        self._tried_again: set[str] = set()  # failures that were stored before

    def drive(self, held: Held) -> None:
        """Until no search asks for more, or another took the study over."""
        while True:
            held.require()
            while len(self._running) < self._engine.capacity and (place := self._next()):
                self._begin(place)
            if not self._running:
                return
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                self._collect(future, self._running.pop(future))

    def kept(self) -> str:
        """What an interruption now leaves."""
        stored, dropped = self.outcome.trained + self.outcome.stored_before, len(self._running)
        return f"results stored and kept: {stored}; trials under way, dropped: {dropped}"

    def _next(self) -> _Place | None:
        if not self._waiting and (search := next(self._unopened, None)):
            self._enqueue(_Batch(search, next(search)))
        return self._waiting.popleft() if self._waiting else None

    def _enqueue(self, batch: _Batch) -> None:
        """First of all: what a search has begun is finished before another one is opened."""
        self._waiting.extendleft(_Place(batch, i) for i in reversed(range(len(batch.trials))))

    def _begin(self, place: _Place) -> None:
        if record := self._stored(place.trial):
            self.outcome.stored_before += 1
            self._deliver(place, record, stored_before=True)
        else:
            self._listener.started(place.trial)
            self._running[self._engine.submit(place.trial, self._study.path)] = place

    def _stored(self, trial: Trial) -> Record | None:
        study, spec = self._study, trial.spec
        record = study.furthest(spec) if trial.kind == "trial" else study.find("run", spec)
        if not (record and record.failed and self._retry_failed) or record.key in self._tried_again:
            return record
        if not failures.may_pass(record.header["error"]):
            return record
        self._tried_again.add(record.key)
        study.withdraw(record)
        return None

    def _collect(self, future: Future[Record], place: _Place) -> None:
        trial = place.trial
        try:
            record = future.result()
        except Lost as error:
            name = key_of(trial.spec)
            self._tries[name] += 1
            if self._tries[name] < TRIES:
                self._waiting.appendleft(place)
                return
            record = self._failed(trial, error)
        except TimedOut as error:
            record = self._failed(trial, error)
        self.outcome.trained += 1
        self._deliver(place, record, stored_before=False)

    def _failed(self, trial: Trial, error: Exception) -> Record:
        engine = self._engine
        return execution.fail(trial, self._study.path, engine.device, engine.threads, type(error).__name__, str(error))

    def _deliver(self, place: _Place, record: Record, stored_before: bool) -> None:
        batch, trial = place.batch, place.trial
        batch.records[place.index] = record
        if self._has_rungs and trial.kind == "trial":
            self._study.supersede(record)
            if not record.stopped:
                self._study.forget(record.spec)
        self.outcome.failed += record.failed
        self._listener.finished(trial, record, stored_before)
        if batch.whole:
            self._follow(batch)

    def _follow(self, batch: _Batch) -> None:
        """Go on with the search whose batch is in."""
        following = batch.next()
        going_on = [trial.whole for trial in following.trials] if following else []
        for trial in batch.trials:
            if trial.until is not None and trial.whole not in going_on:
                self._study.forget(trial.spec)
        if following:
            self._enqueue(following)
        elif all(record.failed for record in batch.records.values()) and batch.trials[0].kind == "trial":
            self._listener.without_result(batch.trials[0].task, batch.trials[0].method, len(batch.trials))


def _as_begun(directory: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`, or the one that the study there was begun with, where no result but those of `zero_shot` hangs on it."""
    if not (directory / "study.json").exists():
        return plan
    begun = Study(directory).spec
    return begun if {**begun, "zero_shot": None} == {**plan, "zero_shot": None} else plan
