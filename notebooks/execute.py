"""Executes the notebooks in place on the study that the environment variable RUNS names: `make notebooks`.

What differs from one execution to the next (counts, times, versions) is left out, so that a difference between two
stored notebooks is one of code, of prose or of results.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbclient
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NO_WIDGETS = "ignore:IProgress not found"  # a progress bar of a library that the notebooks do not show


def execute(path: Path) -> None:
    """Run the notebook at `path` and store it with what it showed; where a cell fails, the file stays as it was."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(HERE)}}  # RUNS is relative to this folder, wherever the notebook lies
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", record_timing=False, resources=where
    )
    client.execute(env={**os.environ, "PYTHONWARNINGS": ",".join([os.environ.get("PYTHONWARNINGS", ""), NO_WIDGETS])})
    for cell in code_cells(notebook):
        cell.execution_count = None
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, cell {cell.id}, wrote to stderr: {output.text}")
            if "execution_count" in output:
                output.execution_count = None
    notebook.metadata = METADATA
    nbformat.write(notebook, path)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(HERE.glob("*.ipynb")):
        sys.stdout.write(f"{path.name}\n")
        execute(path)
