from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import analysis


def test_analysis_needs_neither_torch_nor_pyplot():
    check = "import sys, analysis; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_of_the_runner_analysis_knows_the_store_and_the_errors():
    imported = set()
    for path in Path(analysis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    assert {name for name in imported if name.startswith("petl_study")} == {"petl_study.store", "petl_study.errors"}
