"""Workers on a Ray cluster: as many as it has room for, started when trials wait for one, and kept for the next."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from petl_study import environment, places
from petl_study.engines._base import Lost
from petl_study.engines._cluster import Cluster
from petl_study.engines._ray_worker import Prepared, Worker
from petl_study.errors import InputError
from petl_study.places import Places

Kind = tuple[str, str]  # backbone and task: what a worker has loaded
STARTS = 3  # in a row that may fail, as nodes come and go
GRACE = 60.0  # seconds in which a node may come back, or another one join, where the last one is gone
IDLE = 60.0  # seconds without a trial after which a worker leaves what it holds to others; starting takes ten

# What libraries read once, as they are loaded, and what changes the bits that they compute or where weights lie.
_CARRIED = ("OMP_", "MKL_", "KMP_", "GOMP_", "DNNL_", "ONEDNN_", "MALLOC_", "GLIBC_TUNABLES", "CUBLAS_", "NVIDIA_TF32")
_CARRIED_TOO = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TORCH_HOME")


@dataclass(eq=False)
class Hand:
    """A worker, as the driver holds it.

    Attributes
    ----------
    actor : ray.actor.ActorHandle
        Of a `Worker`.
    node : str
        The address of the machine that it is on, once it has started.
    kind : (backbone, task), optional
        Of the trial that it ran last.
    since : float
        When it became idle, where it is.
    """

    actor: Any
    node: str = ""
    kind: Kind | None = None
    since: float = 0.0


class Pool:
    """Hands out workers, each to one trial at a time. Ray decides where they are.

    Parameters
    ----------
    most : int, optional
        Workers at once, where the cluster would have room for more.
    """

    def __init__(self, cluster: Cluster, most: int | None, threads: int, device: str) -> None:
        self._cluster, self._most, self._threads, self._device = cluster, most, threads, device
        self._changed = threading.Condition()
        self._hands: set[Hand] = set()  # all there are: idle, at work, and starting
        self._idle: list[Hand] = []  # the one that is idle longest first
        self._waiting = self._starting = self._failed_starts = 0
        self._ended = threading.Event()
        self._refusal: InputError | None = None
        self._counted, self._slots = -1.0, 0
        self._barren_since: float | None = None
        self._dismissing = threading.Thread(target=self._dismiss, daemon=True)
        self._dismissing.start()

    def slots(self) -> int:
        """Trials that the nodes which are there now have room for."""
        with self._changed:
            if time.monotonic() - self._counted > 1:  # the runner asks before every trial
                room = self._cluster.slots()
                self._slots = room if self._most is None else min(room, self._most)
                self._counted = time.monotonic()
            return self._slots

    def take(self, kind: Kind) -> Hand:
        """A worker that is idle, one that has `kind` loaded if there is one, as soon as there is any.

        Raises
        ------
        Lost
            The pool has ended.
        InputError
            No worker can be started, or no node with room for one is left.
        """
        with self._changed:
            self._waiting += 1
            try:
                while not self._ended.is_set():
                    if self._refusal:
                        raise self._refusal
                    if self._idle:
                        hand = min(self._idle, key=lambda hand: hand.kind != kind)
                        self._idle.remove(hand)
                        hand.kind = kind
                        return hand
                    self._require_room()
                    if self._starting < self._waiting and len(self._hands) < self.slots():
                        self._start()
                    if not self._idle:
                        self._changed.wait(0.5)
            finally:
                self._waiting -= 1
        raise Lost("the study stopped before it began")

    def give_back(self, hand: Hand) -> None:
        """Let the next trial have `hand`."""
        with self._changed:
            self._rest(hand)

    def drop(self, hand: Hand) -> None:
        """End `hand`, whatever it does."""
        import ray

        with self._changed:
            self._hands.discard(hand)
            if hand in self._idle:
                self._idle.remove(hand)
            self._changed.notify_all()
        ray.kill(hand.actor)

    def end(self) -> None:
        """End all workers, for good."""
        self._ended.set()
        self._dismissing.join()
        for hand in list(self._hands):
            self.drop(hand)

    def _rest(self, hand: Hand) -> None:
        if hand in self._hands:
            hand.since = time.monotonic()
            self._idle.append(hand)
            self._changed.notify_all()

    def _dismiss(self) -> None:
        """Until the pool ends: end workers that have had no trial for `IDLE` seconds; more are started when needed."""
        while not self._ended.wait(IDLE / 4):
            with self._changed:
                gone = [hand for hand in self._idle if hand.since < time.monotonic() - IDLE]
                self._idle = [hand for hand in self._idle if hand not in gone]
            for hand in gone:
                self.drop(hand)

    def _start(self) -> None:
        import ray

        options = self._cluster.asked
        if self._cluster.address:  # else workers have the environment of this process, and start sooner
            carried = {n: v for n, v in os.environ.items() if n.startswith(_CARRIED) or n in _CARRIED_TOO}
            options["runtime_env"] = {"env_vars": carried}
        hand = Hand(ray.remote(Worker).options(**options).remote())
        self._hands.add(hand)
        self._starting += 1
        prepared = hand.actor.prepare.remote(self._threads, _absolute(places.here()), self._device)
        prepared.future().add_done_callback(lambda future: self._started(hand, future))

    def _started(self, hand: Hand, future: Future[Prepared]) -> None:
        """Called by Ray, in a thread of its own: nothing here may wait for Ray."""
        with self._changed:
            self._starting -= 1
            try:
                hand.node, versions = future.result()
                self._refusal = self._refusal or _differing(hand.node, versions)
                self._failed_starts = 0
                self._rest(hand)
            except InputError as error:
                self._refusal = InputError(str(getattr(error, "cause", error)))
            except Exception as error:
                self._hands.discard(hand)
                self._failed_starts += 1
                if self._failed_starts >= STARTS:
                    self._refusal = InputError(
                        f"no worker starts on the Ray cluster: {told(error)}. Is petl_study installed on every node?"
                    )
            self._changed.notify_all()

    def _require_room(self) -> None:
        if self._hands or self.slots():
            self._barren_since = None
        elif self._barren_since is None:
            self._barren_since = time.monotonic()
        elif time.monotonic() - self._barren_since > GRACE:
            raise self._cluster.too_small()


def told(error: BaseException) -> str:
    """What matters of Ray's long account of `error`."""
    lines = [line.strip() for line in str(error).partition(" Some common causes")[0].splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def _absolute(where: Places) -> Places:
    """`where`, for processes that are elsewhere."""
    return replace(
        where,
        data=where.data.absolute(),
        folders=tuple((name, path.absolute()) for name, path in where.folders),
        weights=where.weights.absolute(),
        files=tuple((name, path.absolute()) for name, path in where.files),
        cache=where.cache.absolute(),
    )


def _differing(node: str, versions: dict[str, str]) -> InputError | None:
    """Other versions compute other bits: a study must not be made with two."""
    here = environment.versions()
    if not (other := sorted(name for name in here if versions.get(name) != here[name])):
        return None
    what = ", ".join(f"{name} {versions.get(name)} (here {here[name]})" for name in other)
    return InputError(f"node {node} has {what}. Install the same versions on every node.")
