"""Weight space, on a study of the toy task: what a stored run says again, averaged, scaled and walked between."""

from __future__ import annotations

import copy
import dataclasses
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import functional_call

import analysis
import studies
import toy
from analysis.weights import average, between, greedy
from analysis.weights.soups import Space
from analysis.weights.wise import logits_along
from petl_study import backbones, engines, methods, models, runner, spec, tasks, training, trials
from petl_study.errors import InputError, NotMergeable
from petl_study.inputs import Normalisation, to_tensor
from petl_study.keep import Keep
from petl_study.store import Study, write

ADAPTFORMER = {"adaptformer": {"bottleneck": [2], "scale": [0.1]}}


class Silent:
    def started(self, trial) -> None: ...
    def finished(self, trial, record, stored_before) -> None: ...
    def without_result(self, task, method, trials) -> None: ...


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "study"
    asked = toy.study(
        methods=[{"lora": {"rank": [1, 2]}}, "ssf", ADAPTFORMER],
        search={"lr": [1e-2], "weight_decay": [1e-4]},
        seeds=[0, 1],
    )
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        runner.run(spec.resolve(asked), path, engine, Silent())
    return path


@pytest.fixture(scope="module")
def lora(study) -> analysis.Weights:
    return analysis.load_weights(study, "toy", "lora")


@pytest.fixture(scope="module")
def across(study) -> analysis.Weights:
    return analysis.load_weights(study, "toy", ["lora", "ssf"], 0)


def training_forbidden(*_: object) -> None:
    raise AssertionError("this trains a model")


# ----------------------------------------------------------------------------------------------------------- rebuilding


def test_a_rebuilt_run_says_what_was_stored_bit_for_bit(study):
    weights = analysis.load_weights(study, "toy")
    assert weights.names == [f"{m}, seed {s}" for m in ("adaptformer", "lora", "ssf") for s in (0, 1)]
    for row, record in enumerate(weights.records):
        said = weights.model(weights.trial(row)).ask(weights.task.test)
        np.testing.assert_array_equal(said, record.logits("test"))


def test_a_trial_trained_again_is_the_stored_one_bit_for_bit(lora):
    record = lora.selected(0)
    assert record.header["kind"] == "trial"
    assert lora.reproduced(record)
    said = lora.model(trials.trial_of(record)).ask(lora.task.val)
    np.testing.assert_array_equal(said, record.logits("val"))


def test_building_and_training_leave_the_global_generators_alone(study):
    weights = analysis.load_weights(study, "toy", "lora", of="trials")
    random.seed(7), np.random.seed(7), torch.manual_seed(7)  # noqa: NPY002
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    weights.model(weights.trial(0))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_at_alpha_zero_every_folded_model_is_the_pretrained_one(study):
    weights = analysis.load_weights(study, "toy", ["lora", "ssf"])
    plain = backbones.create("micro_vit", 3).state_dict()
    for row in range(len(weights)):
        folded = weights.plain(weights.trial(row), alpha=0.0).module.state_dict()
        assert folded.keys() == plain.keys()
        for name in plain.keys() - {"head.weight", "head.bias"}:
            torch.testing.assert_close(folded[name], plain[name], rtol=0, atol=0)


def test_trials_are_the_best_first(study):
    weights = analysis.load_weights(study, "toy", of="trials")
    for _, some in weights.runs.groupby("method"):
        assert some["val_accuracy"].is_monotonic_decreasing
    best = analysis.load_weights(study, "toy", of="trials", best=1)
    assert best.runs["method"].tolist() == ["adaptformer", "lora", "ssf"]


# ----------------------------------------------------------------------------------------------------------------- WiSE


def test_a_wise_curve_ends_at_the_stored_run_and_starts_at_the_pretrained_model(lora):
    curves = analysis.wise_curves(lora, alphas=(0, 0.5, 1), validate=False)
    for row, record in enumerate(lora.records):
        of_run = curves[curves["key"] == record.key].set_index(["set", "alpha"])
        for name in ("test", "contrast:1", "contrast:2"):
            stored = record.header["results"][name]
            assert of_run.loc[(name, 1.0), "accuracy"] == pytest.approx(stored["accuracy"])
            assert of_run.loc[(name, 1.0), "loss"] == pytest.approx(stored["loss"], abs=1e-5)
        torch.manual_seed(lora.runs.loc[row, "seed"])
        normalise = Normalisation(backbones.info("micro_vit").mean, backbones.info("micro_vit").std)
        untouched = training.predict(backbones.create("micro_vit", 3), lora.task.test, normalise)
        start = training.score(untouched, lora.task.test.labels)
        assert of_run.loc[("test", 0.0), "loss"] == pytest.approx(start["loss"], abs=1e-5)


@pytest.mark.parametrize("method", ["lora", "ssf", "adaptformer"])
def test_between_its_ends_a_curve_is_the_method_scaled(study, method):
    weights = analysis.load_weights(study, "toy", method, 0)
    [(_, _, said)] = logits_along(weights, weights.trial(0), "all", [0.3], {"test": weights.task.test})
    model = weights.model(weights.trial(0))
    methods.scale(model.module, 0.3)
    np.testing.assert_allclose(said, model.ask(weights.task.test), atol=2e-5)
    assert np.abs(said - weights.records[0].logits("test")).max() > 1e-2


def test_validation_is_asked_of_the_selected_trial_and_of_no_run(lora):
    curves = analysis.wise_curves(lora, alphas=(0, 1), sets=["test"])
    on_val = curves[curves["set"] == "val"]
    assert set(curves.loc[curves["set"] == "val", "reproduced"]) == {True}
    assert curves.loc[curves["set"] == "test", "reproduced"].isna().all()
    stored = lora.selected(0).header["results"]["val"]
    tuned = on_val[on_val["alpha"] == 1]
    assert tuned["accuracy"].tolist() == [stored["accuracy"]] * 2  # of both seeds the same trial
    assert tuned["loss"].tolist() == pytest.approx([stored["loss"]] * 2, abs=1e-5)
    assert set(analysis.choose_alpha(curves)["alpha"]) <= {0.0, 1.0}


def test_head_only_moves_the_classifier_along_a_line_of_logits(lora):
    trial, splits = lora.trial(0), {"test": lora.task.test}
    start, middle, tuned = (said for _, _, said in logits_along(lora, trial, "head", [0, 0.25, 1], splits))
    np.testing.assert_allclose(middle, 0.75 * start + 0.25 * tuned, atol=1e-5)
    np.testing.assert_allclose(tuned, lora.records[0].logits("test"), atol=1e-5)
    model = lora.model(trial)  # the reference: the tuned backbone with the classifier put back by hand
    head = model.module.get_classifier()
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(model.module.petl.start[f"head.{name}"])
    np.testing.assert_allclose(start, model.ask(lora.task.test), atol=1e-5)


def test_what_is_kept_is_not_measured_again(lora, tmp_path, monkeypatch):
    asked = {"alphas": (0, 1), "sets": ["test"], "keep": tmp_path / "wise.parquet"}
    first = analysis.wise_curves(lora, **asked)
    analysis.wise_curves(lora, **asked | {"merged": "head"})
    monkeypatch.setattr(training, "predict", training_forbidden)
    again = analysis.wise_curves(lora, **asked)
    pd.testing.assert_frame_equal(again, first)
    assert len(analysis.wise_curves(lora, **asked | {"alphas": (1,)})) == 4
    with pytest.raises(AssertionError):
        analysis.wise_curves(lora, **asked | {"alphas": (0, 0.5)})
    (tmp_path / "wise.parquet").write_text("no table")
    with pytest.raises(InputError, match="does not hold the rows of wise_curves"):
        analysis.wise_curves(lora, **asked)


def test_without_validation_nothing_is_trained(study, monkeypatch):
    monkeypatch.setattr(training, "fit", training_forbidden)
    weights = analysis.load_weights(study, "toy", "ssf", 0)
    assert set(analysis.wise_curves(weights, alphas=(1,), validate=False)["set"]) == {
        "test",
        "contrast:1",
        "contrast:2",
    }


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"alphas": ()}, "alphas must be different numbers from 0 to 1"),
        ({"alphas": (0, 1.5)}, "alphas must be different numbers from 0 to 1"),
        ({"alphas": (0.5, 0.5)}, "alphas must be different numbers from 0 to 1"),
        ({"merged": "tail"}, "unknown merged 'tail'; known: all, head"),
        ({"sets": ["val"]}, "unknown set 'val'; known: contrast:1"),
        ({"sets": ["noise:1"]}, "task 'toy': unknown set 'noise:1'"),
    ],
)
def test_what_a_curve_cannot_be_asked(lora, asked, complaint):
    with pytest.raises(InputError, match=complaint):
        analysis.wise_curves(lora, validate=False, **asked)


# ---------------------------------------------------------------------------------------------------------------- soups


def test_the_average_of_a_model_with_itself_is_that_model():
    model = {"weight": torch.randn(5, 3), "channels": torch.arange(3)}
    for copies in (2, 3, 7):
        mean = average([model] * copies)
        assert torch.equal(mean["weight"], model["weight"])
        assert torch.equal(mean["channels"], model["channels"])


def test_along_a_line_of_weights_a_linear_models_logits_are_a_line():
    layer, x = nn.Linear(4, 3), torch.randn(6, 4)
    a, b = ({name: torch.randn_like(tensor) for name, tensor in layer.state_dict().items()} for _ in range(2))
    for t in (0.0, 0.3, 1.0):
        expected = (1 - t) * functional_call(layer, a, (x,)) + t * functional_call(layer, b, (x,))
        torch.testing.assert_close(functional_call(layer, between(a, b, t), (x,)), expected)
    assert all(torch.equal(between(a, b, 0.0)[name], a[name]) for name in a)
    assert all(torch.equal(between(a, b, 1.0)[name], b[name]) for name in a)


def test_what_has_no_mean_is_refused():
    with pytest.raises(InputError, match=r"1 of their 1 tensors differ.*\(1, 2\) and \(2, 2\)"):
        average([{"down": torch.ones(1, 2)}, {"down": torch.ones(2, 2)}])
    with pytest.raises(InputError, match="absent"):
        average([{"down": torch.ones(1)}, {"up": torch.ones(1)}])
    with pytest.raises(InputError, match="differ in channels"):
        average([{"channels": torch.tensor([0, 1])}, {"channels": torch.tensor([0, 2])}])
    with pytest.raises(InputError, match="at least one"):
        average([])


def test_a_folded_soup_is_the_mean_of_the_merged_weights(lora):
    made = analysis.soup(lora)
    merged = [methods.merge(lora.model(lora.trial(row)).module).state_dict() for row in range(2)]
    for name, tensor in made.tensors.items():
        torch.testing.assert_close(tensor, (merged[0][name] + merged[1][name]) / 2)
    assert (made.name, made.taken) == ("soup:uniform:folded", (0, 1))


def test_the_mean_of_factors_is_not_the_mean_of_updates(lora):
    spaces = {space: analysis.soup(lora, "uniform", space) for space in ("folded", "tuned")}
    tuned = lora.tensors(lora.trial(0)), lora.tensors(lora.trial(1))
    name = next(name for name in tuned[0] if name.endswith("up"))
    torch.testing.assert_close(spaces["tuned"].tensors[name], (tuned[0][name] + tuned[1][name]) / 2)
    said = analysis.soup_predictions(lora, list(spaces.values())).logits
    assert np.abs(said[2] - said[3]).max() > 1e-4


def test_what_does_not_fold_is_averaged_as_it_was_tuned(study):
    weights = analysis.load_weights(study, "toy", "adaptformer")
    preds = analysis.soup_predictions(weights, analysis.soup(weights, space="tuned"))
    assert preds.runs["role"].tolist() == ["member", "member", "soup"]
    with pytest.raises(NotMergeable, match=r"leave 'adaptformer' out.*space='tuned'"):
        analysis.soup(weights)


def test_methods_are_averaged_by_what_they_do_to_the_weights(across):
    made = analysis.soup(across)
    merged = [methods.merge(across.model(across.trial(row)).module).state_dict() for row in range(2)]
    for name, tensor in made.tensors.items():
        torch.testing.assert_close(tensor, (merged[0][name] + merged[1][name]) / 2)
    with pytest.raises(InputError, match="'lora' and 'ssf' are different things and have no mean"):
        analysis.soup(across, space="tuned")


def test_members_say_what_was_stored_and_soups_are_compared_with_them(lora, rng):
    preds = analysis.soup_predictions(lora, analysis.soup(lora), "contrast:1")
    for row, record in enumerate(lora.records):
        np.testing.assert_array_equal(preds.logits[row], record.logits("contrast:1"))
    table = analysis.soup_gain(preds, rng=rng)
    assert set(table["against"]) == {"best member", "best member on val", "mean member", "logit ensemble"}
    for split in ("val", "train", "trainval"):
        with pytest.raises(InputError, match=f"trained on '{split}'"):
            analysis.soup_predictions(lora, analysis.soup(lora), split)


def test_greedy_takes_from_the_best_downwards_what_does_not_harm():
    worth = {(0,): 0.7, (1,): 0.9, (2,): 0.8, (3,): 0.8, (1, 3): 0.85, (1, 2): 0.9, (1, 2, 0): 0.95}
    loss = {2: 2.0, 3: 1.0}  # of the equals 2 and 3, 3 comes first
    asked = []

    def on_val(members):
        asked.append(tuple(members))
        return worth[tuple(members)], loss.get(members[0], 0.0)

    assert greedy(4, on_val) == [1, 2, 0]
    assert asked[4:] == [(1, 3), (1, 2), (1, 2, 0)]


def test_a_greedy_soup_asks_validation_of_models_that_have_not_seen_it(lora, monkeypatch):
    asked = []
    build = models.build
    monkeypatch.setattr(models, "build", lambda trial, *rest: asked.append(trial) or build(trial, *rest))
    made = analysis.soup(analysis.load_weights(lora.records[0].path.parents[3], "toy", "lora"), "greedy")
    held_out = [dataclasses.replace(lora.trial(row), fit="train") for row in range(2)]
    assert all(trial in asked for trial in held_out)
    assert set(made.taken) <= {0, 1}
    # what is done with the decision is done with the runs
    folded = [lora.plain(lora.trial(row)).module.state_dict() for row in made.taken]
    for name, tensor in average(folded).items():
        torch.testing.assert_close(made.tensors[name], tensor)


def test_trials_of_different_ranks_mix_folded_and_not_otherwise(study):
    weights = analysis.load_weights(study, "toy", "lora", of="trials")
    assert [h["rank"] for h in weights.runs["hyperparameters"]] != [1, 1]
    preds = analysis.soup_predictions(
        weights, [analysis.soup(weights, recipe) for recipe in ("uniform", "greedy")], "val"
    )
    for row, record in enumerate(weights.records):
        np.testing.assert_array_equal(preds.logits[row], record.logits("val"))
    assert preds.accuracy[3] >= preds.accuracy[:2].max()  # greedy never falls below its best member on validation
    with pytest.raises(InputError, match="Tuned tensors average only over one method with the same hyperparameters"):
        analysis.soup(weights, space="tuned")


def test_one_seed_makes_no_soup(study):
    weights = analysis.load_weights(study, "toy", "lora", 0)
    with pytest.raises(InputError, match="needs two members; got lora, seed 0 alone"):
        analysis.soup(weights)
    for asked, complaint in (({"recipe": "thick"}, "unknown recipe"), ({"space": "head"}, "unknown space")):
        with pytest.raises(InputError, match=complaint):
            analysis.soup(analysis.load_weights(study, "toy", "lora"), **asked)


# ---------------------------------------------------------------------------------------------------------------- paths


def test_a_path_runs_from_one_stored_run_to_the_other_through_their_soup(lora):
    path = analysis.linear_paths(lora, points=3).set_index("t")
    for t, record in ((0.0, lora.records[0]), (1.0, lora.records[1])):
        assert path.loc[t, "accuracy"] == record.header["results"]["test"]["accuracy"]
        assert path.loc[t, "loss"] == pytest.approx(record.header["results"]["test"]["loss"], abs=1e-5)
        assert path.loc[t, "ensemble_loss"] == path.loc[t, "loss"]
    preds = analysis.soup_predictions(lora, analysis.soup(lora))
    assert path.loc[0.5, "loss"] == pytest.approx(analysis.score(preds.logits[2], preds.labels)["loss"], abs=1e-6)
    together = analysis.ensemble(preds, members=[0, 1])
    assert path.loc[0.5, "ensemble_loss"] == pytest.approx(analysis.score(together, preds.labels)["loss"], abs=1e-5)
    assert len(analysis.barriers(path.reset_index())) == 1


def test_pairs_of_methods_and_of_seeds_are_told_apart(study):
    weights = analysis.load_weights(study, "toy", ["lora", "ssf"])
    which = {name: analysis.linear_paths(weights, points=3, pairs=name) for name in ("all", "methods", "seeds")}
    assert {name: len(table) // 3 for name, table in which.items()} == {"all": 6, "methods": 2, "seeds": 2}
    assert (which["methods"]["method_a"] != which["methods"]["method_b"]).all()
    assert (which["methods"]["seed_a"] == which["methods"]["seed_b"]).all()
    assert (which["seeds"]["method_a"] == which["seeds"]["method_b"]).all()


def test_what_no_path_can_be_drawn_between(study, lora, across):
    with pytest.raises(InputError, match="needs two methods under one seed; got lora, seed 0; lora, seed 1"):
        analysis.linear_paths(lora, pairs="methods")
    with pytest.raises(InputError, match="needs one method under two seeds"):
        analysis.linear_paths(across, pairs="seeds")
    with pytest.raises(InputError, match="points must be at least 3"):
        analysis.linear_paths(lora, points=2)
    with pytest.raises(InputError, match="unknown pairs 'some'"):
        analysis.linear_paths(lora, pairs="some")
    with pytest.raises(InputError, match="at least two runs"):
        analysis.linear_paths(analysis.load_weights(study, "toy", "lora", 0))


# -------------------------------------------------------------------------------------------------------------- spectra


def test_lora_changes_qkv_by_the_product_of_its_factors_and_nothing_else(lora):
    table = analysis.weight_change(lora)
    rank = lora.runs["hyperparameters"].iloc[0]["rank"]
    changed = table[table["relative_norm"] > 0]
    assert set(changed["site"]) == {"attn.qkv"}
    assert (changed["effective_rank"] <= rank + 1e-3).all() and (changed["stable_rank"] <= rank + 1e-6).all()
    assert table[table["relative_norm"] == 0]["effective_rank"].isna().all()
    tensors = lora.tensors(lora.trial(0))
    update = tensors["blocks.2.attn.qkv.up"] @ tensors["blocks.2.attn.qkv.down"]
    weight = lora.plain(lora.trial(0), alpha=0.0).module.get_submodule("blocks.2.attn.qkv").weight
    row = changed[(changed["layer"] == 2) & (changed["seed"] == 0)]
    assert row["relative_norm"].item() == pytest.approx(float(update.norm() / weight.norm()), rel=1e-4)


def test_every_tensor_but_the_classifiers_has_a_row_and_a_place(study):
    weights = analysis.load_weights(study, "toy", "ssf", 0)
    table = analysis.weight_change(weights, top=4)
    plain = backbones.create("micro_vit", 3)
    assert set(table["tensor"]) == {name for name, _ in plain.named_parameters() if not name.startswith("head.")}
    assert table["layer"].dropna().unique().tolist() == list(range(6))
    assert {"attn.qkv", "attn.qkv.bias", "norm1", "patch_embed.proj"} <= set(table["site"])
    with pytest.raises(InputError, match="top must be at least 1"):
        analysis.weight_change(weights, top=0)
    with pytest.raises(NotMergeable, match="leave 'adaptformer' out"):
        analysis.weight_change(analysis.load_weights(study, "toy", "adaptformer"))


# ------------------------------------------------------------------------------------------------------------- features


def test_the_last_features_through_the_stored_classifier_are_the_stored_logits(study):
    weights = analysis.load_weights(study, "toy")
    features = analysis.block_features(weights, examples=20)
    at = np.linspace(0, 47, 20).round().astype(int)  # of the 48 test images
    for row, record in enumerate(weights.records, start=1):
        tensors = record.tensors()
        said = features.places["head"][row] @ tensors["head.weight"].T + tensors["head.bias"]
        np.testing.assert_allclose(said, record.logits("test")[at], atol=1e-4)


def test_the_first_row_is_the_backbone_before_it_was_tuned(study):
    weights = analysis.load_weights(study, "toy", ["adaptformer", "ssf"], 0)
    features = analysis.block_features(weights, split="contrast:1")
    assert features.runs["method"].tolist() == ["pre-trained", "adaptformer", "ssf"]
    assert features.runs["seed"].isna().tolist() == [True, False, False]
    assert list(features.places) == [*(f"block {number}" for number in range(6)), "head"]
    plain, images = backbones.create("micro_vit", 3).eval(), weights.task.split("contrast:1").images
    known = backbones.info("micro_vit")
    with torch.no_grad():
        x = Normalisation(known.mean, known.std)(to_tensor(images, torch.device("cpu")))
        expected = plain.forward_intermediates(x, return_prefix_tokens=True, intermediates_only=True)
        assert plain.global_pool == "token"
        for number, (_, prefix) in enumerate(expected):
            torch.testing.assert_close(torch.from_numpy(features.places[f"block {number}"][0]), prefix[:, 0])
        torch.testing.assert_close(
            torch.from_numpy(features.places["head"][0]), plain.forward_head(plain.forward_features(x), pre_logits=True)
        )
    assert all(np.abs(of_place[0] - of_place[2]).max() > 1e-3 for of_place in features.places.values())


def test_features_become_a_table_with_the_pretrained_backbone_and_seeds_beside(study, rng):
    features = analysis.block_features(analysis.load_weights(study, "toy", "ssf"))
    table = analysis.feature_similarity_by_method(features, rng=rng, draws=5)
    cells = table[table["layer"] == "head"].set_index(["method_a", "method_b"])["cka"]
    assert set(cells.index) == {("pre-trained", "ssf"), ("ssf", "pre-trained"), ("ssf", "ssf")}
    assert cells.between(0.1, 0.999).all()


def test_features_of_nothing_are_refused(lora):
    with pytest.raises(InputError, match="examples must be at least 4"):
        analysis.block_features(lora, examples=3)
    with pytest.raises(InputError, match="has no split 'blur:1'"):
        analysis.block_features(lora, split="blur:1")


# -------------------------------------------------------------------------------------------------------------- loading


def test_what_is_not_there_is_said_with_what_is(study):
    for asked, complaint in (
        ((study, "digits"), "unknown task 'digits'; known: toy"),
        ((study, "toy", "full"), "unknown method 'full'; known: adaptformer, lora, ssf"),
        ((study, "toy", "lora", 7), "unknown seed 7; known: 0, 1"),
    ):
        with pytest.raises(InputError, match=complaint):
            analysis.load_weights(*asked)
    with pytest.raises(InputError, match="unknown of 'models'; known: runs, trials"):
        analysis.load_weights(study, "toy", of="models")
    with pytest.raises(InputError, match="best must be at least 1"):
        analysis.load_weights(study, "toy", of="trials", best=0)


def test_runs_have_no_best_since_all_seeds_have_the_validation_accuracy_of_one_trial(study):
    weights = analysis.load_weights(study, "toy")
    for _, of_method in weights.runs.groupby("method"):
        assert len(set(of_method["val_accuracy"])) == 1 < len(of_method)
    with pytest.raises(InputError, match=r"best=1 has no meaning for runs: .*Ask for some `seeds`, or of='trials'"):
        analysis.load_weights(study, "toy", best=1)


def test_runs_that_kept_no_tensors_can_be_left_out(study, lora, tmp_path):
    bare = copied(lora.records[0], tmp_path / "bare", tensors=None, lr=0.5)
    both = analysis.load_weights([study, bare], "toy", "lora")
    assert len(both) == 3
    assert analysis.load_weights([study, bare], "toy", "lora", stored=True).runs["key"].tolist() == [
        record.key for record in lora.records
    ]
    with pytest.raises(InputError, match=r"task 'toy': no run kept its tensors.*keep\.tensors"):
        analysis.load_weights(bare, "toy", stored=True)
    with pytest.raises(InputError, match="trials keep no tensors"):
        analysis.load_weights(study, "toy", of="trials", stored=True)


def copied(record, path: Path, **changes: object) -> Path:
    """A study of `record` alone, with changes in its specification, and without tensors if ``tensors=None``."""
    header = copy.deepcopy(record.header)
    tensors = record.tensors() if changes.pop("tensors", True) else None
    header["spec"].update(changes)
    elsewhere = Study.create(path, {"name": "copied"})
    said = {"test": record.logits("test")}
    header["results"] = {"test": record.header["results"]["test"]}
    seen = {"test": record.examples("test")}
    write(elsewhere.directory("run", header["spec"]), header, logits=said, examples=seen, tensors=tensors)
    return path


def test_runs_of_two_protocols_are_refused_with_both_named(lora, tmp_path):
    record = lora.records[0]
    other = copied(record, tmp_path / "other", protocol={**record.spec["protocol"], "name": "longer", "epochs": 3})
    study = record.path.parents[3]
    with pytest.raises(InputError, match=r"different protocol.*blink.*longer"):
        analysis.load_weights([study, other], "toy")


def test_runs_of_other_data_or_weights_cannot_be_built_again(lora, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "fingerprint", lambda task: "f" * 64)
    with pytest.raises(InputError, match=r"cannot be built again here: data was .*, is ffffffffffff"):
        analysis.load_weights(lora.records[0].path.parents[3], "toy")
    monkeypatch.undo()
    with pytest.raises(InputError, match="weights was abc, is "):
        analysis.load_weights(copied(lora.records[0], tmp_path / "other", weights="abc"), "toy")


def test_drawn_logits_are_no_models(tmp_path):
    path = studies.write_study(tmp_path / "drawn", tasks=["digits"], methods=["lora"], examples=20)
    with pytest.raises(InputError, match=r"cannot be built again here: its protocol 'synthetic'.*warmup_epochs"):
        analysis.load_weights(path, "digits")


def test_a_record_of_a_study_that_keeps_less_is_the_same_trial_again(lora):
    kept = dataclasses.replace(lora.trial(0), keep=Keep(logits="float16", shifts=["contrast"]))
    record = SimpleNamespace(path=Path("kept"), spec=kept.spec, header={"study": {"name": "toys"}})
    assert "keep" in kept.spec
    assert trials.trial_of(record).spec == kept.spec


def test_a_run_whose_tensors_were_not_kept_is_trained_again_bit_for_bit(lora, tmp_path):
    bare = analysis.load_weights(copied(lora.records[0], tmp_path / "bare", tensors=None), "toy")
    said = bare.model(bare.trial(0)).ask(bare.task.test)
    np.testing.assert_array_equal(said, lora.records[0].logits("test"))
    assert bare.reproduced(bare.records[0]) is True
    assert lora.reproduced(lora.records[0]) is None


def test_a_run_without_its_search_has_no_honest_alpha(lora, tmp_path):
    weights = analysis.load_weights(copied(lora.records[0], tmp_path / "alone"), "toy")
    with pytest.raises(InputError, match=r"the search trial that selected this run is not in its study.*trials/ back"):
        analysis.wise_curves(weights, alphas=(1,), sets=["test"])


def test_a_space_holds_one_model_for_all_its_members(lora):
    ground = Space(lora, "folded")
    first = ground.put(ground.tensors(lora.trial(0)))
    assert ground.put(ground.tensors(lora.trial(1))) is first
