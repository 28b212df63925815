"""Backbones of timm: from files of every format, whole or not at all, and never in silence at random."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

import toy
from petl_study import backbones, methods, models, spec, tasks, trials
from petl_study.backbones import checkpoints, timm_models
from petl_study.errors import DamagedRecord, InputError


@pytest.fixture(scope="module")
def vit():
    """A small ViT, 160 px in patches of 16, with a classifier of 11; every parameter random."""
    return randomised(timm.create_model("test_vit", num_classes=11))


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model.eval()


def images(size=160):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def features(model, x):
    return model.forward_head(model.forward_features(x), pre_logits=True)


def original_release(model, path, prefix=""):
    """`model` as the vision transformer's authors store one: arrays of JAX's layout."""
    d, heads = model.embed_dim, model.blocks[0].attn.num_heads
    w = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    out = {
        "embedding/kernel": w["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": w["patch_embed.proj.bias"],
        "cls": w["cls_token"],
        "Transformer/posembed_input/pos_embedding": w["pos_embed"],
        "Transformer/encoder_norm/scale": w["norm.weight"],
        "Transformer/encoder_norm/bias": w["norm.bias"],
        "head/kernel": w["head.weight"].T,
        "head/bias": w["head.bias"],
    }
    for i in range(len(model.blocks)):
        block, to = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        for norm, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            out[f"{to}{theirs}/scale"], out[f"{to}{theirs}/bias"] = w[f"{block}{norm}.weight"], w[f"{block}{norm}.bias"]
        attention = f"{to}MultiHeadDotProductAttention_1/"
        weights, biases = w[f"{block}attn.qkv.weight"].reshape(3, d, d), w[f"{block}attn.qkv.bias"].reshape(3, d)
        for which, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            out[f"{attention}{which}/kernel"] = weight.T.reshape(d, heads, d // heads)
            out[f"{attention}{which}/bias"] = bias.reshape(heads, d // heads)
        out[f"{attention}out/kernel"] = w[f"{block}attn.proj.weight"].T.reshape(heads, d // heads, d)
        out[f"{attention}out/bias"] = w[f"{block}attn.proj.bias"]
        for r, layer in enumerate(("fc1", "fc2")):
            out[f"{to}MlpBlock_3/Dense_{r}/kernel"] = w[f"{block}mlp.{layer}.weight"].T
            out[f"{to}MlpBlock_3/Dense_{r}/bias"] = w[f"{block}mlp.{layer}.bias"]
    np.savez(path, **{prefix + name: array for name, array in out.items()})
    return path


def as_safetensors(model, path):
    safetensors.torch.save_file(model.state_dict(), path)


def wrapped(*keys, prefix="", **beside):
    def save(model, path):
        content = {prefix + name: tensor for name, tensor in model.state_dict().items()}
        for key in reversed(keys):
            content = {key: content, **beside}
        torch.save(content, path)

    return save


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        ("safetensors", as_safetensors),
        ("pth", wrapped()),
        ("bin", wrapped("state_dict", epoch=3)),
        ("pth", wrapped("model", prefix="module.")),
        ("pt", wrapped("teacher", prefix="module.backbone.")),
        ("ckpt", wrapped("model_ema", model={"head.weight": torch.zeros(2, 2)})),
        ("ckpt", wrapped("state_dict", prefix="model.")),
        ("pth", wrapped("model", prefix="module.encoder.vit.")),
    ],
)
def test_a_file_gives_the_backbone_that_was_saved(vit, tmp_path, suffix, save):
    save(vit, path := tmp_path / f"w.{suffix}")
    made = backbones.create(f"test_vit@{path}", 5)
    assert made(images()).shape == (2, 5)
    torch.testing.assert_close(features(made, images()), features(vit, images()))


# Architectures made small for the length of a test: the code under test asks timm for them by their names.
SMALL = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 64,
        "embed_dim": 24,
        "depths": (2, 2),
        "num_heads": (2, 4),
        "window_size": 4,
    },
    "mixer_s32_224": {"img_size": 64},
    "test_convnext": {},
}


@pytest.fixture
def small(monkeypatch):
    """Makes the architectures of `SMALL` small, and models of them: `small(name, **changes)`."""
    real = timm.create_model

    def create(name, *arguments, **keywords):
        return real(name, *arguments, **{**SMALL.get(name.partition(".")[0], {}), **keywords})

    monkeypatch.setattr(timm_models.timm, "create_model", create)
    timm_models._shapes.cache_clear()
    yield lambda name="vit_tiny_patch16_224", **changes: randomised(create(name, num_classes=11, **changes))
    timm_models._shapes.cache_clear()


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_an_original_release_gives_the_backbone_that_was_saved(small, tmp_path, prefix):
    original = small()
    path = original_release(original, tmp_path / "Ti_16.npz", prefix)
    made = backbones.create(f"vit_tiny_patch16_224@{path}", 5, image_size=32)
    torch.testing.assert_close(features(made, images(32)), features(original, images(32)))
    large = backbones.create(f"vit_tiny_patch16_224@{path}", 5, image_size=48)
    assert large.pos_embed.shape == (1, 37, 24)
    torch.testing.assert_close(large.pos_embed[:, 0], original.pos_embed[:, 0])
    assert torch.equal(large.blocks[1].mlp.fc2.weight, original.blocks[1].mlp.fc2.weight)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depth": 3}, "the file has .*blocks 3, .* the model has .*blocks 2"),
        ({"embed_dim": 32}, "the file has .*width 32, .*the model has .*width 24"),
        ({"patch_size": 16}, "the file has patches of 16 x 16, .*the model has patches of 8 x 8"),
    ],
)
def test_an_original_release_of_another_size_is_refused_with_both_sides(small, tmp_path, change, told):
    path = original_release(small(**change), tmp_path / "other.npz")
    with pytest.raises(InputError, match=rf"other\.npz does not hold the weights of vit_tiny_patch16_224: {told}"):
        backbones.create(f"vit_tiny_patch16_224@{path}", 5)


def test_position_embeddings_follow_the_image_size(vit, tmp_path):
    as_safetensors(vit, path := tmp_path / "w.safetensors")
    made = backbones.create(f"test_vit@{path}", 5, image_size=96)
    assert made.pos_embed.shape[1] == 37
    assert made(images(96)).shape == (2, 5)
    assert torch.equal(made.blocks[0].attn.qkv.weight, vit.blocks[0].attn.qkv.weight)
    named, arguments = backbones.architecture(f"test_vit@{path}", 96)
    back = timm.create_model(named, num_classes=5, **arguments)
    assert {n: t.shape for n, t in back.state_dict().items()} == {n: t.shape for n, t in made.state_dict().items()}


@pytest.mark.parametrize("name", list(SMALL))
def test_other_families_come_back_as_they_were_saved(small, name, tmp_path):
    saved = small(name)
    as_safetensors(saved, path := tmp_path / "w.safetensors")
    size = SMALL[name].get("img_size", 160)
    made = backbones.create(f"{name}@{path}", 3, image_size=size)
    own = sum(p.numel() for p in saved.get_classifier().parameters())
    assert backbones.info(f"{name}@{path}").parameters == sum(p.numel() for p in saved.parameters()) - own
    torch.testing.assert_close(features(made, images(size)), features(saved, images(size)))


def test_a_mixer_of_another_image_size_is_another_model(small, tmp_path):
    as_safetensors(small("mixer_s32_224"), path := tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"does not hold the weights of mixer_s32_224: size mismatch .*mlp_tokens"):
        backbones.create(f"mixer_s32_224@{path}", 3, image_size=96)


@pytest.mark.parametrize("change", ["missing", "left over", "shape", "deeper"])
def test_tensors_that_do_not_match_are_an_error_that_shows_both_sides(vit, tmp_path, change):
    tensors = dict(vit.state_dict())
    if change == "missing":
        del tensors["blocks.1.attn.proj.weight"]
        told = r"the file lacks: \"blocks\.1\.attn\.proj\.weight\""
    elif change == "left over":
        tensors["neck.weight"] = torch.zeros(3)
        told = r"the model lacks: \"neck\.weight\""
    elif change == "shape":
        tensors["blocks.0.norm1.weight"] = torch.zeros(7)
        told = (
            r"blocks\.0\.norm1\.weight: .*torch\.Size\(\[7\]\) from checkpoint, in the model is torch\.Size\(\[64\]\)"
        )
    else:
        tensors.update({n.replace("blocks.1", "blocks.9"): t for n, t in tensors.items() if "blocks.1." in n})
        told = r"the model lacks: \"blocks\.9\."
    safetensors.torch.save_file({n: t.clone() for n, t in tensors.items()}, path := tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=rf"w\.safetensors does not hold the weights of test_vit: .*{told}"):
        backbones.create(f"test_vit@{path}", 5)


def test_a_file_with_patches_of_another_size_is_refused(tmp_path):
    other = timm.create_model("test_vit", patch_size=8, img_size=80, num_classes=0)
    as_safetensors(other, path := tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="cuts images into patches of 8 x 8, test_vit into 16 x 16"):
        backbones.create(f"test_vit@{path}", 5)


def test_of_two_models_in_a_file_none_is_chosen(vit, tmp_path):
    both = {f"{side}.{name}": tensor for side in ("online", "target") for name, tensor in vit.state_dict().items()}
    torch.save(both, path := tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"the file lacks: \"cls_token\".*the model lacks: \"online\.cls_token\""):
        backbones.create(f"test_vit@{path}", 5)


class Harmful:
    """What runs on loading, where pickle is let loose."""

    def __reduce__(self):
        return (print, ("run",))


def test_code_in_a_file_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"model": Harmful()}, path := tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth is no file of tensors alone: it holds .*print.*never run"):
        backbones.create(f"test_vit@{path}", 5)
    assert "run" not in capsys.readouterr().out
    np.savez(array := tmp_path / "w.npz", **{"embedding/kernel": np.array([Harmful()], dtype=object)})
    with pytest.raises(DamagedRecord, match=r"w\.npz is damaged, or no \.npz file of arrays"):
        backbones.create(f"vit_tiny_patch16_224@{array}", 5)
    assert "run" not in capsys.readouterr().out


def test_nobody_is_told_to_run_what_is_in_a_file(tmp_path):
    torch.save({"model": Harmful()}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"model": Harmful()}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out, its files are not
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pth")
    np.savez(tmp_path / "array.npz", w=np.array([Harmful()], dtype=object))
    for name, told in {
        "zip.pth": "no file of tensors alone: it holds",
        "bare.pth": "no file of tensors alone: Unsupported operand",
        "script.pth": "is a TorchScript archive",
        "array.npz": "no .npz file of arrays: Object arrays cannot be loaded",
    }.items():
        with pytest.raises(InputError, match=told) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns, too, of what is refused
            backbones.create(f"vit_tiny_patch16_224@{tmp_path / name}", 5)
        assert "unsafely" not in str(caught.value)
        assert "set to `False`" not in str(caught.value)


@pytest.mark.parametrize("text", ["<!doctype html><html>", "version https://git-lfs.github.com/spec/v1"])
def test_a_page_or_a_pointer_in_place_of_weights_is_told_as_such(text, tmp_path):
    (path := tmp_path / "w.pth").write_text(text)
    with pytest.raises(DamagedRecord, match="is text and no weight file: a web page, or a pointer"):
        backbones.create(f"test_vit@{path}", 5)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "npz"])
def test_a_file_that_is_cut_off_is_damaged(vit, tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        original_release(vit, path)
    else:
        (as_safetensors if suffix == "safetensors" else wrapped())(vit, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedRecord, match=rf"w\.{suffix} is damaged"):
        backbones.create(f"test_vit@{path}", 5)


def test_a_file_without_tensors_says_so(tmp_path):
    torch.save({"epoch": 3, "model": {"lr": 0.1}}, path := tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"holds no named tensors, at its top or under .*state_dict"):
        backbones.create(f"test_vit@{path}", 5)


def test_without_a_network_the_error_says_what_to_fetch_and_how(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # it is read once, on import
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = "vit_base_patch16_224.augreg_in21k"
    fetch = (
        rf"model\.safetensors or .* of timm/{name} are missing: .*`hf download timm/{name}`.*HF_HOME.*{name}@/path/to"
    )
    with pytest.raises(InputError, match=fetch):
        backbones.create(name, 5)
    known = backbones.info(name)  # the table of backbones is drawn without weights
    assert (known.parameters, known.image_size, known.mean) == (85_798_656, 224, (0.5, 0.5, 0.5))
    with pytest.raises(InputError, match=fetch):
        _ = known.weights


def test_weights_of_the_hubs_cache_are_loaded_and_known_by_their_bytes(vit, tmp_path, monkeypatch):
    as_safetensors(vit, path := tmp_path / "model.safetensors")
    asked = []

    def download(repository, name, **keywords):
        assert keywords["local_files_only"]  # what is here is not asked for on the hub
        asked.append((repository, name))
        return str(path)

    monkeypatch.setattr(checkpoints, "hf_hub_download", download)
    made = backbones.create("timm:test_vit.r160_in1k", 5)
    assert asked == [("timm/test_vit.r160_in1k", "model.safetensors")]
    torch.testing.assert_close(features(made, images()), features(vit, images()))
    first = backbones.info("test_vit.r160_in1k").weights
    assert first == backbones.info(f"test_vit@{path}").weights
    path.write_bytes(path.read_bytes() + b"0")
    assert backbones.info(f"test_vit@{path}").weights != first


def test_random_weights_are_named_so_and_the_same_for_every_seed():
    torch.manual_seed(1)
    a = backbones.create("random:test_vit", 5)
    b = backbones.create("random:test_vit", 5)
    assert torch.equal(a.blocks[0].attn.qkv.weight, b.blocks[0].attn.qkv.weight)
    assert not torch.equal(a.head.weight, b.head.weight)
    assert backbones.info("random:test_vit").weights.startswith("random")
    assert backbones.info("random:test_vit").source == "random"


def test_methods_and_drop_path_find_the_blocks_of_a_timm_backbone():
    model = backbones.create("random:test_vit", 5, drop_path=0.3)
    assert model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)
    methods.create("lora", rank=2).apply(model)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == 4 * 2 * 64 * len(model.blocks)


def test_a_trial_sees_its_images_in_their_own_size():
    name = "random:test_vit"
    study = spec.resolve(toy.study(backbone=name))
    trial = trials.Trial("toy", name, "bitfit", {}, 1e-3, 0.0, "new", study.protocol, 0, "train", "toys")
    model, _ = models.build(trial, tasks.load("toy"), "cpu")
    assert model.pos_embed.shape[1] == 1 + (32 // 16) ** 2
    assert trial.spec["weights"] == "random, seed 0"


@pytest.mark.parametrize(
    ("name", "parameters", "size"),
    [
        ("vit_tiny_patch16_224", 5_524_416, 96),
        ("vit_small_patch16_224", 21_665_664, 96),
        ("vit_large_patch16_224", 303_301_632, 96),
        ("vit_huge_patch14_224", 630_764_800, 98),
        ("swin_tiny_patch4_window7_224", 27_519_354, 96),
        ("convnext_tiny", 27_820_128, 96),
    ],
)
def test_sizes_from_tiny_to_huge_are_known_and_fitted_without_being_built(name, parameters, size):
    assert backbones.info(f"random:{name}").parameters == parameters
    backbones.require_size(f"random:{name}", size)


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("vit_tiny_patch16_224", 8, r"takes no images of 8 x 8 pixels \(.*too small\); its own are of 224"),
        ("resmlp_12_224", 96, r"linear_tokens\.weight has weights for each of its places.*image_size: 224"),
    ],
)
def test_a_size_that_a_backbone_cannot_take_is_told_without_building_it(name, size, told):
    with pytest.raises(InputError, match=told):
        backbones.require_size(f"random:{name}", size)


def test_a_model_that_knows_no_drop_path_is_told_with_those_that_do():
    with pytest.raises(InputError, match=r"vgg11 cannot be made with drop_path_rate.*Choose a ViT, Swin"):
        backbones.create("random:vgg11", 3)


def test_what_no_backbone_is_called_is_told(tmp_path):
    (tmp_path / "w.h5").touch()
    for name, told in {
        "vit_base_patch16_244": r"unknown backbone 'vit_base_patch16_244'; known: .*timm\.list_models\(\)",
        "vit_base_patch16_224.augre": r"vit_base_patch16_224: unknown checkpoint 'augre'; known: .*mean 'augreg",
        "vit_base_patch16_224@/no/such.npz": r"there is no weight file /no/such\.npz",
        f"vit_base_patch16_224@{tmp_path / 'w.h5'}": r"weights are read from \.npz, .*not from '\.h5'",
        "random:test_vit@/a/b.pth": "random weights come from no file",
        "vit_small_patch16_18x2_224": r"timm has no weights for vit_small_.*\. Give a file, .*random:vit_small",
    }.items():
        with pytest.raises(InputError, match=told):
            backbones.info(name)
