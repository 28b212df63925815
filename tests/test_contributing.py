"""CONTRIBUTING.md, carried out: its code runs, and what it prints is printed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import timm

from distributions import install
from petl_study import listing, methods
from petl_study.errors import InputError
from petl_study.methods import _base

TESTS = Path(__file__).parent
DOCUMENT = TESTS.with_name("CONTRIBUTING.md").read_text("utf-8")
FENCES = {kind: re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL) for kind in ("python", "text", "toml")}
METHOD, USE, COUNT = FENCES["python"]
BROKEN, PAGE = FENCES["text"]


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Puts a source into the package of methods, where the document says that it goes, for one test."""

    def add(source: str) -> ModuleType:
        monkeypatch.setattr(_base, "_METHODS", {n: m for n, m in _base._METHODS.items() if n != "lora_fa"})
        file = tmp_path / "lora_fa.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location("petl_study.methods.lora_fa", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    methods.list_methods()
    return add


def test_the_example_keeps_every_promise_as_the_document_tries_it(added):
    added(METHOD)
    assert "lora_fa" in methods.list_methods()
    exec(compile(USE, "CONTRIBUTING.md", "exec"), {})


def test_the_example_of_a_broken_promise_says_what_is_printed(added):
    assert METHOD.count("self.alpha * F.linear") == 1
    added(METHOD.replace("self.alpha * F.linear", "F.linear"))
    with pytest.raises(InputError) as error:
        methods.check("lora_fa")
    said, printed = (re.split(r"(\d\.\de-\d\d)", text.strip()) for text in (str(error.value), BROKEN))
    assert (said[0], said[2]) == (printed[0], printed[2])
    assert float(said[1]) == pytest.approx(float(printed[1]), rel=0.1)


def test_the_examples_page_is_the_one_that_is_printed(added, capsys):
    added(METHOD)
    listing.method("lora_fa")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == PAGE.splitlines()


@pytest.mark.parametrize(("width", "depth"), [(24, 2), (48, 3)])
def test_the_examples_count_is_the_closed_form(added, width, depth):
    added(METHOD)
    model = timm.models.VisionTransformer(img_size=16, patch_size=8, embed_dim=width, depth=depth, num_heads=2)
    expected = eval("{" + COUNT + "}")["lora_fa"](width, depth, model)
    methods.create("lora_fa").apply(model)
    assert sum(p.numel() for p in methods.trainable_parameters(model).values()) == expected


SCRIPT = """
import sys
import toy, yaml
from petl_study.cli import main

if __name__ == "__main__":  # a worker imports this file too
    import petl_study.methods
    assert "petl_lora_fa" not in sys.modules  # not before methods are asked for
    assert main(["methods"]) == 0
    with open("study.yaml", "w") as file:
        search = {"lr": [0.001], "weight_decay": [0.0]}
        yaml.safe_dump(toy.study(methods=[{"lora_fa": {"rank": 2}}], seeds=[0], search=search), file)
    sys.exit(main(["run", "study.yaml", "--out", "study", "--engine", "processes", "--workers", "1"]))
"""


def test_as_a_package_of_its_own_it_is_listed_and_trained_like_any_other(tmp_path):
    """And a broken package beside it, named, is no hindrance."""
    project = tomllib.loads(FENCES["toml"][0])
    [module] = project["tool"]["setuptools"]["py-modules"]
    plugins = project["project"]["entry-points"]["petl_study.methods"]
    install(tmp_path, project["project"]["name"], project["project"]["version"], {module: METHOD}, plugins)
    install(tmp_path, "petl-broken", "1.0", {"petl_broken": "1 / 0"}, {"broken": "petl_broken"})
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(TESTS)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"lora_fa +221,184 +yes .*arXiv 2308\.03303 \[from petl-lora-fa 1\.0\]", done.stdout)
    assert "importing petl_broken failed with ZeroDivisionError: division by zero" in done.stdout
    assert "UserWarning: the methods of petl-broken 1.0 are left out" in done.stderr
    assert "2 trained" in done.stdout
    assert len(list((tmp_path / "study" / "runs" / "toy" / "lora_fa").iterdir())) == 1
