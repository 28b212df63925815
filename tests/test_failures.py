"""What a failed record says of why."""

from __future__ import annotations

import re

import pytest
import torch

import toy
from petl_study import execution, failures, training


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_memory_of_a_gpu_is_told_as_the_machines_is():
    error = raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...\nSee docs"))
    reason = failures.reason(error, peak_memory_bytes=3 * 10**9)
    assert reason["kind"] == "OutOfMemory"
    assert reason["message"] == (
        "memory ran out: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...; 3.00 GB were held at the most"
    )


def test_frames_name_no_directory_of_the_machine():
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2).reshape(3)
    [here] = failures.reason(caught.value, 0)["where"]
    assert re.fullmatch(r"(tests/)?test_failures\.py:\d+ in test_\w+", here)
    with pytest.raises(ValueError, match="scale") as caught:
        training.learning_rate(0, 1e-3, Wrong())
    assert failures.reason(caught.value, 0)["where"][1].startswith("petl_study/training.py:")


class Wrong:
    @property
    def warmup_epochs(self):
        raise ValueError("scale")


@pytest.mark.parametrize(
    ("error", "passes"), [(training.Diverged("nan"), False), (MemoryError(), True), (KeyError("x"), True)]
)
def test_all_but_a_training_that_diverged_may_go_well_later(error, passes):
    reason = failures.reason(raised(error), 0)
    assert failures.may_pass(reason) is passes
    assert reason["message"]


def test_a_driver_tells_of_the_workers_threads_and_not_of_its_own(tmp_path):
    threads = torch.get_num_threads() + 2
    record = execution.fail(toy.trial(), tmp_path, "cpu", threads, "Lost", "the node has left")
    assert record.header["environment"]["threads"] == threads
    assert record.header["error"] == {"kind": "Lost", "message": "the node has left"}
