"""Methods by name, those of other packages among them: installed is known, broken takes nothing else with it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from distributions import install
from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods import _base, _plugins, _specimens

GOOD = """
from dataclasses import dataclass
from petl_study.methods import Method, register

@register("{name}", paper="nobody, arXiv 0000.00000")
@dataclass(frozen=True)
class Made(Method):
    def own(self, model):
        return {{name for name, _ in model.named_parameters() if name.endswith("norm1.bias")}}
"""


def put(site: Path, name: str, source: str) -> None:
    """Install the distribution petl-<name>, of one module."""
    install(site, f"petl-{name}", "1.0", {f"petl_{name}": source}, {name: f"petl_{name}"})


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A place to install to, and a registry that has not been asked yet."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_base, "_METHODS", dict(_base._METHODS))
    monkeypatch.setattr(_plugins, "_asked", False)
    monkeypatch.setattr(_plugins, "_failures", [])
    monkeypatch.setattr(_plugins, "_distributions", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_installed_packages_method_is_a_method_like_any_other(site):
    own = set(methods.list_methods())
    _plugins._asked = False
    put(site, "made", GOOD.format(name="made"))
    assert set(methods.list_methods()) - own == {"made"}
    methods.check("made")
    assert methods.create("made").own(_specimens.small_vit()) == {f"blocks.{k}.norm1.bias" for k in range(3)}
    assert _plugins.origin(methods.get("made")) == "petl-made 1.0"
    assert _plugins.origin(methods.get("lora")) is None
    with pytest.raises(InputError, match=r"unknown method 'mde'; known: .*Did you mean 'made'"):
        methods.get("mde")


def test_a_package_is_imported_when_methods_are_asked_for_and_once(site):
    put(site, "made", GOOD.format(name="made"))
    assert "petl_made" not in sys.modules
    methods.search_space("lora")
    first = sys.modules["petl_made"]
    methods.list_methods()
    assert sys.modules["petl_made"] is first


BROKEN = [
    ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    (GOOD.format(name="half") + "1 / 0", "ZeroDivisionError: division by zero"),
    (GOOD.format(name="lora"), "InputError: method 'lora' is registered twice, as petl_study.methods.lora.LoRA and"),
    ("def", "SyntaxError: invalid syntax"),
]


@pytest.mark.parametrize(("source", "reason"), BROKEN)
def test_a_broken_package_is_named_and_takes_nothing_else_with_it(source, reason, site):
    own = methods.list_methods()
    lora = methods.get("lora")
    _plugins._asked = False
    put(site, "broken", source)
    put(site, "made", GOOD.format(name="made"))
    told = rf"the methods of petl-broken 1\.0 are left out: importing petl_broken failed with {re.escape(reason)}"
    with pytest.warns(UserWarning, match=told) as warned:
        assert methods.list_methods() == sorted([*own, "made"])
    assert warned[0].filename == __file__
    assert methods.get("lora") is lora
    with pytest.raises(InputError, match=rf"unknown method 'half'; known: .*{told}"):
        methods.create("half")


def test_a_second_method_of_a_name_is_refused_with_both_places(site):
    with pytest.raises(InputError, match=r"'bitfit' is registered twice, as petl_study\.methods\.bitfit\.BitFit and"):
        methods.register("bitfit", paper="none")(type("Mine", (methods.Method,), {}))


def test_a_hyperparameter_without_a_search_space_is_refused():
    made = dataclass(frozen=True)(type("Made", (methods.Method,), {"rank": 8, "__annotations__": {"rank": int}}))
    with pytest.raises(InputError, match=r"method 'made': write the default of rank with searched\(\.\.\.\) or fixed"):
        methods.register("made", paper="none")(made)
    assert "made" not in methods.list_methods()


def test_a_method_registered_by_a_script_tells_its_module(site):
    made = methods.register("scripted", paper="none")(type("Made", (methods.Method,), {"__module__": "my_script"}))
    assert _plugins.origin(made) == "my_script"
