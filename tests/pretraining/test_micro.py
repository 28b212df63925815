from __future__ import annotations

import json
import shutil

import pytest
import torch

from petl_study.backbones import micro
from petl_study.errors import DamagedRecord, InputError
from petl_study.pretraining.digits import evaluate_digits
from petl_study.pretraining.source import CLASSES


@pytest.fixture
def copied(tmp_path):
    """The shipped weights and their card in a folder of their own; the path of the weights."""
    for path in (micro.WEIGHTS, micro.CARD):
        shutil.copy(path, tmp_path)
    return tmp_path / micro.WEIGHTS.name


def test_the_shipped_weights_are_small_and_load():
    assert micro.WEIGHTS.stat().st_size <= 4e6
    model = micro.load()
    assert sum(p.numel() for p in model.parameters()) == micro.card()["parameters"] <= 1_500_000
    assert not model.training
    assert model.num_classes == len(micro.source_classes())


def test_it_knows_handwriting_it_has_never_seen():
    figures = evaluate_digits(micro.load())
    assert figures.zero_shot >= 0.60
    assert figures.linear_probe >= 0.92
    told = micro.card()["digits"]
    assert figures.zero_shot == pytest.approx(told["zero_shot"], abs=0.005)
    assert figures.linear_probe == pytest.approx(told["linear_probe"], abs=0.01)


def test_the_card_names_the_sources_classes():
    assert micro.source_classes() == CLASSES


def test_a_new_head_starts_at_zero_whatever_the_random_state():
    model = micro.load(5)
    assert model.num_classes == 5
    assert torch.equal(model(torch.randn(2, 3, 32, 32)), torch.zeros(2, 5))
    assert micro.load(0)(torch.randn(2, 3, 32, 32)).shape == (2, 96)


def test_zero_shot_rows_are_the_source_heads():
    weight, bias = micro.zero_shot_head(["3", "disc", "0"])
    head = micro.load().get_classifier()
    rows = [CLASSES.index(name) for name in ("3", "disc", "0")]
    assert torch.equal(weight, head.weight[rows])
    assert torch.equal(bias, head.bias[rows])


def test_unknown_classes_are_all_named():
    with pytest.raises(InputError, match=r"no class 'dog', 'cat'; it has 0, 1, 2"):
        micro.zero_shot_head(["dog", "3", "cat"])


def test_changed_weights_are_noticed(copied):
    data = bytearray(copied.read_bytes())
    data[-1] ^= 1
    copied.write_bytes(data)
    with pytest.raises(DamagedRecord, match=r"micro_vit\.safetensors is damaged.*petl-study pretrain"):
        micro.load(weights=copied)


def test_missing_files_are_named_with_the_remedy(copied):
    copied.unlink()
    with pytest.raises(InputError, match=r"micro_vit\.safetensors are missing.*petl-study pretrain"):
        micro.load(weights=copied)
    with pytest.raises(InputError, match=r"card .*other\.json is missing"):
        micro.load(weights=copied.with_name("other.safetensors"))


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"classes": []})])
def test_a_damaged_card_is_noticed(copied, text):
    copied.with_suffix(".json").write_text(text)
    with pytest.raises(DamagedRecord, match=r"micro_vit\.json"):
        micro.load(weights=copied)


def test_it_is_a_plain_timm_model_with_its_normalisation():
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(micro.load(10))
    assert (config["input_size"], config["mean"], config["std"]) == ((3, 32, 32), micro.MEAN, micro.STD)
