from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

import families
from petl_study import methods
from petl_study.methods.hydra import MultiHead
from test_contract import tune

LAYERS = {  # what ends a residual branch
    "ViT": {"attn.proj", "mlp.fc2"},
    "Swin": {"attn.proj", "mlp.fc2"},
    "ConvNeXt": {"mlp.fc2"},
    "Mixer": {"mlp_tokens.fc2", "mlp_channels.fc2"},
    "ResMLP": {"linear_tokens", "mlp_channels.fc2"},
}


def tuned_layer(base: nn.Module, **hyperparameters: object) -> MultiHead:
    layer = MultiHead(base, methods.create("hydra", **hyperparameters))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return layer.eval()


@pytest.mark.parametrize("family", LAYERS)
def test_every_layer_that_ends_a_branch_has_both_heads_and_no_other_layer_has(family):
    model = families.apply("hydra", families.build(family))
    wrapped = [path for path, module in model.named_modules() if isinstance(module, MultiHead)]
    parts = {".".join(path.rpartition("blocks.")[2].split(".")[1:]) for path in wrapped}
    assert parts == LAYERS[family]
    blocks = [path for path, _ in model.named_modules() if path.rpartition(".")[0].endswith("blocks")]
    assert len(wrapped) == len(blocks) * len(parts)


def test_one_head_reads_the_layers_input_and_the_other_its_output():
    torch.manual_seed(0)
    layer, x = tuned_layer(nn.Linear(4, 4), rank=2, scale=1.5), torch.randn(7, 4)
    p, s, base = layer.parallel, layer.sequential, layer.base
    for row, said in zip(x, layer(x), strict=True):
        y = base.weight @ row + base.bias
        of_input = p.up.weight @ (p.down.weight @ row + p.down.bias) + p.up.bias
        of_output = s.up.weight @ (s.down.weight @ y + s.down.bias) + s.up.bias
        assert_close(said, y + 1.5 * (of_input + of_output))


def test_the_scale_is_a_factor_of_both_heads():
    torch.manual_seed(0)
    one = tuned_layer(nn.Linear(4, 4), scale=1.0)
    three = MultiHead(copy.deepcopy(one.base), methods.create("hydra", scale=3.0))
    three.load_state_dict(one.state_dict())
    x = torch.randn(6, 4)
    assert_close(three(x) - one.base(x), 3 * (one(x) - one.base(x)))


def test_heads_start_with_a_xavier_down_projection_and_the_rest_zero():
    torch.manual_seed(0)
    layer = MultiHead(nn.Linear(300, 200), methods.create("hydra", rank=4))
    for head, inputs in ((layer.parallel, 300), (layer.sequential, 200)):
        bound = (6 / (inputs + 4)) ** 0.5
        assert 0.9 * bound < head.down.weight.abs().max() <= bound
        assert not any(t.any() for t in (head.down.bias, head.up.weight, head.up.bias))


def test_with_the_heads_of_vtab_it_trains_the_published_0_28_million():
    classes = (100, 102, 47, 102, 37, 10, 397, 2, 10, 45, 5, 8, 6, 6, 4, 16, 16, 18, 9)
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0, weight_init="skip")
        methods.create("hydra").apply(model)
    count = sum(p.numel() for p in methods.trainable_parameters(model).values())
    assert count == 239_712
    assert round((count + 769 * sum(classes) / len(classes)) / 1e6, 2) == 0.28  # arXiv 2309.06922


def test_dropout_falls_between_the_projections_while_training_alone():
    torch.manual_seed(0)
    layer, x = tuned_layer(nn.Linear(4, 4), dropout=1.0), torch.randn(6, 4)
    still = layer(x)
    layer.train()
    y = layer.base(x)
    assert_close(layer(x), y + layer.parallel.up.bias + layer.sequential.up.bias)
    assert not torch.allclose(still, layer(x))


def test_it_keeps_what_every_method_promises():
    methods.check("hydra", rank=3, scale=2.0)


def test_a_layer_without_a_bias_cannot_take_the_heads_biases(small_vit, images):
    small_vit.blocks[1].attn.proj.bias = None
    methods.create("hydra").apply(small_vit)
    tune(small_vit)
    before = small_vit(images)
    with pytest.raises(
        methods.NotMergeable, match=r"hydra cannot be merged at blocks\.1\.attn\.proj: there is no bias"
    ):
        methods.merge(small_vit)
    assert torch.equal(small_vit(images), before)


def test_it_runs_under_autocast():
    torch.manual_seed(0)
    layer, x = tuned_layer(nn.Linear(5, 3)), torch.randn(2, 4, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x)
    assert half.dtype is torch.bfloat16
    assert_close(half.float(), layer(x), atol=0.3, rtol=0.05)


@pytest.mark.slow
def test_it_compiles():
    torch.manual_seed(0)
    layer, x = tuned_layer(nn.Linear(5, 3)), torch.randn(2, 4, 5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_close(compiled(x), layer(x))
