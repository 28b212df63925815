"""What a person sees while a study runs: a live display at a terminal, a line a trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from petl_study.plan import Plan
from petl_study.spec import StudySpec
from petl_study.store import Record
from petl_study.trials import Trial


class Progress:
    """Counts what is done and says so; the base of both displays."""

    def __init__(
        self, study: StudySpec, console: Console, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console, self.clock, self.capacity = console, clock, capacity
        plan = Plan(study.model_dump())
        legs = [plan.legs(method.name) + [study.protocol.epochs] * len(study.seeds) for _, method in study.cells]
        self.total = sum(map(len, legs)) + len(study.zero_shot_tasks)
        self.epochs = sum(map(sum, legs))  # to be trained in all, and done
        self.done = self.epochs_done = self.epochs_trained = self.failed = 0
        self.reached: dict[str, int] = {}  # epochs that a trial was trained for so far
        self.running: dict[int, tuple[str, float]] = {}
        self.best: dict[str, tuple[float, str]] = {}  # task: (validation accuracy, method)
        self.began = clock()

    def started(self, trial: Trial) -> None:
        self.running[id(trial)] = (trial.describe(), self.clock())

    def finished(self, trial: Trial, record: Record, stored_before: bool) -> None:
        self.running.pop(id(trial), None)
        self.done += 1
        if trial.fit != "none":
            name, upto = trial.whole.describe(), trial.until or trial.protocol.epochs
            epochs = upto - self.reached.get(name, 0)
            self.reached[name] = upto
            self.epochs_done += epochs
            self.epochs_trained += 0 if stored_before else epochs
        self.failed += record.failed
        if record.header["kind"] == "trial" and record.header["status"] == "finished":
            result = (record.header["results"]["val"]["accuracy"], trial.method)
            self.best[trial.task] = max(result, self.best.get(trial.task, (-1.0, "")))

    def without_result(self, task: str, method: str, trials: int) -> None:
        self.console.print(f"{task} {method}: no final run, all {trials} trials failed", style="red", markup=False)

    def left(self) -> float | None:
        """Seconds to the end at the pace so far, epoch by epoch; None before there is one."""
        if not self.epochs_trained:
            return None
        return (self.clock() - self.began) / self.epochs_trained * (self.epochs - self.epochs_done)

    def summary(self) -> str:
        """One line: counts, time, and time left."""
        left = self.left()
        ahead = f", about {_span(left)} left" if left is not None and self.done < self.total else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.total} trials and runs{failed}, {_span(self.clock() - self.began)}{ahead}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Lines(Progress):
    """A plain line for every trial trained: for files, pipes and continuous integration."""

    def finished(self, trial: Trial, record: Record, stored_before: bool) -> None:
        super().finished(trial, record, stored_before)
        if not stored_before:
            left = self.left()
            ahead = f", {_span(left)} left" if left is not None else ""
            self._say(f"[{self.done}/{self.total}{ahead}] {trial.describe()}: {_told(record)}")

    def __enter__(self) -> Self:
        self._say(f"{self.total} trials and runs, {self.capacity} at once")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say(self.summary())

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Display(Progress):
    """What runs now, how far it is, how long it takes, and the best so far, redrawn in place."""

    def started(self, trial: Trial) -> None:
        super().started(trial)
        self._live.update(self._draw())

    def finished(self, trial: Trial, record: Record, stored_before: bool) -> None:
        super().finished(trial, record, stored_before)
        if record.failed:
            self.console.print(f"{trial.describe()}: {_told(record)}", style="red", markup=False)
        self._live.update(self._draw())

    def __enter__(self) -> Self:
        self._live = Live(get_renderable=self._draw, console=self.console, refresh_per_second=2)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.clear()
        self._live.__exit__(kind, error, trace)

    def _draw(self) -> Group:
        now = Table.grid(padding=(0, 2))
        for text, since in self.running.values():
            now.add_row(Text("now", style="cyan"), Text(text), Text(_span(self.clock() - since), style="dim"))
        for task, (accuracy, method) in self.best.items():
            now.add_row(Text("best", style="green"), Text(task), Text(f"{method}, {accuracy:.1%} on validation"))
        bar = Padding(ProgressBar(total=self.total, completed=self.done, width=60), (0, 0, 1, 0))
        return Group(Text(self.summary()), bar, now)


def create(study: StudySpec, console: Console, capacity: int) -> Progress:
    """The display that suits where `console` writes."""
    return (Display if console.is_terminal else Lines)(study, console, capacity)


def _told(record: Record) -> str:
    if record.failed:
        return f"failed: {record.header['error']['message']}"
    name = "val" if record.header["kind"] == "trial" else "test"
    seconds = record.header["cost"]["fit_seconds"] + record.header["cost"]["predict_seconds"]
    return f"{name} {record.header['results'][name]['accuracy']:.1%} ({seconds:.1f} s)"


def _span(seconds: float) -> str:
    """``1:02:03``"""
    return str(timedelta(seconds=round(seconds)))
