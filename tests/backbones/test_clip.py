"""CLIP's image tower with its zero-shot classifier says what the two towers say."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import toy
from petl_study import backbones, execution, methods, models, search, spec, tasks, trials
from petl_study.backbones import checkpoints, clip
from petl_study.errors import InputError

open_clip = pytest.importorskip("open_clip")

CLASSES = ("cat", "traffic_light", "aeroplane")
CONFIG = {
    "embed_dim": 20,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 12, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """A small open_clip model with random weights, the name of the backbone made of its file, and the file."""
    folder = tmp_path_factory.mktemp("clip")
    for name, changes in {"petl-tiny": {}, "petl-tiny-quick": {"quick_gelu": True}}.items():
        (folder / f"{name}.json").write_text(json.dumps({**CONFIG, **changes}))
    for name, layers in {"petl-resnet": [1, 1, 1, 1], "petl-deep": 3}.items():
        vision = {**CONFIG["vision_cfg"], "layers": layers}
        (folder / f"{name}.json").write_text(json.dumps({**CONFIG, "vision_cfg": vision}))
    open_clip.add_model_config(folder)

    def make(config="petl-tiny"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = open_clip.create_model(config, load_weights=False).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.05)
        path = folder / f"{config}.safetensors"
        safetensors.torch.save_file(model.state_dict(), path)
        return model, f"clip:{config}@{path}", path

    return make


def images(size=32):
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


def zero_shot(name):
    model = backbones.create(name, len(CLASSES))
    weight, bias = backbones.zero_shot_head(name, CLASSES)
    with torch.no_grad():
        model.get_classifier().weight.copy_(weight)
        model.get_classifier().bias.copy_(bias)
    return model


@torch.no_grad()
def two_towers(model, config):
    tokenizer = open_clip.get_tokenizer(config)
    rows = []
    for name in ("cat", "traffic light", "aeroplane"):
        prompts = tokenizer([template(name) for template in open_clip.OPENAI_IMAGENET_TEMPLATES])
        rows.append(F.normalize(model.encode_text(prompts, normalize=True).mean(0), dim=0))
    return model.encode_image(images(), normalize=True) @ torch.stack(rows).T


@pytest.mark.parametrize("config", ["petl-tiny", "petl-tiny-quick"])
def test_zero_shot_logits_are_the_similarities_of_the_two_towers(towers, config):
    model, name, _ = towers(config)
    made = zero_shot(name)
    assert isinstance(made.get_classifier(), torch.nn.Linear)
    assert not made.get_classifier().bias.any()
    expected = two_towers(model, config)
    assert expected.std() > 1e-2  # else any direction would do
    similarity = made(images()) / model.logit_scale.exp()
    torch.testing.assert_close(similarity, expected, atol=1e-5, rtol=0)


def test_making_the_classifier_warns_of_nothing(towers, caplog):
    _, name, _ = towers()
    caplog.clear()  # of what open_clip said when the fixture made the model
    backbones.zero_shot_head(name, ("a class that was not asked for before",))
    assert not caplog.records


def test_the_activation_is_the_one_that_the_weights_were_trained_with(towers, monkeypatch):
    model, _, path = towers("petl-tiny-quick")
    known = {"quick_gelu": True, "hf_hub": "somebody/clip/"}  # of OpenAI's weights open_clip says so too
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: known)
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda model: ["theirs"])
    monkeypatch.setattr(checkpoints, "hf_hub_download", lambda *arguments, **keywords: str(path))
    made = zero_shot("clip:petl-tiny/theirs")
    similarity = made(images()) / model.logit_scale.exp()
    torch.testing.assert_close(similarity, two_towers(model, "petl-tiny-quick"), atol=1e-5, rtol=0)


def test_a_trial_starts_from_the_zero_shot_classifier(towers):
    _, name, _ = towers()
    study = spec.resolve(toy.study(backbone=name, head="zero_shot"))
    trial = trials.Trial("toy", name, "bitfit", {}, 1e-3, 0.0, "zero_shot", study.protocol, 0, "train", "toys")
    model, normalise = models.build(trial, tasks.load("toy"), "cpu")
    assert torch.equal(model.get_classifier().weight, backbones.zero_shot_head(name, toy.CLASSES)[0])
    assert normalise(torch.zeros(1, 3, 1, 1)).flatten().tolist() == pytest.approx(
        [-m / s for m, s in zip(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, strict=True)]
    )
    assert len(trial.spec["weights"]) == 64


def test_the_text_tower_is_gone(towers):
    model, name, _ = towers()
    made, info = zero_shot(name), backbones.info(name)
    assert sum(p.numel() for p in made.parameters()) - 21 * len(CLASSES) == info.parameters
    assert info.parameters == sum(p.numel() for p in model.visual.parameters())
    assert (info.image_size, info.mean) == (32, open_clip.OPENAI_DATASET_MEAN)
    assert made.pretrained_cfg["std"] == open_clip.OPENAI_DATASET_STD


@pytest.mark.parametrize("method", ["lora", "ssf", "full", "bitfit", "layernorm", "adaptformer", "vpt_deep", "linear"])
def test_zero_shot_is_the_beginning_of_every_weight_space_path(towers, method):
    _, name, _ = towers()
    model = zero_shot(name)
    pretrained = model(images())
    methods.create(method).apply(model)
    with torch.no_grad():
        for parameter in methods.trainable_parameters(model, classifier=True).values():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    assert not torch.allclose(model(images()), pretrained, atol=1e-2)
    methods.scale(model, 0.0)
    torch.testing.assert_close(model(images()), pretrained, atol=1e-4, rtol=1e-5)


def test_methods_leave_the_embedding_alone_unless_they_tune_all(towers):
    _, name, _ = towers()
    for method in ("lora", "ssf", "bitfit", "layernorm", "rlrr", "difffit"):
        model = zero_shot(name)
        methods.create(method).apply(model)
        assert type(model.head_drop).__name__ == "Embedding"
        assert not model.head_drop.projection.requires_grad


def test_any_classes_have_rows_and_another_image_size_its_positions(towers):
    _, name, _ = towers()
    backbones.require_classes(name, ("anything", "at all"), "a task")
    assert backbones.create(name, 3, image_size=48)(images(48)).shape == (4, 3)


@pytest.mark.parametrize(("wanted", "instead"), [("head: zero_shot", "Use `head: new`"), ("zero_shot", "Leave it out")])
def test_classes_of_which_only_the_number_is_known_make_no_prompts(towers, wanted, instead):
    _, name, _ = towers()
    told = rf"task 'pets' .* of names \({wanted}\): its classes have none \(class 7\).*classes.txt.*{instead}"
    with pytest.raises(InputError, match=told):
        backbones.require_classes(name, ("cat", "class 7", "class of 7"), "pets", wanted=wanted)


def test_imagenets_classes_are_asked_for_by_the_names_that_clip_was_asked_by():
    assert clip._spoken("crane (n02012849)") == "crane bird"
    assert clip._spoken("crane (n03126707)") == "construction crane"
    assert clip._spoken("traffic_light") == "traffic light"
    assert clip._spoken("crane (n00000000)") == "crane"


def test_a_zero_shot_run_stores_what_the_two_towers_say(towers, tmp_path):
    model, name, _ = towers()
    study = spec.resolve(toy.study(backbone=name, zero_shot=True))
    [trial] = next(search.zero_shot(study, study.tasks[0]))
    record = execution.execute(trial, tmp_path)
    assert record.header["parameters"] == {**record.header["parameters"], "tuned": 0, "classifier": 0}
    pixels = torch.from_numpy(tasks.load("toy").split("test").pixels).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    with torch.no_grad():
        seen = model.encode_image((pixels - mean) / std, normalize=True)
        rows = backbones.zero_shot_head(name, toy.CLASSES)[0]
    torch.testing.assert_close(torch.from_numpy(record.logits("test")), seen @ rows.T, atol=1e-4, rtol=1e-5)


def test_what_is_no_such_clip_is_told(towers, tmp_path, monkeypatch):
    _, _, path = towers()
    for name, told in {
        "clip:ViT-B-61/openai": r"unknown CLIP model 'ViT-B-61'; known: .*Did you mean",
        "clip:ViT-B-16/openia": r"CLIP model ViT-B-16: unknown weights 'openia'; .*Did you mean 'openai'",
        "clip:ViT-B-16": r"does not say which weights: .*openai.*, as in clip:ViT-B-16/openai, or a file, clip:V",
        "clip:ViT-B-16@/no/such.pt": r"there is no weight file /no/such\.pt",
        "clip:coca_ViT-B-32/laion2b_s13b_b90k": r"no plain vision transformer: it has .*attentional_pool",
        f"clip:petl-resnet@{path}": "is a ResNet; choose a vision transformer",
    }.items():
        with pytest.raises(InputError, match=told):
            backbones.info(name)
    with pytest.raises(InputError, match=r"does not hold the weights of .*_clip_224: the file lacks: \"blocks\.2\."):
        backbones.create(f"clip:petl-deep@{path}", 3)
    with pytest.raises(InputError, match=r"petl-tiny\.safetensors does not hold the weights of clip:petl-deep"):
        backbones.zero_shot_head(f"clip:petl-deep@{path}", CLASSES)
    with pytest.raises(InputError, match="is no timm model alone"):
        backbones.architecture(f"clip:petl-tiny@{path}")


def test_without_a_network_the_error_names_the_repository(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    known = backbones.info("clip:ViT-B-16/openai")
    assert (known.image_size, known.parameters) == (224, 86_192_640)
    with pytest.raises(InputError, match=r"clip_224\.openai are missing.*clip:ViT-B-16-quickgelu@/path/to"):
        _ = known.weights  # with OpenAI's activation: nothing in a file would say it


def test_weights_of_the_hub_are_asked_for_as_tensors_first(monkeypatch, towers):
    _, _, path = towers()
    asked = []

    def download(repository, name, **keywords):
        asked.append((repository, name))
        return str(path)

    monkeypatch.setattr(checkpoints, "hf_hub_download", download)
    assert backbones.info("clip:ViT-B-16/openai").weights == checkpoints.sha256(path)
    assert asked == [("timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")]
