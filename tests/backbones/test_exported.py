"""Directories that hold a model whole, and that records name weights without saying where they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import safetensors.torch
import timm
import torch

import toy
from petl_study import backbones, cli, places, spec, trials
from petl_study.backbones import exported
from petl_study.errors import DamagedRecord, InputError
from petl_study.store import Study

# Three blocks in place of four: what only the configuration says.
ARGUMENTS = {"img_size": 64, "patch_size": 8, "depth": 3}


@pytest.fixture(autouse=True)
def as_before():
    before = places.here()
    yield
    places.use(before)


@pytest.fixture
def directory(tmp_path):
    """A model of timm's, as it and Hugging Face write one."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5, **ARGUMENTS)
    path = tmp_path / "secret" / "mine"
    path.mkdir(parents=True)
    safetensors.torch.save_file(model.state_dict(), path / "model.safetensors")
    inputs = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64], "file": "/elsewhere.bin"}
    config = {"architecture": "test_vit", "num_classes": 5, "model_args": ARGUMENTS, "pretrained_cfg": inputs}
    (path / "config.json").write_text(json.dumps(config))
    return path


def rewrite(directory, **changes):
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("prefix", exported.PREFIXES)
def test_a_directory_says_itself_which_model_it_holds(directory, prefix):
    name, kept = f"{prefix}{directory}", safetensors.torch.load_file(directory / "model.safetensors")
    info = backbones.info(name)
    assert (info.image_size, info.mean, info.std) == (64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    made = backbones.create(name, 7)
    assert sum(p.numel() for p in made.parameters()) - sum(p.numel() for p in made.head.parameters()) == info.parameters
    body = {key: tensor for key, tensor in made.state_dict().items() if not key.startswith("head.")}
    assert body.keys() == {key for key in kept if not key.startswith("head.")}
    assert all(torch.equal(tensor, kept[key]) for key, tensor in body.items())
    assert backbones.create(name, 7, image_size=32).pos_embed.shape[1] == 1 + 16
    assert backbones.architecture(name) == ("test_vit", ARGUMENTS)


def test_mean_and_weights_are_what_a_directory_is_known_by(directory):
    name = f"file:{directory}"
    first = backbones.info(name).weights
    rewrite(directory, label_names=["a"])
    assert backbones.info(name).weights == first
    rewrite(directory, pretrained_cfg={"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64]})
    assert backbones.info(name).weights != first


def test_what_is_no_directory_of_a_model_is_told_with_a_remedy(directory, tmp_path):
    weights = directory / "model.safetensors"
    with pytest.raises(InputError, match=rf"do not say which architecture .* vit_base_patch16_224@{weights}"):
        backbones.info(f"file:{weights}")
    with pytest.raises(InputError, match=r"there is no directory /no/such\. Give .* `petl-study export`"):
        backbones.info("file:/no/such")
    with pytest.raises(InputError, match=r"file: takes a directory\. .* named without it: vit_tiny_patch16_224@w\.npz"):
        backbones.info("file:vit_tiny_patch16_224@w.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no model: it has no model\.safetensors or pytorch_model\.bin"):
        backbones.info(f"file:{tmp_path / 'empty'}")
    rewrite(directory, model_args={"depth": 3, "checkpoint_path": "/x.pth"})
    with pytest.raises(InputError, match="arguments of the model alone, without checkpoint_path"):
        backbones.info(f"file:{directory}")
    rewrite(directory, architecture="vit_of_tomorrow")
    with pytest.raises(InputError, match=r"config\.json is of 'vit_of_tomorrow', which timm .* does not have"):
        backbones.info(f"file:{directory}")
    rewrite(directory, architecture="test_vit", model_args={}, pretrained_cfg={"mean": [1, 2]})
    with pytest.raises(DamagedRecord, match="describes no model of timm: mean"):
        backbones.info(f"file:{directory}")
    (directory / "config.json").write_text("{")
    with pytest.raises(DamagedRecord, match="describes no model of timm"):
        backbones.info(f"file:{directory}")


def test_a_directory_whose_two_files_disagree_is_refused(directory):
    rewrite(directory, model_args={**ARGUMENTS, "depth": 4})
    with pytest.raises(InputError, match=r'does not hold the weights of test_vit: the file lacks: "blocks\.3'):
        backbones.create(f"file:{directory}", 5)


@pytest.fixture(params=["a file", "a directory"])
def elsewhere(request, directory):
    """A backbone whose weights are named by their path, and what records call it."""
    if request.param == "a directory":
        return f"file:{directory}", "file:mine"
    weights = directory / "w.safetensors"
    safetensors.torch.save_file(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    return f"test_vit@{weights}", "test_vit@w.safetensors"


def trial_of(study: spec.StudySpec) -> trials.Trial:
    return trials.Trial("toy", study.backbone, "bitfit", {}, 1e-3, 0.0, "new", study.protocol, 0, "train", "toys")


def test_records_name_weights_without_their_path(elsewhere):
    given, recorded = elsewhere
    study = spec.resolve(toy.study(backbone=given))
    assert study.backbone == recorded
    assert "secret" not in json.dumps([study.model_dump(), trial_of(study).spec])
    assert trial_of(study).spec["weights"] == backbones.info(given).weights  # found by what it was noted as


def test_a_run_is_rebuilt_where_its_weights_are_said_to_be(elsewhere, directory):
    study = spec.resolve(toy.study(backbone=elsewhere[0]))
    known = trial_of(study).spec["weights"]
    places.use(places.Places())  # another process, which was not told
    with pytest.raises(InputError, match=r"there is no .*--weights"):
        _ = trial_of(study).spec
    folder = directory.parent if study.backbone.startswith("file:") else directory
    places.use(replace(places.here(), weights=folder))
    assert trial_of(study).spec["weights"] == known


def test_the_state_of_a_study_is_told_without_its_weights(elsewhere, tmp_path, capsys):
    study = spec.resolve(toy.study(backbone=elsewhere[0]))
    Study.create(tmp_path / "out", study.model_dump())
    places.use(places.Places())
    assert cli.main(["status", str(tmp_path / "out")]) == 1
    assert "0 of 8 finished" in capsys.readouterr().out


def test_two_files_of_one_name_are_told_apart(elsewhere, tmp_path):
    given, recorded = elsewhere
    backbones.known_here(given)
    assert backbones.known_here(given) == recorded
    other = tmp_path / "other" / given.rpartition("/")[2]
    with pytest.raises(InputError, match="have the same name, which is what records call them"):
        backbones.known_here(given.replace(given.partition("/")[2], str(other)[1:]))
