"""What `petl-study methods` tells is what the code does."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

import families
from petl_study import cli, methods
from petl_study.methods import _facts


@pytest.fixture
def page(capsys):
    def show(*arguments: str) -> str:
        assert cli.main(["methods", *arguments]) == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("name", methods.list_methods())
def test_every_method_has_a_docstring_to_show(name):
    first = _facts.docstring(methods.get(name)).splitlines()[0]
    assert len(first) > 20
    assert not first.startswith(f"{methods.get(name).__name__}(")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "lora",
            [r"LoRA: a low-rank update", r"    y = W x \+ b \+ a B A x ", r"trains +294,912 numbers of a ViT-B/16"],
        ),
        ("lora", [r"0\.34% of its 85\.8 M", "merges +yes", "looks first +no", "starts +at the pre-trained function"]),
        (
            "lora",
            [r"rank +8 +a whole number, at least 1 +\{1, 8, 16, 32\}", r"dropout +0 +a number, at least 0, at mo"],
        ),
        ("lora", ["Its grid has 4 points, times", "paper +Hu et al., arXiv 2106.09685", r"petl_study\.methods\.lora"]),
        (
            "sct",
            ["trains +111,744", "looks first +yes", "merges +no: the residual stream", r"off .* by 1\.7%"],
        ),
        ("sct", ["position +attn +text +no", "Its grid has 1 point, times"]),
        ("convpass", [r"xavier_init +False +True or False +\{True, False\}", "Its grid has 20 points"]),
        ("full", ["trains +85,798,656 numbers of a ViT-B/16, 100.00% of its 85.8 M"]),
        ("linear", ["trains +0 numbers"]),
        ("ssf", [r"off the pre-trained function: untrained, it moves the logits of a small random ViT by 12\.3%"]),
    ],
)
def test_a_methods_page_tells_what_its_users_ask(name, told, page):
    text = page(name)
    for fact in told:
        assert re.search(fact, text)


def test_a_page_keeps_equations_and_refills_paragraphs(page):
    lines = page("vpt_shallow").splitlines()
    assert lines[2:4] == [
        "    [x_1, Z_1] = block_1([x_0, P])          x (N, d) tokens   P (prompts, d)",
        "    [x_i, Z_i] = block_i([x_{i-1}, Z_{i-1}])        i = 2 ... L; the head reads x_L alone",
    ]
    assert max(map(len, page("bitfit").splitlines())) <= 120


def test_a_class_that_has_a_docstring_of_its_own_shows_that():
    method = type("Own", (methods.Method,), {"__doc__": "Own: what it does.", "__module__": "petl_study.methods.lora"})
    assert _facts.docstring(method) == "Own: what it does."


def test_a_peft_types_page_shows_its_own_equation(page):
    pytest.importorskip("peft")
    text = page("peft:dora")
    assert re.search(r"trains +322,560 numbers", text)
    assert text.startswith("W' = m * (W + B @ A)")


def test_the_list_has_sizes_and_leaves_out_what_takes_long(page):
    text = page()
    assert re.search(r"bitfit +102,912 +yes +learning rate and weight decay only", text)
    assert re.search(r"vpt_deep +92,160 +no +prompts", text)
    assert re.search(r"sct +no +learning rate", text)
    if "peft:dora" in methods.list_methods():
        assert re.search(r"peft:dora +rank \{1, 8, 16, 32\} +Liu et al\., arXiv 2402\.09353", text)


def test_the_list_of_backbones_tells_which_methods_work_on_which(capsys):
    assert cli.main(["backbones"]) == 0
    out = capsys.readouterr().out
    own = {name for name in methods.list_methods() if methods.get(name).extra is None}
    for family in ("ViT", "Swin", "ConvNeXt", "Mixer", "ResMLP"):
        told = re.search(rf"^  {family}.*: all(?: but )?(.*)$", out, re.MULTILINE)[1]
        lacking = {name for name in own if not families.works(name, family)}
        assert {name for name in told.split(", ") if name} == lacking


def test_an_unknown_method_is_told_with_the_nearest(capsys):
    assert cli.main(["methods", "bitfitt"]) == 2
    assert "unknown method 'bitfitt'; known: " in (told := capsys.readouterr().err)
    assert "Did you mean 'bitfit'?" in told


def test_a_method_that_looks_at_the_weights_is_counted_on_real_ones():
    @dataclass(frozen=True)
    class Sees(methods.Method):
        def own(self, model):
            return {name for name, p in model.named_parameters() if "norm1" in name and p.sum().item() >= 0}

    assert _facts.trained(Sees())[0] == 2 * 12 * 768
    assert not _facts.looks_at_data(Sees())
