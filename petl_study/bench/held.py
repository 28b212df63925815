"""The memory that a step takes, measured in a process of its own: nothing that came before counts, nor is reused."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from petl_study import environment, places
from petl_study.bench import subjects
from petl_study.bench.subjects import PEFT, Setting, Subject

_SMALL = "micro_vit"  # whose step has the libraries loaded before anything is counted
STEPS = 2  # the first makes the optimizer's moments, the second has them from its beginning


def peak_bytes(subject: Subject, setting: Setting, *, trains: bool, threads: int) -> int:
    """The most that was held at once, from building the model on: resident on a CPU, allocated on a GPU.

    What the process held before is taken off: the interpreter, and the libraries after a step of a small model.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_measured, subject, setting, trains, threads, places.here()).result()


def _measured(subject: Subject, setting: Setting, trains: bool, threads: int, where: places.Places) -> int:
    environment.settle(where, threads)  # as in a worker of `run`
    small = Setting(_SMALL, 2, setting.precision, setting.device)
    _steps(subject if subject.method == PEFT else Subject("full" if trains else "plain"), small, trains)
    environment.restart_peak_memory(setting.device)
    before = environment.peak_memory(setting.device)
    _steps(subject, setting, trains)
    return environment.peak_memory(setting.device) - before


def _steps(subject: Subject, setting: Setting, trains: bool) -> None:
    examples = subjects.drawn(setting)
    model = subjects.plain(setting.backbone, setting.drop_path).to(setting.device)
    model = subject.on(model, examples)
    make = subjects.training_step if trains else subjects.prediction
    step = make(model, examples, setting)
    for _ in range(STEPS):
        step()
