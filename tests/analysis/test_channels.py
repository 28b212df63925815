"""Salient channels: read from records, and compared with what random choice gives."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import analysis
import families
from petl_study import methods
from petl_study.errors import InputError
from petl_study.store import Study, write
from studies import write_study


def chosen(choices: dict[tuple[str, int], list[list[int]]], width: int = 10, site: str = "attn") -> pd.DataFrame:
    """A frame of what each (task, seed) chose in every block."""
    rows = [
        {"task": task, "method": "sct", "seed": seed, "site": site, "layer": layer, "channel": channel, "width": width}
        for (task, seed), blocks in choices.items()
        for layer, channels in enumerate(blocks)
        for channel in channels
    ]
    return pd.DataFrame(rows)


def at_random(rng, tasks: int = 4, seeds: int = 2, blocks: int = 3, width: int = 20, count: int = 5) -> pd.DataFrame:
    """Tasks that choose anew at random, each the same under every seed."""
    choices = {}
    for task in range(tasks):
        of_task = [sorted(rng.permutation(width)[:count].tolist()) for _ in range(blocks)]
        choices |= {(f"task {task}", seed): of_task for seed in range(seeds)}
    return chosen(choices, width)


# -------------------------------------------------------------------------------------------------------------- records


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A record of a run that is given other tensors below."""
    path = write_study(
        tmp_path_factory.mktemp("drawn") / "study", tasks=["digits"], methods=["lora"], seeds=[0], examples=20
    )
    return next(Study.open(path).records("run"))


def stored(record, path, tensors, *, task="digits", seed=0, study=None, **hyperparameters):
    """A study with a run of SCT that kept `tensors`."""
    header = copy.deepcopy(record.header)
    header["spec"] |= {"method": "sct", "task": task, "hyperparameters": hyperparameters}
    header["spec"]["seeds"]["init"] = seed
    study = study or Study.create(path, {"name": "of channels"})
    seen = {name: record.examples(name) for name in record.sets}
    said = {name: record.logits(name) for name in record.sets}
    write(study.directory("run", header["spec"]), header, logits=said, examples=seen, tensors=tensors)
    return study


@pytest.mark.parametrize(
    ("family", "position", "sites"),
    [
        ("ViT", "attn", ("attn",)),
        ("ViT", "mlp", ("mlp",)),
        ("ViT", "qkv", ("q", "v")),
        ("Swin", "attn", ("attn",)),
        ("Swin", "qkv", ("q", "v")),
        ("Mixer", "mlp", ("mlp",)),
        ("ConvNeXt", "mlp", ("mlp",)),
    ],
)
def test_the_channels_of_a_record_are_those_of_the_model(drawn, tmp_path, family, position, sites):
    model = families.apply("sct", families.build(family), position=position)
    tensors = {name: tensor.numpy() for name, tensor in methods.state_dict(model).items()}
    stored(drawn, tmp_path / "study", tensors, position=position)
    table = analysis.load_channels(tmp_path / "study")
    layers = [module for module in model.modules() if hasattr(module, "channels") and hasattr(module, "mapped")]
    assert set(table["layer"]) == set(range(len(layers)))
    assert set(table["site"]) == set(sites)
    for layer, module in enumerate(layers):
        width = module.channels.shape[1] * 8
        for site, expected in zip(sites, module.channels, strict=True):
            of_block = table[(table["layer"] == layer) & (table["site"] == site)]
            assert of_block["channel"].tolist() == (expected % width).tolist()
            assert set(of_block["width"]) == {width}


def test_blocks_are_numbered_as_they_follow_each_other(drawn, tmp_path):
    tensors = {f"blocks.{number}.channels": np.array([[number, 15]]) for number in range(12)}
    stored(drawn, tmp_path / "study", tensors)
    table = analysis.load_channels(tmp_path / "study")
    assert table.groupby("layer")["channel"].min().tolist() == list(range(12))
    of_stages = {
        f"layers.{s}.blocks.{b}.channels": np.array([[2 * s + b]]) for s, b in itertools.product((1, 0), (1, 0))
    }
    stored(drawn, tmp_path / "stages", of_stages)
    assert analysis.load_channels(tmp_path / "stages")["channel"].tolist() == [0, 1, 2, 3]


def test_a_number_of_channels_that_was_asked_for_needs_a_width(drawn, tmp_path):
    tensors = {"blocks.0.channels": np.array([[0, 17]]), "blocks.1.channels": np.array([[3, 4]])}
    stored(drawn, tmp_path / "study", tensors, channels=2)
    with pytest.raises(InputError, match=r"told to choose 2 channels.*Give `width`"):
        analysis.load_channels(tmp_path / "study")
    assert set(analysis.load_channels(tmp_path / "study", width=24)["width"]) == {24}
    by_block = analysis.load_channels(tmp_path / "study", width=[24, 48]).groupby("layer")["width"].first()
    assert by_block.tolist() == [24, 48]
    for width, complaint in ((17, "channel 17 of block 0 was chosen"), ([24, 48, 96], "each of 2 blocks; got 3")):
        with pytest.raises(InputError, match=complaint):
            analysis.load_channels(tmp_path / "study", width=width)


def test_tasks_and_studies_are_put_together_and_unknown_ones_said(drawn, tmp_path):
    tensors = {"blocks.0.channels": np.array([[0, 1]])}
    study = stored(drawn, tmp_path / "one", tensors)
    stored(drawn, tmp_path / "one", tensors, task="letters", study=study)
    stored(drawn, tmp_path / "two", tensors, seed=1)
    both = analysis.load_channels([tmp_path / "one", tmp_path / "two"])
    assert both[["task", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["digits", 0],
        ["digits", 1],
        ["letters", 0],
    ]
    assert set(analysis.load_channels(tmp_path / "one", "letters")["task"]) == {"letters"}
    with pytest.raises(InputError, match="unknown task 'cells'; known: digits, letters"):
        analysis.load_channels(tmp_path / "one", ["digits", "cells"])
    with pytest.raises(InputError, match=r"no finished run of 'sct'.*there are runs of lora"):
        analysis.load_channels(drawn.path.parents[3])
    stored(drawn, tmp_path / "bare", None)
    with pytest.raises(InputError, match=r"has no tuned\.safetensors"):
        analysis.load_channels(tmp_path / "bare")


# -------------------------------------------------------------------------------------------------------------- overlap


def test_what_is_in_common_is_counted(rng):
    table = analysis.channel_overlap(chosen({("a", 0): [[0, 1, 2, 3]], ("b", 0): [[2, 3, 4, 5, 6]]}))
    [row] = table[table["layer"].notna()].to_dict("records")
    assert (row["chosen_a"], row["chosen_b"], row["shared"], row["width"]) == (4, 5, 2, 10)
    assert (row["share"], row["jaccard"]) == (0.5, pytest.approx(2 / 7))


@pytest.mark.parametrize(("d", "K", "L", "shared"), [(96, 12, 12, 5), (768, 96, 96, 20), (20, 5, 8, 0), (10, 6, 7, 4)])
def test_chance_is_hypergeometric(d, K, L, shared):
    first, second = list(range(K)), [*range(shared), *range(d - (L - shared), d)]
    table = analysis.channel_overlap(chosen({("a", 0): [first], ("b", 0): [second]}, d), level=0.9)
    law = stats.hypergeom(d, K, L)
    for row in table.to_dict("records"):  # of the one block, and of all
        assert row["shared"] == shared
        assert row["share_chance"] == pytest.approx(law.mean() / min(K, L))
        assert [row["share_low"], row["share_high"]] == pytest.approx(law.ppf([0.05, 0.95]) / min(K, L))
        assert row["jaccard_chance"] == pytest.approx(law.expect(lambda x: x / (K + L - x)))
        x = law.ppf([0.05, 0.95])
        assert [row["jaccard_low"], row["jaccard_high"]] == pytest.approx(x / (K + L - x))
        assert row["p_value"] == pytest.approx(law.sf(shared - 1), rel=1e-9)


def test_over_blocks_chance_is_that_of_every_way_to_choose():
    first, second = [[0, 1], [0, 1, 2]], [[0, 2], [1, 2]]
    table = analysis.channel_overlap(chosen({("a", 0): first, ("b", 0): second}, width=4))
    whole = table[table["layer"].isna()].iloc[0]
    ways = [
        len({*one} & {0, 1}) + len({*other} & {0, 1, 2})
        for one, other in itertools.product(itertools.combinations(range(4), 2), repeat=2)
    ]
    assert (whole["shared"], whole["chosen_a"], whole["chosen_b"], whole["width"]) == (3, 5, 4, 8)
    assert whole["p_value"] == pytest.approx(np.mean(np.array(ways) >= 3))
    assert whole["share_chance"] == pytest.approx(np.mean(ways) / 4)
    assert whole["jaccard_chance"] == pytest.approx(np.mean([x / (9 - x) for x in ways]))


def test_tasks_that_choose_at_random_are_found_to_have_chosen_at_random():
    rng = np.random.default_rng(2)
    table = analysis.channel_overlap(at_random(rng, tasks=40, seeds=1, blocks=4, width=96, count=12))
    whole = table[table["layer"].isna()]
    assert (whole["p_value"] < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 / len(whole))
    assert (whole["p_value"] < 0.5).mean() > 0.2  # it can be small: the test is no constant
    assert whole["share"].mean() == pytest.approx(1 / 8, abs=0.01)


def test_the_order_of_rows_and_of_runs_does_not_matter(rng):
    channels = at_random(rng)
    shuffled = channels.sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(analysis.channel_overlap(channels), analysis.channel_overlap(shuffled))


def test_of_two_tasks_it_is_the_mean_over_seeds_with_the_largest_p_value(rng):
    same, other = [0, 1, 2], [0, 8, 9]
    table = analysis.channel_overlap(chosen({("a", 0): [same], ("a", 1): [other], ("b", 0): [same], ("b", 1): [same]}))
    tasks = analysis.channel_overlap_by_task(table)
    of = tasks[tasks["layer"] == 0].set_index(["task_a", "task_b"])
    assert of["share"].to_dict() == {
        ("a", "a"): pytest.approx(1 / 3),
        ("a", "b"): pytest.approx(2 / 3),
        ("b", "b"): 1.0,
        ("b", "a"): pytest.approx(2 / 3),
    }
    assert of["pairs"].to_dict() == {("a", "a"): 1, ("a", "b"): 4, ("b", "b"): 1, ("b", "a"): 4}
    assert of.loc[("a", "b"), "p_value"] == pytest.approx(stats.hypergeom.sf(0, 10, 3, 3))


def test_holm_corrects_for_the_pairs_of_different_tasks_block_by_block(rng):
    tasks = analysis.channel_overlap_by_task(analysis.channel_overlap(at_random(rng)))
    for _, some in tasks.groupby("layer", dropna=False):
        pairs = some[some["task_a"] < some["task_b"]]
        assert len(pairs) == 6
        np.testing.assert_allclose(pairs["p_holm"], multipletests(pairs["p_value"], method="holm")[1])
        assert some.loc[some["task_a"] == some["task_b"], "p_holm"].isna().all()
        assert (some.loc[some["task_a"] == some["task_b"], "share"] == 1).all()


def test_sites_are_compared_each_with_its_own(rng):
    q, v = (at_random(rng).assign(site=site) for site in "qv")
    table = analysis.channel_overlap(pd.concat([q, v]))
    pd.testing.assert_frame_equal(table[table["site"] == "q"], analysis.channel_overlap(q))
    of_v = table[table["site"] == "v"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_v, analysis.channel_overlap(v))


@pytest.mark.parametrize(
    ("channels", "complaint"),
    [
        (chosen({("a", 0): [[1]]}), "needs at least two runs; got 1"),
        (chosen({("a", 0): [[1]], ("b", 0): [[1, 1]]}), "a run on 'b' chose channel 1 twice"),
        (chosen({("a", 0): [[1]], ("b", 0): [[10]]}), "attn, block 0: there is no channel 10 among 10, 0 to 9"),
        (chosen({("a", 0): [[1], [2]], ("b", 0): [[1]]}), "block 1: the run on 'b' with seed 0 chose nothing there"),
        (
            pd.concat([chosen({("a", 0): [[1]]}), chosen({("b", 0): [[1]]}, width=20)]),
            "choose from 10 and 20 channels",
        ),
        (
            pd.concat([chosen({("a", 0): [[1]]}), chosen({("b", 0): [[1]]}, site="mlp")]),
            r"chose nothing there.*channels\.site",
        ),
        (
            pd.concat(
                [chosen({("a", 0): [[1]]}).assign(key="x"), chosen({("a", 0): [[1]], ("b", 0): [[1]]}).assign(key="y")]
            ),
            "2 runs of method 'sct' on task 'a' have seed 0",
        ),
        (chosen({("a", 0): [[1]], ("b", 0): [[1]]}).assign(backbone=["x", "y"]), "different backbone"),
        (chosen({("a", 0): [[1]], ("b", 0): [[1]]}).drop(columns="width"), "no column width"),
    ],
)
def test_what_cannot_be_compared_is_refused(channels, complaint):
    with pytest.raises(InputError, match=complaint):
        analysis.channel_overlap(channels)
