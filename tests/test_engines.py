"""What engines do with a machine; whole studies on them are in test_runner."""

from __future__ import annotations

import pytest
import torch

from petl_study import engines
from petl_study.errors import InputError


@pytest.mark.parametrize(
    ("device", "gpus", "used"),
    [
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 1, ["cuda:0"] * 3),
        ("cuda:1", 2, ["cuda:1"] * 3),
        ("cpu", 2, ["cpu"] * 3),
    ],
)
def test_gpus_are_divided_among_the_workers(device, gpus, used, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with engines.create("processes", workers=3, threads=1, device=device) as engine:
        assert [worker._device for worker in engine._workers] == used


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match=r"unknown engine 'proceses'; known: .*Did you mean 'processes'\?"):
        engines.create("proceses", workers=1, threads=1, device="cpu")
