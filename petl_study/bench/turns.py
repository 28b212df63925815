"""Pieces of work timed in turns, round by round, so that a machine that is busy with other things slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch


class Quartiles(NamedTuple):
    low: float
    middle: float
    high: float


class Clock:
    """Seconds of a piece of work on `device`.

    One thread is timed by what the processor gave this process, so that others on the machine do not count; several
    threads, and a GPU, by the clock on the wall: threads that wait for each other use their processors up.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        self._alone = not self._on_gpu and torch.get_num_threads() == 1
        self.name = "processor time of this process" if self._alone else "wall clock"

    def now(self) -> float:
        """Seconds since some moment, with all that was begun on a GPU done."""
        if self._on_gpu:  # the processor only hands out the work
            torch.cuda.synchronize()
        return time.process_time() if self._alone else time.perf_counter()

    def __call__(self, work: Callable[[], object]) -> float:
        started = self.now()
        work()
        return self.now() - started


def in_turns(
    works: Mapping[str, Callable[[], object]], rounds: int, seconds: Callable[[Callable[[], object]], float]
) -> dict[str, list[float]]:
    """`seconds` of every piece of work, (rounds,) each: all in every round, forth or back; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name in list(works)[:: 1 if number % 2 else -1]:
            taken = seconds(works[name])
            if number:
                times[name].append(taken)
    return times


def quartiles(values: Sequence[float]) -> Quartiles:
    return Quartiles(*np.quantile(np.array(values), [0.25, 0.5, 0.75]).tolist())


def ratio(times: Sequence[float], others: Sequence[float]) -> Quartiles:
    """Median and quartiles of `times` over `others`, pair by pair."""
    return quartiles((np.array(times) / np.array(others)).tolist())


@contextmanager
def threads(number: int) -> Iterator[None]:
    """As many threads of torch while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
