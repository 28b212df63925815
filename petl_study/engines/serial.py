"""One trial after the other, in this process: the reference that other engines must equal."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Self

import torch

from petl_study import memory
from petl_study.engines._base import Engine
from petl_study.store import Record
from petl_study.trials import Trial, execute


class Serial(Engine):
    def __init__(self, *, workers: int, threads: int, device: str) -> None:
        super().__init__(workers=1, threads=threads, device=device)

    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        """Run `trial` now, and return when it is done."""
        future: Future[Record] = Future()
        future.set_result(execute(trial, directory, self.device))
        return future

    def __enter__(self) -> Self:
        memory.keep_freed()
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads_before)
