from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import pytest
import timm
import torch
from timm.layers import StdConv2d
from torch import Tensor, nn
from torch.testing import assert_close

import families
from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods.gps import Sparse, contrastive_loss, importance, neurons
from test_contract import tune

LABELS = torch.tensor([0, 1, 0, 2])  # 1 and 2 are alone


@pytest.fixture
def data(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    other = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    return [(images, LABELS), (other, torch.tensor([2, 2, 1]))]


def loss_by_hand(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The contrastive loss, one pair after the other: features (V, B, d)."""
    z = [f / f.norm() for view in features for f in view]
    y = [int(label) for _ in features for label in labels]
    total = torch.zeros((), dtype=features.dtype)
    for n in range(len(z)):
        against = sum(torch.exp(z[n] @ z[m] / temperature) for m in range(len(z)) if m != n)
        friends = [p for p in range(len(z)) if p != n and y[p] == y[n]]
        for p in friends:
            total = total - torch.log(torch.exp(z[n] @ z[p] / temperature) / against) / len(friends)
    return total / len(z)


def gradients_by_hand(model: nn.Module, data: Iterable[tuple[Tensor, Tensor]], t: float) -> dict[str, Tensor]:
    """dL / dp of each parameter, by backward through a copy of a ViT, each view on its own."""
    model = copy.deepcopy(model)
    for images, labels in data:
        views = [model.forward_features(view)[:, 0] for view in (images, images[..., range(31, -1, -1)])]
        loss_by_hand(torch.stack(views), labels, t).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def layers(model: nn.Module) -> dict[str, Sparse]:
    return {path: module for path, module in model.named_modules() if isinstance(module, Sparse)}


# ------------------------------------------------------------------------------------------------------------ selection


@pytest.mark.parametrize(("views", "labels"), [(2, [0, 1, 0, 2]), (3, [0, 0]), (2, [4]), (2, [1, 1, 1])])
def test_the_loss_is_that_of_a_double_loop(views, labels):
    features = torch.randn(views, len(labels), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for temperature in (0.07, 1.0):
        expected = loss_by_hand(features, torch.tensor(labels), temperature)
        assert_close(contrastive_loss(features, torch.tensor(labels), temperature), expected)


def test_the_loss_is_zero_where_all_is_told_apart_and_at_chance_the_logarithm_of_the_others():
    labels = torch.arange(5)
    assert contrastive_loss(torch.eye(5).expand(2, 5, 5), labels, 0.07) < 1e-4
    assert_close(contrastive_loss(torch.ones(2, 5, 3), labels, 0.07).item(), math.log(9))


@pytest.mark.parametrize("connections", [1, 3])
def test_the_connections_with_the_largest_gradients_of_each_neuron_are_chosen(connections, small_vit, data):
    gradients = gradients_by_hand(small_vit, data, t=0.5)
    methods.create("gps", connections=connections, temperature=0.5).apply(small_vit, data)
    assert len(layers(small_vit)) == 1 + 4 * 3
    for path, layer in layers(small_vit).items():
        gradient = gradients[f"{path}.weight"]
        assert layer.chosen.shape == (len(gradient), connections)
        for row, chosen in zip(gradient.reshape(len(gradient), -1).tolist(), layer.chosen.tolist(), strict=True):
            ranked = sorted(range(len(row)), key=lambda i: -abs(row[i]))
            assert chosen == sorted(ranked[:connections]), path


def test_gradients_of_batches_are_summed_and_each_batch_is_contrasted_alone(small_vit, data):
    def pulls(task: list[tuple[Tensor, Tensor]]) -> Tensor:
        places = [small_vit.get_submodule(path) for path in neurons(small_vit)]
        return torch.cat([pull.flatten() for pull in importance(small_vit, places, task, 0.07)])

    both, one, other = pulls(data), pulls(data[:1]), pulls(data[1:])
    assert_close(both, one + other, atol=1e-4, rtol=1e-4)
    joined = [(torch.cat([i for i, _ in data]), torch.cat([t for _, t in data]))]
    assert (pulls(joined) - both).abs().max() > 0.01 * both.abs().max()
    [(images, labels)] = data[:1]
    assert_close(pulls([(images.flip(0), labels.flip(0))]), one, atol=1e-4, rtol=1e-4)  # order in a batch is nothing


def test_looking_at_the_task_leaves_the_model_as_it_was(small_vit, data):
    small_vit.train()
    small_vit.blocks[1].eval()
    small_vit.blocks[0].requires_grad_(False)
    small_vit.head.weight.grad = torch.ones_like(small_vit.head.weight)
    small_vit.norm.weight.grad = torch.ones_like(small_vit.norm.weight)

    def seen() -> list[object]:
        return [
            *((module.training, len(module._forward_hooks)) for module in small_vit.modules()),
            *((p.requires_grad, None if p.grad is None else p.grad.sum().item()) for p in small_vit.parameters()),
            *(t.sum().item() for t in small_vit.state_dict().values()),
            torch.get_rng_state().sum().item(),
        ]

    before = seen()
    places = [small_vit.get_submodule(path) for path in neurons(small_vit)]
    importance(small_vit, places, data, 0.07)
    assert seen() == before
    with pytest.raises(AssertionError, match="Input height"):
        importance(small_vit, places, [(torch.zeros(2, 3, 7, 7), LABELS[:2])], 0.07)
    assert seen() == before


def test_what_is_random_in_training_has_no_part_in_the_choice():
    model = families.vit(drop_path_rate=0.5, proj_drop_rate=0.5).train()
    places = [model.get_submodule(path) for path in neurons(model)]
    first, second = (importance(model, places, [(families.images(), LABELS)], 0.07) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_an_image_that_is_alone_of_its_class_is_no_trouble(small_vit, images):
    methods.create("gps").apply(small_vit, [(images, torch.arange(4))])
    tune(small_vit)
    assert small_vit(images).isfinite().all()
    assert len({tuple(layer.chosen.flatten().tolist()) for layer in layers(small_vit).values()}) > 1


def test_it_is_done_under_no_grad_too(small_vit, data):
    other = copy.deepcopy(small_vit)
    methods.create("gps").apply(small_vit, data)
    with torch.no_grad():
        methods.create("gps").apply(other, data)
    for one, two in zip(layers(small_vit).values(), layers(other).values(), strict=True):
        assert torch.equal(one.chosen, two.chosen)


def test_it_needs_the_task_and_two_images_to_contrast(small_vit, images):
    gps, state = methods.create("gps"), copy.deepcopy(small_vit.state_dict())
    with pytest.raises(InputError, match="gps looks at the task first: give apply the training batches"):
        gps.apply(small_vit)
    with pytest.raises(InputError, match="gps: data holds no batch"):
        gps.apply(small_vit, [])
    with pytest.raises(InputError, match="contrasts the images of a batch with each other, but no batch"):
        gps.apply(small_vit, [(images[:1], LABELS[:1]), (images[1:2], LABELS[1:2])])
    assert all(torch.equal(state[name], tensor) for name, tensor in small_vit.state_dict().items())
    gps.apply(small_vit, [(images[:1], LABELS[:1]), (images, LABELS)])


# -------------------------------------------------------------------------------------------------------- what is tuned


def test_folded_weights_differ_in_the_chosen_connections_alone(small_vit, data):
    plain = copy.deepcopy(small_vit)
    methods.create("gps", connections=2).apply(small_vit, data)
    tune(small_vit)
    tuned = layers(small_vit)
    methods.merge(small_vit)
    for path, layer in tuned.items():
        before, after = (m.get_submodule(path).weight.flatten(1) for m in (plain, small_vit))
        expected = torch.zeros_like(before)
        for row, (columns, changes) in enumerate(zip(layer.chosen.tolist(), layer.change.tolist(), strict=True)):
            for column, change in zip(columns, changes, strict=True):
                expected[row, column] = change
        assert_close(after - before, expected, atol=1e-6, rtol=1e-5)
        assert ((after != before) == (expected != 0)).all()


@pytest.mark.parametrize("family", list(families.FAMILIES))
def test_every_layer_but_the_classifier_is_tuned_and_whole_are_biases_and_gains(family):
    model = families.build(family)
    kinds = {path: module for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    whole = {n for n, _ in model.named_parameters() if "norm" not in n and ("bias" in n or "gamma" in n or ".ls" in n)}
    head = {path for path in kinds if kinds[path] is model.get_classifier()}
    stem = {"stem.1.weight", "stem.1.bias"} | {
        f"stages.{i}.downsample.0.bias" for i in range(4)
    }  # norms by another name
    families.apply("gps", model)
    assert set(layers(model)) == set(kinds) - head
    names = {name.replace(".base", "") for name in methods.trainable_parameters(model)}
    changes = {f"{path}.change" for path in layers(model)}
    assert changes <= names
    assert names - changes == {n for n in whole if n.rpartition(".")[0] not in head} - stem


def test_it_keeps_what_every_method_promises():
    methods.check("gps", connections=2)


def test_a_neuron_with_few_connections_has_all_of_them_tuned():
    model = families.apply("gps", families.build("ConvNeXt"), connections=50)
    block = model.stages[0].blocks[0]
    assert torch.equal(block.conv_dw.chosen, torch.arange(49).expand(len(block.norm.weight), 49).int())  # 7 x 7
    assert {layer.chosen.shape[1] for layer in layers(model).values()} == {
        min(50, layer.weight[0].numel()) for layer in layers(model).values()
    }


def test_what_is_kept_is_a_number_and_its_place_for_each_connection(small_vit, data):
    methods.create("gps").apply(small_vit, data)
    kept = {name: tensor for name, tensor in methods.state_dict(small_vit).items() if "bias" not in name}
    rows = (9 * 3 + 1) * 48
    assert sum(t.numel() for name, t in kept.items() if name.endswith(".change")) == rows
    places = [t for name, t in kept.items() if name.endswith(".chosen")]
    assert sum(t.numel() for t in places) == rows
    assert {t.dtype for t in places} == {torch.int32}


def test_on_vit_b16_it_trains_a_number_a_neuron_and_the_biases():
    gps = methods.create("gps")
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0, weight_init="skip")
    connections = sum(gps.connections * len(model.get_submodule(path).weight) for path in neurons(model))
    count = connections + sum(model.get_parameter(name).numel() for name in gps.own(model))
    assert count == 167_424
    heads = 769 * 940 / 19  # the mean of VTAB-1K's tasks
    assert (count + heads) / (85_798_656 + heads) == pytest.approx(0.0024, abs=5e-5)


# --------------------------------------------------------------------------------------------------------------- module


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (nn.Linear(6, 4), (2, 5, 6)),
        (nn.Conv2d(6, 4, 3, stride=2, padding=1, padding_mode="reflect"), (2, 6, 8, 8)),
        (nn.Conv2d(6, 6, 3, groups=3, bias=False), (2, 6, 5, 5)),
        (StdConv2d(6, 4, 3, padding=1), (2, 6, 5, 5)),  # normalises its weight on the way
    ],
)
def test_the_layer_computes_what_it_folds_to(base, size):
    torch.manual_seed(0)
    layer, x = Sparse(base, torch.tensor([[0, 2]]).expand(base.weight.shape[0], 2)), torch.randn(size)
    nn.init.normal_(layer.change)
    before = base(x)
    said = layer(x)
    assert not torch.allclose(said, before, atol=1e-2)
    assert_close(layer.fold()(x), said)


def test_attention_that_reads_weights_past_the_layer_gets_the_tuned_ones():
    torch.manual_seed(0)
    model = timm.create_model("beit_base_patch16_224", img_size=32, embed_dim=24, depth=1, num_heads=2, num_classes=3)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    for parameter in model.eval().parameters():  # of timm's own start little comes out
        nn.init.normal_(parameter, std=0.3)
    pretrained = model(images)
    methods.create("gps").apply(model, [(images, labels)])
    assert_close(model(images), pretrained)
    nn.init.normal_(model.blocks[0].attn.qkv.change)
    tuned = model(images)
    assert not torch.allclose(tuned, pretrained, atol=1e-3)
    assert_close(methods.merge(model)(images), tuned)


def test_torchs_own_attention_gets_the_tuned_projection():
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(2, 5, 8)
    attention.out_proj = Sparse(attention.out_proj, torch.zeros(8, 1, dtype=torch.int64))
    nn.init.normal_(attention.out_proj.change)
    tuned = attention(x, x, x)[0]
    attention.out_proj = attention.out_proj.fold()
    assert_close(attention(x, x, x)[0], tuned)


def test_it_runs_under_autocast(small_vit, images, data):
    methods.create("gps").apply(small_vit, data)
    tune(small_vit)
    plain = small_vit(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = small_vit(images)
    half.float().sum().backward()
    assert_close(half.float(), plain, atol=0.1, rtol=0.05)
    assert small_vit.blocks[0].mlp.fc1.change.grad.dtype is torch.float32


@pytest.mark.slow
def test_it_compiles(small_vit, data):
    methods.create("gps").apply(small_vit, data)
    tune(small_vit)
    layer, x = small_vit.blocks[0].mlp.fc1, torch.randn(2, 17, 48)
    assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), layer(x))
