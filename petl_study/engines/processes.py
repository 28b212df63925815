"""Several trials at once on one machine, each in a process of its own that keeps backbones and tasks between trials."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import connection
from pathlib import Path
from typing import Self

from petl_study import memory, places
from petl_study.engines._base import Engine
from petl_study.store import Record
from petl_study.trials import Trial, execute


class Processes(Engine):
    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        return self._pool.submit(execute, trial, directory, self.device)

    def __enter__(self) -> Self:
        # Spawned, not forked: a fork of a process with running threads (torch's, Rich's) can lock up.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            self.capacity, context, initializer=_start, initargs=(self.threads, places.here())
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        workers = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        for worker in workers if kind is not None else ():
            worker.kill()  # a record is renamed into place, so nothing half-written can be left in sight
            worker.join()


def _start(threads: int, where: places.Places) -> None:
    """Make a new worker."""
    import torch

    places.use(where)
    memory.keep_freed()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the driver decides
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A driver that was killed cannot stop its workers; they must notice."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
