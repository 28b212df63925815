from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import toy
from petl_study import execution, learning, places, tasks


def test_what_validation_said_after_the_last_epoch_is_not_asked_again(monkeypatch):
    curve, _, learner = toy.learn(toy.trial("lora"))
    monkeypatch.setattr(learning.training, "ask", lambda *_: pytest.fail("asked again"))
    labels = tasks.load("toy").val.labels
    assert (learner.ask("val").argmax(1) == labels).mean() == curve[-1]["val_accuracy"]


def test_bf16_learns_the_same_within_its_rounding_and_keeps_weights_in_fp32():
    curve, said, _ = toy.learn(toy.trial("lora"))
    rounded, said_rounded, learner = toy.learn(toy.trial("lora", {"precision": "bf16"}))
    assert not np.array_equal(said, said_rounded)
    assert np.abs(said - said_rounded).max() < 0.1 * np.abs(said).max()
    assert rounded[-1]["train_loss"] == pytest.approx(curve[-1]["train_loss"], rel=0.05)
    assert {p.dtype for p in learner._model.parameters()} == {torch.float32}


@pytest.fixture
def compiling(monkeypatch) -> Iterator[None]:
    before = places.here()
    monkeypatch.setattr(learning, "BACKEND", "aot_eager")  # traces and splits as inductor does, without its minute
    places.use(replace(before, compile=True))
    torch.compiler.reset()
    yield
    places.use(before)
    torch.compiler.reset()


# torch.compile looks at .grad of whatever comes by, and hides the warning from filters other than pytest's.
looks_at_gradients = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@looks_at_gradients
@pytest.mark.parametrize("method", ["lora", "vpt_deep", "linear"])
def test_compiled_blocks_learn_the_same(method, request):
    curve, said, _ = toy.learn(toy.trial(method))
    request.getfixturevalue("compiling")
    of_compiled, said_by_compiled, learner = toy.learn(toy.trial(method))
    assert all(block._compiled_call_impl is not None for block in learner._model.blocks)
    np.testing.assert_allclose(said_by_compiled, said, rtol=1e-3, atol=1e-4)
    assert of_compiled[-1]["train_loss"] == pytest.approx(curve[-1]["train_loss"], rel=1e-4)


@looks_at_gradients
def test_records_say_that_blocks_were_compiled(tmp_path, compiling):
    assert execution.execute(toy.trial("lora"), tmp_path).header["environment"]["compiled"] is True
