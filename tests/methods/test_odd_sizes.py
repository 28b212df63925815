"""Every method under what users do to models: autocast, compilation, export, checkpointing, saving and memory."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.testing import assert_close

from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods._wrapper import Wrapper
from test_contract import MERGEABLE, carry, tune

METHODS = methods.list_methods()
# torch 2.11 cannot trace a generic alias in the code of PEFT's wavelets.
COMPILED = [name for name in METHODS if name != "peft:waveft"]
LABELS = torch.arange(4)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in methods.trainable_parameters(model, classifier=True).items()}


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_autocast_trains_and_is_near_single_precision(name, small_vit, images):
    carry(small_vit, name)
    tune(small_vit, std=0.02)
    exact = small_vit(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = small_vit(images)
        F.cross_entropy(logits, LABELS).backward()
    factor = 20 if name == "peft:fourierft" else 1  # its published scale of 300 multiplies the rounding
    assert (logits - exact).abs().max() < 0.05 * factor * exact.abs().max()
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients(small_vit).values())


@pytest.mark.parametrize("name", METHODS)
def test_gradient_checkpointing_changes_nothing(name, small_vit, images):
    carry(small_vit, name)
    tune(small_vit)
    small_vit.train()
    other = copy.deepcopy(small_vit)
    other.set_grad_checkpointing(True)
    for model in (small_vit, other):
        torch.manual_seed(0)  # for what draws in its forward pass
        F.cross_entropy(model(images), LABELS).backward()
    for name, gradient in gradients(small_vit).items():
        assert_close(gradients(other)[name], gradient)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_model_has_the_same_logits_and_gradients(name, images):
    """In one graph where the code is ours; PEFT's layers may break it, and warn."""
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=7).eval()
    carry(model, name)
    tune(model)
    compiled = copy.deepcopy(model)
    torch.compiler.reset()
    run = torch.compile(compiled, backend="eager", fullgraph=not name.startswith("peft:"))
    with warnings.catch_warnings():
        if name.startswith("peft:"):
            warnings.simplefilter("ignore")
        F.cross_entropy(run(images), LABELS).backward()
    F.cross_entropy(model(images), LABELS).backward()
    assert_close(run(images), model(images), atol=1e-5, rtol=1e-5)
    for name, gradient in gradients(model).items():
        assert_close(gradients(compiled)[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["convpass", "fact_tk", "lora", "mona", "rlrr", "sct", "ssf", "vpt_deep", "vqt", "gps"]
)
def test_a_compiled_training_step_equals_the_eager_one(name, images):
    """With the compiler's own kernels."""
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=7)
    carry(model, name)
    tune(model)
    compiled = copy.deepcopy(model)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own, about its cache and the CPU
        run = torch.compile(compiled, fullgraph=True)
        F.cross_entropy(run(images), LABELS).backward()
    F.cross_entropy(model(images), LABELS).backward()
    for name, gradient in gradients(model).items():
        assert_close(gradients(compiled)[name], gradient, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["lora", "ssf", "sct"])
def test_a_merged_model_exports(name, small_vit, images):
    carry(small_vit, name, **({"position": "mlp"} if name == "sct" else {}))
    tune(small_vit)
    merged = methods.merge(small_vit)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(merged, (images,), dynamic_shapes=({0: batch},))
    assert_close(program.module()(images[:3]), merged(images[:3]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "hyperparameters"), [*((n, {}) for n in METHODS), ("selective", {"blocks": "-1"})])
def test_nothing_below_the_first_tuned_module_is_kept_for_backward(name, hyperparameters, small_vit, images):
    carry(small_vit, name, **hyperparameters)
    tune(small_vit)
    small_vit(images)  # what a layer makes once and keeps is no matter of backward
    listed = set(methods.trainable_parameters(small_vit, classifier=True))
    owners = {path for path, m in small_vit.named_modules() for n, _ in m.named_parameters(path, False) if n in listed}
    # A wrapper may compute with what a module of its holds without calling it.
    wrappers = [path for path, module in small_vit.named_modules() if isinstance(module, Wrapper)]
    tuned = owners | {path for path in wrappers if any(owner.startswith(path) for owner in owners)}
    entered: list[str] = []
    too_low: set[str] = set()
    for path, module in small_vit.named_modules():
        module.register_forward_pre_hook(lambda _, __, path=path: entered.append(path))

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tuned.isdisjoint(entered):
            too_low.add(entered[-1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        small_vit(images)
    assert not tuned.isdisjoint(entered)
    assert not too_low


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"gps"}))
def test_a_saved_state_is_four_bytes_a_tuned_number(name, small_vit, tmp_path):
    carry(small_vit, name)
    numbers = sum(p.numel() for p in methods.trainable_parameters(small_vit, classifier=True).values())
    save_file(methods.state_dict(small_vit), tmp_path / "tuned.safetensors")
    names = sum(len(name) + 100 for name in methods.state_dict(small_vit))  # the header's share
    chosen = 8 * sum(b.numel() for n, b in methods.state_dict(small_vit).items() if not b.is_floating_point())
    assert (tmp_path / "tuned.safetensors").stat().st_size <= 4 * numbers + names + chosen


ELSEWHERE = """
import sys, torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from petl_study import methods
torch.set_num_threads(1)
torch.manual_seed(99)
base, images = load_file(sys.argv[1] + "/base.safetensors"), load_file(sys.argv[1] + "/images.safetensors")["images"]
logits = {}
for name in sys.argv[2:]:
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7).eval()
    model.load_state_dict(base)
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))  # another task than it was tuned on
    methods.create(name).apply(model, [(noise, torch.arange(4))])
    methods.load_state_dict(model, load_file(f"{sys.argv[1]}/{name}.safetensors"))
    with torch.no_grad():
        logits[name] = model(images)
save_file(logits, sys.argv[1] + "/logits.safetensors")
"""


def test_a_state_gives_the_same_bits_in_another_process(small_vit, images, tmp_path):
    save_file(small_vit.state_dict(), tmp_path / "base.safetensors")
    save_file({"images": images}, tmp_path / "images.safetensors")
    expected = {}
    for name in METHODS:
        model = copy.deepcopy(small_vit)
        carry(model, name)
        tune(model)
        save_file(methods.state_dict(model), tmp_path / f"{name}.safetensors")
        with torch.no_grad():
            expected[name] = model(images)
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path), *METHODS], check=True)
    logits = load_file(tmp_path / "logits.safetensors")
    assert [name for name in METHODS if not torch.equal(logits[name], expected[name])] == []


def test_another_backbones_tensors_are_refused_by_name(small_vit):
    other = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=4, num_classes=7)
    for model in (small_vit, other):
        methods.create("lora").apply(model)
    with pytest.raises(InputError, match=r"blocks\.0\.attn\.qkv\.down: model \(8, 48\), file \(8, 24\)"):
        methods.load_state_dict(small_vit, methods.state_dict(other))


def test_a_merged_model_is_made_of_timms_modules_alone():
    """So it runs at the plain model's speed: it is one."""
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3)
    kinds = [type(module) for module in model.modules()]
    for name, hyperparameters in MERGEABLE:
        tuned = carry(copy.deepcopy(model), name, **hyperparameters)
        merged = methods.merge(tuned)
        assert [type(module) for module in merged.modules()] == kinds
        assert all(not module._forward_hooks and not module._forward_pre_hooks for module in merged.modules())
        assert all(not parameter.requires_grad or parameter.is_leaf for parameter in merged.parameters())
