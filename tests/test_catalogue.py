"""What the lists show is what the code does, and showing it imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distributions import install
from petl_study import catalogue

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "timm", "scipy", "pandas", "optuna")
METHOD = """
from dataclasses import dataclass
from petl_study.methods import Method, register

@register("made", paper="nobody, arXiv 0000.00000")
@dataclass(frozen=True)
class Made(Method):
    def own(self, model):
        return {name for name, _ in model.named_parameters() if name.endswith("norm1.bias")}
"""


def command(*arguments: str, site: Path | None = None) -> str:
    """What a new process prints for a command, and then the heavy packages that it imported."""
    code = "import sys; from petl_study.cli import main; main(sys.argv[1:]);"
    code += f"print({{*{HEAVY}}} & {{*sys.modules}} or None)"
    path = os.pathsep.join(map(str, [ROOT, *([site] if site else [])]))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_is_kept_is_what_the_code_does():
    found, kept = catalogue.find(), catalogue.read()
    here = {one.name for one in found.methods}
    assert [one for one in kept.methods if one.name in here] == found.methods
    assert {one.extra for one in kept.methods if one.name not in here} <= {"peft"}
    toys = [task for task in found.tasks if task.name != "toy"]
    assert replace(kept, methods=[], tasks=[]) == replace(found, methods=[], tasks=[])
    assert kept.tasks == toys


@pytest.mark.parametrize("name", ["methods", "tasks", "backbones", "protocols"])
def test_a_list_imports_nothing_heavy(name):
    assert command(name).splitlines()[-1] == "None"


def test_the_state_of_a_study_is_told_without_torch():
    *_, told, imported = command("status", str(ROOT / "runs" / "reference")).splitlines()
    assert told == "1050 of 1050 finished, 0 failed."
    assert imported == "None"


def test_a_plug_ins_method_is_listed_beside_the_others_and_a_broken_one_is_named(tmp_path):
    install(tmp_path, "petl-made", "1.0", {"petl_made": METHOD}, {"made": "petl_made"})
    install(tmp_path, "petl-broken", "1.0", {"petl_broken": "1 / 0"}, {"broken": "petl_broken"})
    alone, beside = command("methods").splitlines(), command("methods", site=tmp_path).splitlines()
    [made] = [line for line in beside if line.startswith("made ")]
    told = [" ".join(line.split()) for line in beside]
    assert " ".join(made.split()) == (
        "made 9,216 yes learning rate and weight decay only nobody, arXiv 0000.00000 [from petl-made 1.0]"
    )
    assert {" ".join(line.split()) for line in alone[:-1]} <= set(told)
    assert any(line.startswith("the methods of petl-broken 1.0 are left out") for line in told)


def test_a_method_that_is_newer_than_the_catalogue_is_found(monkeypatch):
    kept = catalogue.read()
    older = replace(kept, methods=[one for one in kept.methods if one.name != "lora"])
    monkeypatch.setattr(catalogue, "read", lambda: older)
    monkeypatch.delitem(sys.modules, catalogue.METHODS)
    found, _ = catalogue.methods_here()
    assert [one for one in found if one.name == "lora"] == [one for one in kept.methods if one.name == "lora"]


def test_a_method_whose_package_is_not_installed_is_not_listed(monkeypatch):
    from petl_study.methods import _base

    monkeypatch.setattr(_base.importlib.util, "find_spec", lambda name: None)
    assert not [one for one in catalogue.methods_here()[0] if one.extra]
