"""Several trials at once on one machine, each in a process of its own that keeps backbones and tasks between trials."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Self

from petl_study import environment, places
from petl_study.engines._base import Engine, Lost, TimedOut, Work
from petl_study.store import Record
from petl_study.trials import Trial

# Spawned, not forked: a fork of a process with running threads (torch's, Rich's) can lock up.
_context = multiprocessing.get_context("spawn")


class Processes(Engine):
    """A worker that is gone is replaced; several GPUs are divided among the workers."""

    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        worker = self._idle.popleft()

        def run() -> Record:
            try:
                return worker.run(self.work, trial, directory, self.timeout)
            finally:
                self._idle.append(worker)  # before the future is done, so that who waits for that can submit

        return self._threads.submit(run)

    def __enter__(self) -> Self:
        devices = _devices(self.device)
        self._workers = [_Worker(self.threads, devices[i % len(devices)]) for i in range(self.capacity)]
        self._idle = deque(self._workers)
        self._threads = ThreadPoolExecutor(self.capacity)  # one waits for each worker's answer
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers if kind is not None else ():
            worker.kill()  # a record is renamed into place, so nothing half-written can be left in sight
        self._threads.shutdown()
        for worker in self._workers:
            worker.dismiss()


def _devices(name: str) -> list[str]:
    """What workers are to use in turn, where trials run on `name`: ``cuda`` is every GPU there is."""
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if name == "cuda" else [name]


class _Worker:
    """A process that runs one trial after the other, started when it is needed."""

    def __init__(self, threads: int, device: str) -> None:
        self._threads, self._device = threads, device
        self._process: SpawnProcess | None = None
        self._killed = False
        self._changing = threading.Lock()  # held by who starts the process or kills it

    def run(self, work: Work, trial: Trial, directory: Path, timeout: float | None) -> Record:
        """The record of `trial`.

        Raises
        ------
        Lost, TimedOut
            See there.
        RuntimeError
            The process cannot be started.
        Exception
            Whatever `work` raised in it.
        """
        if self._process is None:
            self._start()
        assert self._process
        try:
            self._calls.send((work, trial, directory, self._device))
            if not self._calls.poll(timeout):
                assert timeout is not None
                self._process.kill()
                self._end()
                raise TimedOut(timeout)
            answer = self._calls.recv()
        except (EOFError, OSError):
            raise Lost(f"the worker that ran it {self._end()}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _start(self) -> None:
        self._calls, theirs = _context.Pipe()
        with self._changing:
            if self._killed:
                raise Lost("its worker was to stop")
            self._process = _context.Process(target=_serve, args=(theirs, self._threads, places.here()), daemon=True)
            with _without_interrupts():
                self._process.start()
        theirs.close()  # so that the end of the process is the end of what can be read
        try:
            self._calls.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"a worker could not be started: it {self._end()}") from None

    def kill(self) -> None:
        """End the process now, from any thread, and start none any more; who waits for its answer finds it `Lost`."""
        with self._changing:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def dismiss(self) -> None:
        """End the process, if there is one, as it waits for its next trial."""
        if self._process is not None:
            with suppress(OSError):  # it was killed
                self._calls.send(None)
            self._end()

    def _end(self) -> str:
        """Wait for the end of the process, and say how it was."""
        assert self._process
        self._process.join()
        code, self._process = self._process.exitcode, None
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        memory = f", as systems do when memory runs out (a worker held {largest:.1f} GB)" if code == -9 else ""
        return f"was ended by {signal.Signals(-code).name}{memory}"


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started here never sees ctrl-C, which reaches the whole group: the driver decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------------------------------------------------- the process


def _serve(calls: connection.Connection, threads: int, where: places.Places) -> None:
    """Run what is asked, until told to stop."""
    environment.settle(where, threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    calls.send("ready")
    while (call := calls.recv()) is not None:
        calls.send(_answer(*call))


def _answer(work: Work, trial: Trial, directory: Path, device: str) -> Record | Exception:
    try:
        return work(trial, directory, device)
    except Exception as error:
        error.add_note("In the worker:\n" + "".join(traceback.format_tb(error.__traceback__)))
        return error


def _end_with_parent() -> None:
    """A driver that was killed cannot stop its workers; they must notice."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
