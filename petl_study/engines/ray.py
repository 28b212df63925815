"""Trials on many machines: a Ray cluster, or one that is started on this machine and ends with the study.

Workers are actors, not tasks: Ray starts a new process for every task that has a GPU, and a new process must load
torch, the backbone and the task before it trains. An actor keeps what it was given while there are trials, and has it
all loaded. Ray places them; here is only which of those that are idle gets a trial: one that ran its task before.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from petl_study import execution
from petl_study.engines._base import Engine, Lost, TimedOut
from petl_study.engines._cluster import Cluster
from petl_study.engines._pool import Hand, Pool, told
from petl_study.engines._ray_worker import SIGHT
from petl_study.errors import InputError
from petl_study.store import Record, Study, copy_in, write_file
from petl_study.trials import Trial

if TYPE_CHECKING:
    from ray.exceptions import RayError, RayTaskError

PART = 16 * 2**20  # bytes of a file that are sent at once
LAST_WORDS = 2.0  # seconds for what is being stored as the engine stops


class Ray(Engine):
    """
    Parameters
    ----------
    workers : int, optional
        Trials at once at the most; None: as many as the cluster has room for, now and later.
    cluster : Cluster
        Where it is, what a trial asks of it, and how results come back.
    """

    def __init__(
        self,
        *,
        workers: int | None,
        threads: int,
        device: str,
        timeout: float | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        super().__init__(workers=workers or 1, threads=threads, device=device, timeout=timeout)
        self.cluster, self._most = cluster or Cluster(), workers
        if ":" in device:
            raise InputError(f"--device {device}: Ray decides which GPU a trial gets; use --device cuda.")
        if device.startswith("cuda") and not self.cluster.gpus:
            raise InputError("--device cuda: say how much of a GPU a trial gets: --gpus 1, or a share such as 0.5.")

    @property
    def capacity(self) -> int:
        """Trials that the cluster has room for; 1 while it has none, so that one waits for a node to join."""
        return max(1, self._pool.slots())

    def submit(self, trial: Trial, directory: Path) -> Future[Record]:
        directory = directory.absolute()
        if self.cluster.results == "shared" and directory not in self._sights:
            self._sights[directory] = uuid.uuid4().hex
            write_file(directory / SIGHT, self._sights[directory].encode())
        future: Future[Record] = Future()
        thread = threading.Thread(target=self._see_through, args=(trial, directory, future), daemon=True)
        self._threads.add(thread)  # as many as trials under way, and asleep: each waits for a worker and its answers
        thread.start()
        return future

    def __enter__(self) -> Self:
        self._leave = self.cluster.connect()
        self._pool = Pool(self.cluster, self._most, self.threads, self.device)
        self._threads: set[threading.Thread] = set()
        self._sights: dict[Path, str] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.end()
        deadline = time.monotonic() + LAST_WORDS
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        for directory in self._sights:
            with suppress(OSError):
                (directory / SIGHT).unlink()
        self._leave()

    def _see_through(self, trial: Trial, directory: Path, future: Future[Record]) -> None:
        try:
            future.set_result(self._run(trial, directory))
        except BaseException as error:
            future.set_exception(error)
        finally:
            self._threads.discard(threading.current_thread())

    def _run(self, trial: Trial, directory: Path) -> Record:
        from ray.exceptions import GetTimeoutError, RayError, RayTaskError

        hand = self._living_hand(trial)
        try:
            record = (self._shared if self.cluster.results == "shared" else self._streamed)(hand, trial, directory)
        except RayTaskError as error:
            self._pool.give_back(hand)
            raise _cause(error, hand.node) from None
        except GetTimeoutError:
            self._pool.drop(hand)
            assert self.timeout is not None
            raise TimedOut(self.timeout) from None
        except RayError as error:
            self._pool.drop(hand)
            raise Lost(f"the worker that ran it is gone: {_how(error)}") from None
        except BaseException:
            self._pool.give_back(hand)
            raise
        self._pool.give_back(hand)
        return record

    def _living_hand(self, trial: Trial) -> Hand:
        """A worker that has answered: one that died idle is no trial's fault."""
        from ray.exceptions import RayError

        while True:
            hand = self._pool.take((trial.backbone, trial.task))
            try:
                _answer(hand.actor.is_there.remote())
                return hand
            except RayError:
                self._pool.drop(hand)

    def _shared(self, hand: Hand, trial: Trial, directory: Path) -> Record:
        """The record of `trial`, which the worker stores itself."""
        run = hand.actor.run.remote(self.work, trial, directory, self.device, self._sights[directory])
        record: Record = _answer(run, self.timeout)
        return record

    def _streamed(self, hand: Hand, trial: Trial, directory: Path) -> Record:
        """The record of `trial`, stored here from what the worker sends; it is sent what of the study it needs."""
        study = Study(directory)
        _answer(hand.actor.begin.remote())
        for path in execution.needed(trial, study):
            for part in _parts(path):
                _answer(hand.actor.bring.remote(str(path.relative_to(directory)), part))
        made: Record = _answer(hand.actor.run_apart.remote(self.work, trial, self.device), self.timeout)

        def sent(path: Path) -> Iterator[bytes]:
            return _fetched(hand, str(path.relative_to(directory)))

        if made.stopped:  # first, as a trial that has a record is not asked for another checkpoint
            left = study.checkpoint(made.spec)
            write_file(left, sent(left))
        where = study.directory(trial.kind, made.spec)
        record = copy_in(where, {name: sent(where / name) for name in ("record.json", *made.header["files"])})
        _answer(hand.actor.end.remote())
        return record


def _answer(asked: Any, timeout: float | None = None) -> Any:
    import ray

    return ray.get(asked, timeout=timeout)


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            yield part


def _fetched(hand: Hand, file: str) -> Iterator[bytes]:
    """What a worker has in a file of its own study."""
    start = 0
    while part := _answer(hand.actor.fetch.remote(file, start, PART)):
        yield part
        start += len(part)
        if len(part) < PART:
            return


def _how(error: RayError) -> str:
    """How a worker ended; no address or path of Ray's account, as records are shown to others."""
    account = told(error).lower()
    if "memory" in account:
        return "its machine ran out of memory"
    return "so is its machine" if "node" in account else "its process ended"


def _cause(error: RayTaskError, node: str) -> BaseException:
    """What the worker raised."""
    cause: BaseException = error.cause
    if isinstance(cause, InputError):
        return InputError(f"on node {node}: {cause}")
    cause.add_note(f"On node {node}.")
    return cause
