"""What every engine promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from petl_study.execution import execute
from petl_study.store import Record
from petl_study.trials import Trial

Work = Callable[[Trial, Path, str], Record]


class Lost(Exception):
    """The worker that ran a trial is gone, and what it had not stored with it; another may have better luck."""


class TimedOut(Exception):
    """A trial took longer than the engine lets one take, and was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it was ended after {seconds:g} s, which is what --trial-timeout allows")


class Engine(ABC):
    """Runs trials of the study at a directory; a context manager, so that its workers end with it.

    The worker stores the record; the future gives it. What a training can do wrong by itself comes back as a failed
    record. A future's exception is `Lost`, `TimedOut`, an `InputError`, or a fault of the program or the machine.

    Parameters
    ----------
    workers : int
        Trials at once.
    threads : int
        Threads of one trial. Floating-point sums depend on it, so the same number gives the same bits on any engine.
    device : str
        As torch names it.
    timeout : float, optional
        Seconds that a trial may take, from when a worker begins it.
    """

    work: Work = staticmethod(execute)  # what is done with a trial, there where it is done

    def __init__(self, *, workers: int, threads: int, device: str, timeout: float | None = None) -> None:
        self.workers, self.threads, self.device, self.timeout = workers, threads, device, timeout

    @property
    def capacity(self) -> int:
        """Trials it can run at once, now."""
        return self.workers

    @abstractmethod
    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        """Have `trial` run. At most `capacity` may be under way."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop. On an error (ctrl-C is one) without waiting for what is under way."""
