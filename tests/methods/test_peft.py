"""What is special to the methods that come from Hugging Face PEFT; the contract of every method is in test_contract."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import peft
import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.testing import assert_close

from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods.peft import TYPES, largest
from test_contract import tune

NAMES = [f"peft:{name}" for name in TYPES]
LEFT_OUT = {  # of PEFT's types, as the module's docstring says
    *("ADALORA", "ADAPTION_PROMPT", "BOFT", "CARTRIDGE", "CPT", "LILY", "LN_TUNING", "MULTITASK_PROMPT_TUNING", "OSF"),
    *("P_TUNING", "POLY", "PREFIX_TUNING", "PROMPT_TUNING", "SHADOW", "TRAINABLE_TOKENS", "XLORA"),
}
ONLY_FLOAT32 = {"peft:mica", "peft:olora", "peft:pissa", "peft:psoft"}
SPARSE = {"peft:frod", "peft:shira"}  # torch's meta device has no sparse matrices,
SEARCHING = {"peft:waveft"}  # nor anything whose shape depends on values


def carry(model: nn.Module, name: str, **hyperparameters: object) -> nn.Module:
    return methods.create(name, **hyperparameters).apply(model)


# -------------------------------------------------------------------------------------------------- against PEFT itself


def test_every_type_of_peft_is_here_or_left_out_for_a_reason():
    here = {row.config for row in TYPES.values()}
    absent = {kind.name for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items() if config.__name__ not in here}
    assert absent == LEFT_OUT


@pytest.mark.parametrize("name", NAMES)
def test_as_many_numbers_learn_as_peft_reports(name, small_vit):
    method = methods.create(name)
    shapes = [(48, 144)] * 3 + [(192, 48)] * 3 if name == "peft:ia3" else [(48, 144)] * 3
    arguments = {**method.arguments(shapes), "target_modules": r".*attn\.qkv"}
    if name == "peft:ia3":
        arguments |= {"target_modules": r".*(attn\.qkv|mlp\.fc2)", "feedforward_modules": r".*mlp\.fc2"}
    model = peft.get_peft_model(copy.deepcopy(small_vit), getattr(peft, TYPES[name[5:]].config)(**arguments))
    method.apply(small_vit)
    ours = sum(p.numel() for p in methods.trainable_parameters(small_vit).values())
    assert ours == model.get_nb_trainable_parameters()[0] > 0


def test_our_lora_is_pefts(small_vit, images):
    theirs = copy.deepcopy(small_vit)
    carry(small_vit, "lora", rank=3)
    tune(small_vit)
    config = peft.LoraConfig(r=3, lora_alpha=3, target_modules=r".*attn\.qkv", modules_to_save=["head"])
    theirs = peft.get_peft_model(theirs, config).eval()
    layers = [(b.attn.qkv, t.attn.qkv) for b, t in zip(small_vit.blocks, theirs.base_model.model.blocks, strict=True)]
    with torch.no_grad():
        for ours, other in layers:
            other.lora_A["default"].weight.copy_(ours.down)
            other.lora_B["default"].weight.copy_(ours.up)
        theirs.base_model.model.head.modules_to_save["default"].load_state_dict(small_vit.head.state_dict())
    assert_close(small_vit(images), theirs(images), atol=1e-6, rtol=1e-5)
    for model in (small_vit, theirs):
        model(images).square().sum().backward()
    for ours, other in layers:
        assert ours.up.grad.abs().max() > 1e-3
        assert_close(ours.down.grad, other.lora_A["default"].weight.grad, atol=1e-5, rtol=1e-4)
        assert_close(ours.up.grad, other.lora_B["default"].weight.grad, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------------------------------------------- the equations

Weight = tuple[Tensor, Tensor]  # W (o, i), b (o,)


def dora(w: Tensor, b: Tensor, t: dict[str, Tensor]) -> Weight:
    v = w + t["lora_B"] @ t["lora_A"]
    return t["lora_magnitude_vector"][:, None] * v / v.norm(dim=1, keepdim=True), b


def oft(w: Tensor, b: Tensor, t: dict[str, Tensor]) -> Weight:
    size = 24
    upper = torch.zeros(len(t["oft_R"]), size, size)
    upper[:, *torch.triu_indices(size, size, 1)] = t["oft_R"]
    q, one = upper - upper.mT, torch.eye(size)
    return w @ torch.block_diag(*((one - q) @ torch.linalg.inv(one + q))).T, b


def fourierft(w: Tensor, b: Tensor, t: dict[str, Tensor]) -> Weight:
    places = torch.randperm(w.numel(), generator=torch.Generator().manual_seed(0))[:1000]
    spectrum = torch.zeros(w.numel())
    spectrum[places] = t["fourierft_spectrum"]
    return w + 300 * torch.fft.ifft2(spectrum.view_as(w)).real, b


def hra(w: Tensor, b: Tensor, t: dict[str, Tensor]) -> Weight:
    for u in t["hra_u"].T:
        w = w @ (torch.eye(len(u)) - 2 * torch.outer(u, u) / u.dot(u))
    return w, b


def ia3(w: Tensor, b: Tensor, t: dict[str, Tensor]) -> Weight:
    scale = t["ia3_l"]
    return (w * scale, b) if scale.shape == (1, 192) else (scale * w, scale[:, 0] * b)  # the MLP's hidden channels: in


EQUATIONS = {
    "beft": lambda w, b, t: (w, b + t["beft_bias"][0]),
    "deft": lambda w, b, t: (w + t["deft_P"] @ (t["deft_R"] - t["deft_P"].relu().T @ w), b),
    "dora": dora,
    "fourierft": fourierft,
    "hira": lambda w, b, t: (w + w * (t["hira_B"] @ t["hira_A"]), b),
    "hra": hra,
    "ia3": ia3,
    "loha": lambda w, b, t: (w + (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"]), b),
    "lokr": lambda w, b, t: (w + torch.kron(t["lokr_w1"], t["lokr_w2"]), b),
    "miss": lambda w, b, t: (w + t["miss_block"].T @ torch.eye(8).repeat(1, 6), b),
    "oft": oft,
    "peanut": lambda w, b, t: (w + t["peanut_B"] @ (t["peanut_A"] @ w).relu(), b),
    "rslora": lambda w, b, t: (w + 16 / 8**0.5 * t["lora_B"] @ t["lora_A"], b),
    "vera": lambda w, b, t: (
        w + t["vera_lambda_b"][:, None] * t["vera_B"] @ (t["vera_lambda_d"][:, None] * t["vera_A"]), b
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUATIONS)
def test_tuned_logits_are_those_of_the_equation_written_by_hand(name, small_vit, images):
    plain = copy.deepcopy(small_vit)
    carry(small_vit, f"peft:{name}")
    tune(small_vit)
    plain.head.load_state_dict(small_vit.head.state_dict())
    untuned = plain(images)
    for path, module in small_vit.named_modules():
        if hasattr(module, "tuner"):
            own = {**dict(module.tuner.named_parameters()), **dict(module.tuner.named_buffers())}
            tensors = {
                key.partition(".")[0]: tensor for key, tensor in own.items() if not key.endswith(("rows", "cols"))
            }
            layer = plain.get_submodule(path)
            with torch.no_grad():
                weight, bias = EQUATIONS[name](layer.weight, layer.bias, tensors)
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
    assert (plain(images) - untuned).abs().max() > 1e-2
    assert_close(small_vit(images), plain(images), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["peft:oft", "peft:hra"])
def test_an_orthogonal_transform_keeps_the_singular_values(name, small_vit):
    before = [torch.linalg.svdvals(b.attn.qkv.weight) for b in small_vit.blocks]
    carry(small_vit, name)
    tune(small_vit)
    methods.merge(small_vit)
    for block, values in zip(small_vit.blocks, before, strict=True):
        assert_close(torch.linalg.svdvals(block.attn.qkv.weight), values, atol=1e-5, rtol=1e-5)


def test_ia3s_scales_of_q_and_k_meet_only_in_products(small_vit, images):
    carry(small_vit, "peft:ia3")
    tune(small_vit)
    tuned = small_vit(images)
    with torch.no_grad():
        for block in small_vit.blocks:
            scale = block.attn.qkv.tuner.ia3_l["default"]
            scale[:48] *= 4
            scale[48:96] /= 4
    assert_close(small_vit(images), tuned, atol=1e-6, rtol=1e-5)


def test_pvera_samples_in_training_only(small_vit, images):
    carry(small_vit, "peft:pvera")
    tune(small_vit)
    assert torch.equal(small_vit(images), small_vit(images))
    small_vit.train()
    assert not torch.equal(small_vit(images), small_vit(images))


# -------------------------------------------------------------------------------------------------------- the machinery


@pytest.mark.parametrize("name", NAMES)
def test_a_run_keeps_what_it_tuned_and_nothing_that_can_be_made_again(name, small_vit):
    head = sum(p.numel() for p in small_vit.head.parameters())
    carry(small_vit, name)
    count = sum(p.numel() for p in methods.trainable_parameters(small_vit).values())
    kept = methods.state_dict(small_vit)
    assert sum(tensor.nbytes for tensor in kept.values()) == 4 * (count + head)
    assert not any(".base_layer." in key or ".base." in key for key in kept)


@pytest.mark.parametrize("name", NAMES)
def test_merging_leaves_nothing_of_peft(name, small_vit):
    attributes = [set(vars(module)) for module in small_vit.modules()]
    carry(small_vit, name)
    assert not hasattr(small_vit, "peft_config")
    methods.merge(small_vit)
    assert [set(vars(module)) for module in small_vit.modules()] == attributes
    for module in small_vit.modules():
        assert not type(module).__module__.startswith("peft")
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_computes_the_same_and_learns_on_its_own(name, small_vit, images):
    carry(small_vit, name)
    assert not any(module.training for module in small_vit.modules())
    tune(small_vit)
    tuned = small_vit(images)
    other = copy.deepcopy(small_vit)
    assert torch.equal(other(images), tuned)
    tune(other)
    assert not torch.allclose(other(images), tuned, atol=1e-4)
    assert torch.equal(small_vit(images), tuned)


@pytest.mark.parametrize("name", sorted(set(NAMES) - ONLY_FLOAT32))
def test_a_model_in_double_precision_stays_in_it(name, small_vit, images):
    single = copy.deepcopy(small_vit)
    small_vit.double()
    torch.manual_seed(3)
    carry(small_vit, name)
    torch.manual_seed(3)
    carry(single, name)
    logits = small_vit(images.double())
    assert logits.dtype == torch.float64
    assert all(p.dtype == torch.float64 for p in small_vit.parameters())
    assert_close(logits.float(), single(images), atol=1e-4, rtol=1e-3)
    methods.merge(small_vit)
    assert_close(small_vit(images.double()), logits, atol=1e-4, rtol=1e-3)
    assert all(p.dtype == torch.float64 for p in small_vit.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_torchs_seed_decides_the_start(name, small_vit):
    starts = []
    for _ in range(2):
        model = copy.deepcopy(small_vit)
        torch.manual_seed(11)
        carry(model, name)
        starts.append(methods.state_dict(model))
    assert all(torch.equal(tensor, starts[1][key]) for key, tensor in starts[0].items())


SEEDED = [
    name for name in NAMES if "seed" in TYPES[name[5:]].knobs and name != "peft:adamss"
]  # its seed: an iteration's


@pytest.mark.parametrize("name", SEEDED)
def test_the_seed_decides_what_is_frozen(name, small_vit, images):
    others = [copy.deepcopy(small_vit) for _ in range(2)]
    carry(small_vit, name, seed=0)
    tune(small_vit)
    for seed, other in enumerate(others):
        methods.load_state_dict(carry(other, name, seed=seed), methods.state_dict(small_vit))
    assert torch.equal(others[0](images), small_vit(images))
    assert not torch.allclose(others[1](images), small_vit(images), atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(NAMES) - SPARSE - SEARCHING))
def test_nothing_stays_behind_when_the_model_moves_to_another_device(name, small_vit, images):
    carry(small_vit, name).to("meta")
    methods.scale(small_vit, 0.5)
    small_vit(images.to("meta")).sum().backward()  # a tensor left on the CPU would not mix with these


def test_shared_bases_are_one_tensor(small_vit):
    carry(small_vit, "peft:vera")
    assert len({block.attn.qkv.tuner.vera_A["default"].data_ptr() for block in small_vit.blocks}) == 1


def test_a_method_survives_a_pickle():
    method = methods.create("peft:vblora", rank=2)
    assert pickle.loads(pickle.dumps(method)) == method


# --------------------------------------------------------------------------------------------------- sites and settings


def test_the_sites_are_attention_or_the_mlp_or_what_is_named(small_vit):
    def where(model: nn.Module, name: str = "peft:dora", **hyperparameters: object) -> set[str]:
        carry(model, name, **hyperparameters)
        return {path.partition(".")[2].partition(".")[2] for path, m in model.named_modules() if hasattr(m, "tuner")}

    assert where(copy.deepcopy(small_vit)) == {"attn.qkv"}
    assert where(copy.deepcopy(small_vit), "peft:ia3") == {"attn.qkv", "mlp.fc2"}
    assert where(small_vit, sites="attn.proj, mlp.fc1") == {"attn.proj", "mlp.fc1"}
    with pytest.raises(InputError, match=r"unknown site of peft:dora 'attn.qvk'; known: .*Did you mean 'attn.qkv'\?"):
        methods.create("peft:dora", sites="attn.qvk or mlp.fc1")
    with pytest.raises(InputError, match=r"no linear layer over channels"):
        carry(VisionTransformer(img_size=16, depth=1, embed_dim=24), "peft:dora", sites="norm1")


UNEVEN = {  # layers of several widths; a ConvNeXt's see (B, H, W, i), or are convolutions and see (B, i, H, W)
    "attn.qkv,mlp.fc2": lambda: SwinTransformer(
        img_size=32, patch_size=4, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), num_classes=5
    ),
    "mlp.fc1,mlp.fc2": lambda: ConvNeXt(depths=(1, 0, 0, 1), dims=(16, 16, 16, 32), num_classes=5, ls_init_value=0.5),
    "mlp.fc2": lambda: ConvNeXt(
        depths=(1, 0, 0, 1), dims=(16, 16, 16, 32), num_classes=5, ls_init_value=0.5, conv_mlp=True
    ),
}


@pytest.mark.parametrize("sites", UNEVEN)
@pytest.mark.parametrize("name", NAMES)
def test_layers_of_different_widths_are_tuned_together(name, sites):
    torch.manual_seed(0)
    model = UNEVEN[sites]().eval()
    keys, images = list(model.state_dict()), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain = copy.deepcopy(model)(images)
    small = {"peft:fourierft": {"frequencies": 50}, "peft:waveft": {"coefficients": 50}}
    carry(model, name, sites=sites, **small.get(name, {}))
    tune(model)
    tuned = model(images)
    methods.scale(model, 0)
    assert_close(model(images), plain, atol=1e-5, rtol=1e-5)
    methods.scale(model, 1)
    methods.merge(model)
    assert list(model.state_dict()) == keys
    assert_close(model(images), tuned, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "why"),
    [
        ("peft:hra", {"rank": 3}, r"r=3.*symmetric initialization can NOT be performed when r is odd"),
        ("peft:gralora", {"rank": 3}, r"divisible by gralora_k"),
        ("peft:fourierft", {"frequencies": 7_000}, r"n_frequency=7000.* on layers 48x144: .*product is 6912"),
        ("peft:psoft", {"rank": 49}, r"r=49, .*must be less than or equal to min\(in_features, out_features\)"),
        ("peft:shira", {"rank": 40}, r"more shira params than the total number of params"),
    ],
)
@pytest.mark.filterwarnings("default")  # as outside of tests: PEFT only warns of some
def test_what_peft_refuses_or_would_not_do_is_refused_in_its_words(name, hyperparameters, why, small_vit, images):
    before, modules = small_vit(images), list(small_vit.modules())
    with pytest.raises(InputError, match=rf"{name}: PEFT refuses \w+\(.*{why}"):
        carry(small_vit, name, **hyperparameters)
    assert list(small_vit.modules()) == modules
    assert torch.equal(small_vit(images), before)
    assert all(parameter.requires_grad for parameter in small_vit.parameters())


@pytest.mark.filterwarnings("default")
def test_beft_needs_a_bias_and_the_decompositions_single_precision():
    kwargs = {"img_size": 16, "depth": 1, "embed_dim": 24, "num_heads": 2}
    with pytest.raises(InputError, match=r"peft:beft: PEFT refuses BeftConfig\(\).*no bias term"):
        carry(VisionTransformer(**kwargs, qkv_bias=False), "peft:beft")
    for name in ONLY_FLOAT32:
        with pytest.raises(InputError, match=rf"{name}: PEFT refuses .*(float32|float64)"):
            carry(VisionTransformer(**kwargs).double(), name)


def test_settings_that_are_words_are_checked_when_the_method_is_made():
    with pytest.raises(InputError, match=r"unknown variant of peft:road 'road_3'; known: road_1, road_2, road_4"):
        methods.create("peft:road", variant="road_3")
    with pytest.raises(InputError, match=r"unknown hyperparameter of peft:dora 'r'; known: rank, sites"):
        methods.create("peft:dora", r=8)


def test_the_largest_block_divides_every_width():
    assert largest(32, [48, 96]) == 24
    assert largest(256, [768, 2304]) == 256
    assert largest(32, [35, 21]) == 7
    assert largest(4, [13]) == 1


# -------------------------------------------------------------------------------------------------- with and without it


def test_without_the_extra_the_types_are_absent_and_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert not [name for name in methods.list_methods() if name.startswith("peft:")]
    for ask in (methods.get, methods.create, methods.search_space):
        with pytest.raises(InputError, match=r"'peft:dora' needs .* peft, .*pip install 'petl_study\[peft\]'"):
            ask("peft:dora")
    with pytest.raises(InputError, match=r"unknown method 'lorra'; known: (?!.*peft:)"):
        methods.create("lorra")


def test_an_older_peft_without_the_type_is_told_apart(monkeypatch, small_vit):
    monkeypatch.delattr(peft, "SupertuningConfig")
    with pytest.raises(
        InputError, match=r"PEFT \d.* has no SupertuningConfig; pip install --upgrade 'petl_study\[peft\]'"
    ):
        carry(small_vit, "peft:supertuning")


@pytest.mark.slow
def test_peft_is_imported_where_it_is_used_and_a_new_process_says_the_same(tmp_path):
    script = """
import json, sys
import torch
from timm.models.vision_transformer import VisionTransformer
from petl_study import methods

folder, tuning = sys.argv[1], sys.argv[2] == "tune"
names = [name for name in methods.list_methods() if name.startswith("peft:")]
made = {name: methods.create(name) for name in names}
spaces = [methods.search_space(name) for name in names]
assert "peft" not in sys.modules
sums = {}
for name, method in made.items():
    torch.manual_seed(0)
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3).eval()
    images = torch.randn(2, 3, 16, 16)
    torch.manual_seed(1 if tuning else 2)
    method.apply(model)
    file = f"{folder}/{name.replace(':', '_')}.pt"
    if tuning:
        with torch.no_grad():
            for parameter in methods.trainable_parameters(model, classifier=True).values():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        torch.save(methods.state_dict(model), file)
    else:
        methods.load_state_dict(model, torch.load(file, weights_only=True))
    sums[name] = model(images).double().flatten().tolist()
print(json.dumps(sums))
"""
    said = [
        json.loads(
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", script, str(tmp_path), step],
                check=True, capture_output=True, text=True,
            ).stdout
        )
        for step in ("tune", "load")
    ]  # fmt: skip
    assert set(said[0]) == set(NAMES)
    assert said[0] == said[1]
