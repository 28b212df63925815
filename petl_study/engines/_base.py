"""What every engine promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from petl_study.store import Record
from petl_study.trials import Trial


class Engine(ABC):
    """Runs trials of the study at a directory; a context manager, so that its workers end with it.

    The worker stores the record; the future gives it. A future's exception is a fault of the program or the machine:
    what a training can do wrong by itself comes back as a failed record.
    """

    capacity: int  # trials it can run at once

    def __init__(self, *, workers: int, threads: int, device: str) -> None:
        self.capacity, self.threads, self.device = workers, threads, device

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
