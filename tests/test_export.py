"""What a user gets out of a run: a checkpoint that timm alone can read, and that says what the run said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose
from PIL import Image
from timm.data.transforms_factory import create_transform

import studies
import toy
from petl_study import backbones, cli, engines, execution, export, methods, runner, spec, store, tasks, trials
from petl_study.errors import InputError
from petl_study.export import merged
from petl_study.images import View
from petl_study.inputs import Normalisation
from petl_study.store import Record, Study

FITS = {  # a method that folds, one that looks at the task and folds, and one that does not fold
    "lora": {"rank": [2]},
    "sct": {"position": ["mlp"], "channels": [6]},
    "vpt_deep": {"prompts": [2]},
}


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "study"
    search = {"lr": [1e-3], "weight_decay": [1e-4]}
    entries = [{name: space} for name, space in FITS.items()] + ["full"]
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        runner.run(spec.resolve(toy.study(methods=entries, search=search, seeds=[0])), path, engine, Silent())
    return path


def run_of(study: Path, method: str) -> Record:
    [record] = [record for record in Study(study).records("run") if record.spec["method"] == method]
    return record


def says(directory: Path) -> tuple[torch.nn.Module, np.ndarray]:
    """The checkpoint as a stranger loads it, with timm's own account of what inputs go through."""
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    mean, std = (torch.tensor(model.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    images = torch.from_numpy(tasks.load("toy").test.images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return model, model((images - mean) / std).numpy()


@pytest.mark.parametrize("method", ["lora", "sct", "full"])
def test_timm_alone_reads_the_export_and_says_what_the_run_said(study, method, tmp_path, capsys):
    record, out = run_of(study, method), tmp_path / "new" / "model"
    assert merged.run(record.path, out) == 0
    model, logits = says(out)
    assert_allclose(logits, record.logits("test"), atol=1e-5)
    assert np.abs(logits - logits.mean(axis=0)).max() > 1e-2  # what is compared is no constant
    assert model.pretrained_cfg["label_names"] == list(toy.CLASSES)
    assert model.pretrained_cfg["input_size"] == (3, 32, 32)
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=3, **backbones.architecture("micro_vit")[1])
    assert list(model.state_dict()) == list(plain.state_dict())
    accuracy = record.header["results"]["test"]["accuracy"]
    told = capsys.readouterr().out
    assert "toy, 48 test examples: the exported model's logits differ from the run's by" in told
    assert f"accuracy {accuracy:.2%}, in the run {accuracy:.2%}" in told
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_an_export_can_be_tuned_on_with_other_classes(study, tmp_path):
    merged.run(run_of(study, "lora").path, tmp_path / "model")
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True, num_classes=5)
    methods.create("lora").apply(model)
    assert model.head.out_features == 5
    assert torch.equal(model.cls_token, says(tmp_path / "model")[0].cls_token)


def test_the_checkpoint_tells_where_it_comes_from(study, tmp_path):
    record = run_of(study, "lora")
    merged.run(record.path, tmp_path / "model")
    origin = json.loads((tmp_path / "model" / "config.json").read_text())["petl_study"]
    assert origin["run"] == store.key_of(origin["spec"]) == record.key
    assert origin["test"] == record.header["results"]["test"]


def test_the_config_says_how_the_run_normalised(tmp_path):
    protocol = {**toy.study()["protocol"], "normalisation": "none"}
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        content = toy.study(methods=["linear"], protocol=protocol, seeds=[0], search={"lr": [1e-2]})
        runner.run(spec.resolve(content), tmp_path / "s", engine, Silent())
    record = run_of(tmp_path / "s", "linear")
    assert merged.run(record.path, tmp_path / "model") == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())["pretrained_cfg"]
    assert (config["mean"], config["std"]) == ([0, 0, 0], [1, 1, 1])
    assert_allclose(says(tmp_path / "model")[1], record.logits("test"), atol=1e-5)


@pytest.mark.parametrize("resize", ["direct", "crop"])
def test_timms_own_transform_shows_images_as_the_run_saw_them(tmp_path, resize):
    protocol = {**toy.study()["protocol"], "resize": resize, "image_size": 32}
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        content = toy.study(methods=["linear"], protocol=protocol, seeds=[0], search={"lr": [1e-2]})
        runner.run(spec.resolve(content), tmp_path / "s", engine, Silent())
    assert merged.run(run_of(tmp_path / "s", "linear").path, tmp_path / "model") == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())["pretrained_cfg"]
    keys = ("interpolation", "crop_pct", "crop_mode")
    shown = create_transform((3, 32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, **{key: config[key] for key in keys})
    noise = np.random.default_rng(0).integers(256, size=(60, 90, 3)).astype(np.uint8)
    photo = Image.fromarray(noise)
    assert_allclose(255 * shown(photo).permute(1, 2, 0), np.asarray(View(resize, 32)(photo)), atol=1e-3)


@pytest.mark.parametrize("wrong", ["weights", "mean"])
def test_an_export_that_says_something_else_is_not_kept(study, wrong, tmp_path, capsys, monkeypatch):
    def merge(model):
        model.blocks[3].mlp.fc2.weight.data *= 1.01
        return fold(model)

    fold, rebuild = methods.merge, merged.rebuild
    if wrong == "weights":
        monkeypatch.setattr(methods, "merge", merge)
    else:
        off = Normalisation((0.5, 0.5, 0.501), (0.5, 0.5, 0.5))
        monkeypatch.setattr(merged, "rebuild", lambda *given: (rebuild(*given)[0], off))
    code = cli.main(["export", str(run_of(study, "lora").path), "--merged", "--out", str(tmp_path / "model")])
    told = capsys.readouterr()
    assert code == 1
    assert "more than 1.0e-04 of the largest" in told.out
    assert "was not written: the exported model is not the one of the run" in told.err
    assert not list(tmp_path.iterdir())


def test_what_does_not_merge_is_told_with_another_way_and_leaves_nothing(study, tmp_path):
    record = run_of(study, "vpt_deep")
    with pytest.raises(InputError) as error:
        merged.run(record.path, tmp_path / "model")
    assert "vpt_deep cannot be merged at blocks.0: prompts are tokens" in str(error.value)
    assert f"petl_study.export.load({str(record.path)!r})" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["vpt_deep", "lora"])
def test_a_loaded_run_is_the_tuned_model_with_its_method_on(study, method):
    record = run_of(study, method)
    model = export.load(record.path)
    images = torch.from_numpy(tasks.load("toy").test.images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        assert_allclose(model((images - 0.5) / 0.5).numpy(), record.logits("test"), atol=1e-5)
    assert set(methods.state_dict(model)) == set(record.tensors())
    assert not model.training


def test_without_out_it_goes_to_exports_by_name(study, tmp_path, monkeypatch):
    record = run_of(study, "lora")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(record.path), "--merged"]) == 0
    assert (tmp_path / "exports" / f"toy-lora-{record.key}" / "config.json").is_file()


def test_a_directory_in_use_is_left_as_it_is_and_an_empty_one_is_filled(study, tmp_path):
    (tmp_path / "model").mkdir()
    assert merged.run(run_of(study, "lora").path, tmp_path / "model") == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match="model exists and is not an empty directory; it is left as it is"):
        merged.run(run_of(study, "full").path, tmp_path / "model")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_study_is_no_run_but_its_runs_are_listed(study, capsys):
    assert cli.main(["export", str(study), "--merged"]) == 2
    told = capsys.readouterr().err
    assert f"{study} is no run, but holds 4; give one:" in told
    for method in (*FITS, "full"):
        record = run_of(study, method)
        assert f"{record.path}  test accuracy {record.header['results']['test']['accuracy']:.2%}\n" in told
    assert "trials" not in told
    with pytest.raises(InputError, match="toy/lora is no run, but holds 1; give one"):
        merged.find(study / "runs" / "toy" / "lora")


def test_what_is_no_finished_run_is_told_apart(study, tmp_path):
    [trial, *_] = Study(study).records("trial")
    with pytest.raises(InputError, match="is a search trial, which keeps no tensors; give one of a study's runs/"):
        merged.find(trial.path)
    with pytest.raises(InputError, match=r"nowhere is no run: it has no record\.json"):
        merged.find(tmp_path / "nowhere")
    failed = studies.write_study(tmp_path / "s", tasks=["count"], methods=["full"], seeds=[1])
    [record] = Study(failed).records("run")
    with pytest.raises(InputError, match="nothing to export: the run failed, the training loss became nan"):
        merged.find(record.path)


def test_a_run_on_other_data_or_weights_is_not_rebuilt(study, tmp_path):
    record = run_of(study, "lora")
    other = {**record.spec, "data": "0" * 64, "weights": "1" * 64}
    files = {name: record.header[name] for name in record.header if name not in ("files", "format", "checksum")}
    logits = {"test": record.logits("test")}
    moved = store.write(
        tmp_path / "r",
        {**files, "spec": other, "results": {"test": record.header["results"]["test"]}},
        logits=logits,
        examples={"test": record.examples("test")},
        tensors=record.tensors(),
    )
    with pytest.raises(
        InputError, match=r"data was 000000000000\.\.\., is .* here; weights was 111111111111\.\.\., is"
    ):
        merged.rebuild(moved)


def test_logits_stored_in_half_precision_are_compared_as_such_and_missing_tensors_told(tmp_path, capsys):
    keep = {"logits": "float16", "tensors": ["bitfit"]}
    search = {"lr": [1e-2], "weight_decay": [0.0]}
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        content = toy.study(methods=["bitfit", "linear"], keep=keep, seeds=[0], search=search)
        runner.run(spec.resolve(content), tmp_path / "s", engine, Silent())
    assert merged.run(run_of(tmp_path / "s", "bitfit").path, tmp_path / "model") == 0
    assert "within 5.9e-04 of the largest" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no tuned tensors: its study does not keep those of linear"):
        merged.run(run_of(tmp_path / "s", "linear").path, tmp_path / "other")


def test_a_protocol_of_another_version_is_told(study):
    record = run_of(study, "lora")
    spec = {**record.spec, "protocol": {**record.spec["protocol"], "sharpness": 3}}
    with pytest.raises(
        InputError, match=r"its protocol 'blink' is not one that this version trains under \(sharpness\)"
    ):
        merged.rebuild(Record(record.path, {**record.header, "spec": spec}))


def test_without_merged_it_says_what_there_is(study, tmp_path, capsys):
    path = run_of(study, "lora").path
    assert cli.main(["export", str(path), "--out", str(tmp_path / "model")]) == 2
    told = capsys.readouterr().err
    assert "say so with --merged" in told
    assert str(path / "tuned.safetensors") in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["micro_vit", "random:vit_tiny_patch16_224"])
def test_every_backbone_is_a_timm_architecture_with_arguments(name):
    made = backbones.create(name, 3)
    architecture, arguments = backbones.architecture(name)
    plain = timm.create_model(architecture, num_classes=3, **arguments)
    assert {n: t.shape for n, t in plain.state_dict().items()} == {n: t.shape for n, t in made.state_dict().items()}
    assert [type(m) for m in plain.modules()] == [type(m) for m in made.modules()]


def test_one_epoch_on_real_digits_is_exported_as_it_was_stored(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(execution, "_looked_at", lambda trial, task: ["test"])  # 24 shift sets are 20 s of drawing
    resolved = spec.resolve(toy.study(tasks=["digits"], methods=[{"ssf": {}}]))
    protocol = resolved.protocol.model_copy(update={"epochs": 1, "warmup_epochs": 0})
    trial = trials.Trial("digits", "micro_vit", "ssf", {}, 1e-2, 1e-4, "zero_shot", protocol, 0, "trainval", "digits")
    record = execution.execute(trial, tmp_path / "s")
    assert merged.run(record.path, tmp_path / "model") == 0
    assert f"accuracy {record.header['results']['test']['accuracy']:.2%}, in the run" in capsys.readouterr().out
    assert record.header["results"]["test"]["accuracy"] > 0.9
