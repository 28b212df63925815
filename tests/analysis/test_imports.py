from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import analysis


def test_analysis_needs_neither_torch_nor_pyplot():
    check = "import sys, analysis; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_weight_space_is_loaded_when_it_is_asked_for():
    check = "import sys, analysis; analysis.load_weights; sys.exit('torch' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018


def test_of_the_runner_analysis_knows_the_store_and_the_errors():
    imported = set()
    house = Path(analysis.__file__).parent
    for path in set(house.rglob("*.py")) - set((house / "weights").rglob("*.py")):  # weight space builds models
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    assert {name for name in imported if name.startswith("petl_study")} == {"petl_study.store", "petl_study.errors"}
