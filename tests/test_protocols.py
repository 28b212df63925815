"""Protocols: what each name stands for, and that records made before a protocol grew keep their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import toy
from petl_study import cli, search, spec
from petl_study.errors import InputError
from petl_study.protocols import PROTOCOLS, Protocol
from petl_study.store import fingerprint, key_of

DOCS = (Path(__file__).parent.parent / "docs" / "protocols.md").read_text()


def protocol(given: object) -> Protocol:
    return spec.resolve(toy.study(protocol=given)).protocol


def test_records_of_the_reference_study_keep_their_names():
    study = spec.load("reference")
    assert study.protocol.model_dump() == {
        "name": "embedded-short",
        "epochs": 8,
        "warmup_epochs": 1,
        "warmup_lr": 1e-6,
        "min_lr": 1e-5,
        "batch_size": 64,
        "drop_path": 0.0,
        "label_smoothing": 0.0,
        "optimizer": "adamw",
        "decay": "matrices",
        "resize": "none",
        "normalisation": "backbone",
        "augmentation": "none",
        "precision": "fp32",
        "selection": "val_accuracy_last_epoch",
        "final_fit": "trainval",
    }
    assert fingerprint(study.model_dump()) == "19ba5f4cf86020a90d4e5ca7700bde0fb76b092165ee0fe6d0e3bd7da161af97"
    digits, lora = next(cell for cell in study.cells if cell[1].name == "lora")
    assert key_of(next(search.search(study, digits, lora))[0].spec) == "8c34b274366bf05a"


def test_what_was_not_always_a_choice_is_named_only_where_it_is_chosen():
    assert "drop_path_in" not in protocol("embedded").model_dump()
    assert protocol({"base": "embedded", "drop_path_in": "all"}) == protocol("embedded")
    chosen = protocol({"base": "embedded", "drop_path_in": "tuned", "precision": "bf16"})
    assert (chosen.name, chosen.model_dump()["drop_path_in"], chosen.model_dump()["precision"]) == (
        "embedded*",
        "tuned",
        "bf16",
    )
    with pytest.raises(InputError, match="drop_path_in: Input should be 'all' or 'tuned', got 'some'"):
        protocol({"base": "embedded", "drop_path_in": "some"})


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_stands_for_its_settings(name):
    stands_for = Protocol.model_validate(name)
    assert stands_for.model_dump().items() >= PROTOCOLS[name].settings.items()
    assert stands_for.name == name


def test_the_three_normalisations_of_the_study_differ_in_nothing_else():
    dumps = [
        protocol({"base": name, "image_size": 32}).model_dump() for name in ("study", "imagenet-norm", "backbone-norm")
    ]
    assert [dump.pop("normalisation") for dump in dumps] == ["none", "imagenet", "backbone"]
    assert [dump.pop("name") for dump in dumps] == ["study*", "imagenet-norm*", "backbone-norm*"]
    assert dumps[0] == dumps[1] == dumps[2]


def test_a_changed_protocol_does_not_pass_under_its_old_name():
    assert protocol({"base": "embedded", "epochs": 20}).name == "embedded*"
    assert protocol({"base": "embedded", "epochs": 40}).name == "embedded"
    assert protocol({"base": "embedded", "epochs": 20, "name": "mine"}).name == "mine"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image_size": 64}, "resize 'none' with image_size 64"),
        ({"resize": "crop"}, "resize 'crop' with image_size None: .* need a size"),
        (
            {"augmentation": "crop-flip", "resize": "direct", "image_size": 32},
            "'crop-flip' cuts squares .* `resize: crop`",
        ),
        ({"augmentation": "mixup"}, "protocol.augmentation: .*'flip'.*, got 'mixup'"),
        ({"normalisation": "clip"}, "protocol.normalisation: .*'imagenet'.*, got 'clip'"),
        ({"epohcs": 3}, "protocol: unknown key 'epohcs'.*Did you mean 'epochs'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(changes, told):
    with pytest.raises(InputError, match=told):
        protocol({"base": "embedded", **changes})


def test_a_backbone_that_cannot_take_the_images_is_refused_before_anything_trains():
    with pytest.raises(
        InputError, match=r"micro_vit takes images of 32 pixels, not of 224\. Choose another image_size"
    ):
        spec.resolve(toy.study(protocol="study"))
    with pytest.raises(InputError, match=r"random:test_vit takes no images of 40 x 40 pixels \(.*own are of 160"):
        spec.resolve(toy.study(backbone="random:test_vit", protocol={"base": "study", "image_size": 40}))
    spec.resolve(toy.study(backbone="random:test_vit", protocol={"base": "study", "image_size": 48}))


def test_the_documentation_has_every_setting_of_every_protocol():
    header, *rows = [line for line in DOCS.splitlines() if line.startswith("|")]
    names = re.findall(r"`([\w-]+)`", header)
    assert set(names) == set(PROTOCOLS)
    for row in rows[1:]:
        keys, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        for name, cell in zip(names, cells, strict=True):
            dump = Protocol.model_validate(name).model_dump()
            said = [str(dump[key]) for key in re.findall(r"`(\w+)`", keys) if key in dump]
            assert cell == ", ".join(said)
    for name, recipe in PROTOCOLS.items():
        assert f"**`{name}`**" in DOCS
        for source in recipe.source.split(", ") if recipe.source != "this project" else ():
            assert source in DOCS


def test_the_list_of_protocols_says_what_each_does(capsys):
    assert cli.main(["protocols"]) == 0
    said = capsys.readouterr().out
    for name in PROTOCOLS:
        assert re.search(rf"^{name} ", said, re.MULTILINE)
    assert re.search(
        r"^sct +direct-224 +imagenet +none +100, 10 warm-up +64 +0\.1 +arXiv 2309\.08513", said, re.MULTILINE
    )
