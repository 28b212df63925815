"""Every notebook runs from top to bottom on a study that it has not seen, and uses `analysis` alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from studies import write_study

nbformat = pytest.importorskip("nbformat", reason="install petl_study[notebooks]")
nbclient = pytest.importorskip("nbclient", reason="install petl_study[notebooks]")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ALLOWED = {"analysis", "numpy", "os", "pandas"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("notebooks") / "study", examples=80)


def code(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own parts, which are not ours to mend
def test_it_runs_on_any_study(path, study, monkeypatch):
    monkeypatch.setenv("RUNS", str(study))
    monkeypatch.setenv("PYTHONWARNINGS", "error:::analysis")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_written_on_analysis_alone(path):
    for source in code(nbformat.read(path, as_version=4)):
        tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= ALLOWED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_few_lines_a_cell_and_prose_between(path):
    notebook = nbformat.read(path, as_version=4)
    assert all(len(source.splitlines()) <= 12 for source in code(notebook))
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) * 2 >= len(code(notebook))
