from __future__ import annotations

import pytest
import yaml

import toy
from petl_study import methods, spec, tasks
from petl_study.errors import InputError
from petl_study.plan import Plan


def refused(match: str, **changes: object) -> None:
    with pytest.raises(InputError, match=match):
        spec.resolve(toy.study(**changes), "my.yaml")


def test_a_method_brings_its_search_space_and_the_file_may_narrow_it():
    study = spec.resolve(toy.study(methods=["lora", "ssf"]))
    assert study.space(study.methods[0]) == {"rank": [1, 8, 16, 32], "lr": [1e-3, 1e-2], "weight_decay": [1e-4]}
    narrowed = spec.resolve(toy.study(methods=[{"lora": {"rank": 8, "dropout": [0.0, 0.1]}}]))
    assert narrowed.methods[0].space == {"rank": [8], "dropout": [0.0, 0.1]}


def test_trials_are_the_grid_or_the_budget():
    whole = spec.resolve(toy.study(search={}))
    assert [whole.trials(m) for m in whole.methods] == [4, 8]
    capped = spec.resolve(toy.study(search={"trials": 6}))
    assert [capped.trials(m) for m in capped.methods] == [4, 6]
    free = spec.resolve(toy.study(search={"trials": 6, "sampler": "tpe"}))
    assert [free.trials(m) for m in free.methods] == [6, 6]


def test_a_resolved_study_resolves_to_itself():
    study = spec.resolve(toy.study())
    assert spec.resolve(study.model_dump()) == study


def test_the_shipped_quickstart_is_broad():
    study = spec.load("quickstart")
    assert {tasks.info(task).group for task in study.tasks} == {"natural", "specialized", "structured"}
    chosen = {method.name for method in study.methods}
    assert len(chosen) >= 12
    assert {"linear", "full", "lora", "adaptformer", "vpt_deep", "bitfit", "ssf", "sct", "rlrr"} <= chosen
    assert all(study.trials(m) >= 3 for m in study.methods)
    assert (study.head_of("digits"), study.head_of("cells")) == ("zero_shot", "new")


def test_the_embedded_study_is_every_method_on_every_task_over_its_whole_space():
    study = spec.load("embedded")
    assert sorted(method.name for method in study.methods) == methods.list_methods()
    assert sorted(task.name for task in study.tasks) == sorted(t for t in tasks.list_tasks() if t != "toy")
    assert all(method.space == methods.search_space(method.name) for method in study.methods)
    assert (study.search.trials, study.seeds) == (None, [0, 1, 2])


def test_a_changed_protocol_does_not_pass_under_the_old_name():
    assert spec.resolve(toy.study(protocol="embedded")).protocol.name == "embedded"
    assert spec.resolve(toy.study(protocol={"base": "embedded", "epochs": 3})).protocol.name == "embedded*"
    assert spec.resolve(toy.study(protocol={"base": "embedded", "epochs": 40})).protocol.name == "embedded"


def test_numbers_may_be_written_as_people_write_them(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(toy.study()).replace("0.001", "1e-3"))
    assert "1e-3" in file.read_text()
    assert spec.load(file).search.lr == [1e-3, 1e-2]


def test_unknown_names_say_what_is_known():
    refused(r"my\.yaml: tasks: unknown task 'toyy'; known: .*toy.*Did you mean 'toy'\?", tasks=["toyy"])
    refused(r"methods\.0: unknown method 'lorra'; .*Did you mean 'lora'", methods=["lorra"])
    refused(r"unknown hyperparameter of lora 'r'; known: dropout, init, rank, sites", methods=[{"lora": {"r": 8}}])
    refused(r"backbone: unknown backbone 'vit'; known: .*micro_vit", backbone="vit")
    refused(r"unknown protocol 'embeded'; known: .*embedded", protocol="embeded")
    refused(r"top level: unknown key 'taks'; known: .*tasks.*Did you mean 'tasks'", taks=["toy"])
    refused(r"search: unknown key 'trails'; known: .*Did you mean 'trials'", search={"trails": 3})
    refused(r"head: unknown task 'digits'; known: toy", head={"digits": "zero_shot"})


def test_wrong_values_say_where_and_what_was_given():
    refused(r"search\.trials: .*got '3' \(str\)", search={"trials": "3"})
    refused(r"seeds\.0: .*got 0\.5 \(float\)", seeds=[0.5])
    refused(r"seeds: seeds are whole numbers from 0, got \[-1\]", seeds=[-1])
    refused(r"lora: rank must be a whole number of at least 1, got 'x'", methods=[{"lora": {"rank": ["x"]}}])
    refused(r"methods\.0: a method is a name, or one name", methods=[3])
    refused(r"methods: method 'lora' is listed twice", methods=["lora", "lora"])
    refused(r"search\.lr: must be finite and not negative, got \[-1\.0\]", search={"lr": [-1.0]})
    refused(r"search: sampler 'tpe' needs a number of trials", search={"sampler": "tpe"})
    refused(r"protocol\.epochs: .*greater than or equal to 1, got 0", protocol={"base": "embedded", "epochs": 0})
    refused(r"tasks: .*at least 1 item", tasks=[])
    refused(
        r"task 'toy' cannot start from micro_vit's own classifier .* no rows for red, green, blue", head="zero_shot"
    )


def test_every_mistake_is_told_at_once():
    with pytest.raises(InputError) as caught:
        spec.resolve(toy.study(seeds=[-1], tasks=["nope"]), "my.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_missing_keys_missing_files_and_broken_files(tmp_path):
    content = toy.study()
    del content["tasks"]
    with pytest.raises(InputError, match="tasks: this key is missing"):
        spec.resolve(content)
    with pytest.raises(InputError, match=r"no such file, and among the shipped studies: unknown study 'quikstart'"):
        spec.load("quikstart")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [unclosed")
    with pytest.raises(InputError, match="is not valid YAML"):
        spec.load(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        spec.load(broken)
    broken.write_text("- a list")
    with pytest.raises(InputError, match="a study file is a mapping with the keys name, backbone"):
        spec.load(broken)


def test_yaml_cannot_make_objects(tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(InputError, match="is not valid YAML"):
        spec.load(file)


def test_what_is_kept_must_exist_in_the_study():
    kept = spec.resolve(toy.study(keep={"logits": "float16", "shifts": ["contrast:2"], "tensors": ["lora"]})).keep
    assert kept.shifts_of(("contrast:1", "contrast:2")) == ["contrast:2"]
    assert (kept.tensors_of("lora"), kept.tensors_of("bitfit")) == (True, False)
    with pytest.raises(InputError, match=r"keep\.shifts: unknown shift set 'fog'; known: contrast"):
        spec.resolve(toy.study(keep={"shifts": ["fog"]}))
    with pytest.raises(InputError, match=r"keep\.tensors: unknown method 'ssf'; known: bitfit, lora"):
        spec.resolve(toy.study(keep={"tensors": ["ssf"]}))


def test_a_search_may_stop_trials_and_says_nothing_of_it_otherwise():
    search = {"lr": [1e-3], "pruner": {"name": "hyperband", "first": 5}}
    study = spec.resolve(toy.study(search=search, protocol="embedded"))
    assert study.rungs == [13]
    assert study.search.pruner.factor == 3
    assert spec.resolve(study.model_dump()) == study
    assert "pruner" not in spec.resolve(toy.study()).model_dump()["search"]
    assert spec.resolve(toy.study()).rungs == []


def test_a_pruner_that_cannot_decide_is_refused():
    def asked(**pruner: object) -> dict[str, object]:
        return {"protocol": "embedded", "search": {"pruner": {"name": "halving", "first": 5, **pruner}}}

    refused(r"search\.pruner\.name: Input should be 'halving' or 'hyperband', got 'median'", **asked(name="median"))
    refused(
        r"search\.pruner: unknown key 'firts'; known: factor, first, name\. Did you mean 'first'\?", **asked(firts=1)
    )
    refused(r"search\.pruner\.factor: .*greater than or equal to 2, got 1", **asked(factor=1))
    refused(r"search\.pruner\.first: this key is missing", search={"pruner": {"name": "halving"}})
    refused(
        r"40 epochs and factor 3 allow rungs after 1, 4, 13 epochs, and first is 14\. Give a sma", **asked(first=14)
    )
    refused(r"first rung is after 4 epochs, and the learning rate rises for 4: .*Give `first: 5`", **asked(first=2))
    refused(r"sampler 'tpe' asks for one trial at a time", search={**asked()["search"], "sampler": "tpe", "trials": 9})


def test_the_shipped_halving_trains_a_third_of_its_grid():
    study = spec.load("halving")
    trained = sum(sum(Plan(study.model_dump()).legs(method.name)) for method in study.methods)
    assert study.rungs == [2, 4, 8]
    assert trained / sum(study.trials(method) * study.protocol.epochs for method in study.methods) < 0.34
