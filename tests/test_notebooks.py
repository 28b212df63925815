"""Every notebook runs from top to bottom on studies that it has not seen, says what they lack, and uses `analysis`
alone."""

from __future__ import annotations

import ast
import contextlib
import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import toy
from petl_study import engines, runner, spec
from studies import write_study

nbformat = pytest.importorskip("nbformat", reason="install petl_study[notebooks]")
pytest.importorskip("nbclient", reason="install petl_study[notebooks]")

from notebooks.execute import METADATA, code_cells, execute  # noqa: E402

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ALLOWED = {"analysis", "matplotlib", "numpy", "os", "pandas", "pathlib"}
BUILDS_MODELS = ("06_weight_space", "09_weights")
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Silent:
    def started(self, trial) -> None: ...
    def finished(self, trial, record, stored_before) -> None: ...
    def without_result(self, task, method, trials) -> None: ...


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Four tasks, two with shift sets, five methods, two seeds, one run that failed; logits that no model said."""
    return write_study(tmp_path_factory.mktemp("notebooks") / "drawn", examples=40)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """One run: no second seed, no second method, no shift set."""
    path = tmp_path_factory.mktemp("notebooks") / "bare"
    return write_study(path, tasks=["count"], methods=["ssf"], seeds=[0], examples=40, failed=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Models that were trained, three methods with two trials and two seeds each."""
    path = tmp_path_factory.mktemp("notebooks") / "trained"
    asked = toy.study(
        methods=[{"lora": {"rank": [1]}}, "ssf", "sct"], keep={"logits": "float16", "shifts": ["contrast:1"]}
    )
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        runner.run(spec.resolve(asked), path, engine, Silent())
    return path


@dataclass
class Shown:
    """What a notebook shows."""

    figures: list[Figure] = field(default_factory=list)
    text: str = ""

    @property
    def lacking(self) -> list[str]:
        """What follows the words that begin every sentence on what the study lacks."""
        return self.text.split("Not shown here: ")[1:]


def run(path: Path, study: Path, monkeypatch) -> Shown:
    """Execute the cells here, without a kernel: it takes seconds to start, and each would import everything anew."""
    monkeypatch.setenv("RUNS", str(study))
    shown, said = Shown(), io.StringIO()

    def display(value: object) -> None:
        if isinstance(value, Figure):
            shown.figures.append(value)
        elif value is not None:
            said.write(f"{value}\n")

    names: dict[str, object] = {"display": display}
    with contextlib.redirect_stdout(said):
        for cell in code_cells(nbformat.read(path, as_version=4)):
            *body, last = parsed(cell.source).body
            if isinstance(last, ast.Expr):  # its value is shown
                last = ast.Expr(ast.Call(ast.Name("display", ast.Load()), [last.value], []))
            module = ast.fix_missing_locations(ast.Module([*body, last], type_ignores=[]))
            exec(compile(module, f"{path.stem}, cell {cell.id}", "exec"), names)
    shown.text = " ".join(said.getvalue().split())
    return shown


def parsed(source: str) -> ast.Module:
    return ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))


def test_there_are_ten():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, 11)]


@every_notebook
def test_a_whole_study_is_shown_whole(path, drawn, monkeypatch):
    shown = run(path, drawn, monkeypatch)
    lacks = {  # one run failed, and drawn logits have no curves and come from no model
        "01": ["not every method has 2 seeds on every task: 'full' on count has 1."],
        "02": [
            "no correlation to draw: every method had equally many trials",
            "no result has both 'best_val_accuracy' and 'val_accuracy'",
        ],
        "08": ["no data set has training sets of two sizes or more"],
    }
    if path.stem in BUILDS_MODELS:
        assert shown.lacking
        says = ("cannot be built again here: its protocol", "no finished run of 'sct'")
        assert all(any(one in sentence for one in says) for sentence in shown.lacking)
        return
    expected = lacks.get(path.stem[:2], [])
    assert len(shown.lacking) == len(expected), shown.lacking
    assert all(sentence.startswith(start) for sentence, start in zip(shown.lacking, expected, strict=True))
    assert len(shown.figures) >= 2


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem in BUILDS_MODELS], ids=lambda path: path.stem)
def test_trained_models_are_shown_whole(path, trained, monkeypatch):
    shown = run(path, trained, monkeypatch)
    alone = ["channels are compared between tasks"] * 2 if path.stem == "09_weights" else []
    assert len(shown.lacking) == len(alone), shown.lacking
    assert all(sentence.startswith(start) for sentence, start in zip(shown.lacking, alone, strict=True))
    assert len(shown.figures) >= 6
    assert (trained / "wise.parquet").is_file() or path.stem != "06_weight_space"


@every_notebook
def test_a_study_of_one_run_ends_in_sentences(path, bare, monkeypatch):
    shown = run(path, bare, monkeypatch)
    says = {
        "01": "unknown baseline 'linear'",
        "02": "no result has both",
        "03": "Run more seeds",
        "04": "a comparison of pairs needs at least two runs",
        "05": "Run more seeds",
        "06": "cannot be built again here",
        "07": "No task of this study has shift sets",
        "08": "unknown baseline 'full'",
        "09": "cannot be built again here",
        "10": "there is nothing to compare it with",
    }
    assert says[path.stem[:2]] in shown.text


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own parts, which are not ours to mend
def test_executing_stores_what_is_shown_and_nothing_that_changes(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS", str(drawn))
    monkeypatch.setenv("PYTHONWARNINGS", "error:::analysis")
    path = Path(shutil.copy(NOTEBOOKS[-1], tmp_path))
    execute(path)
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert normalised(notebook)
    assert [cell.source for cell in notebook.cells] == [
        cell.source for cell in nbformat.read(NOTEBOOKS[-1], as_version=4).cells
    ]


def normalised(notebook) -> bool:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    counts += [output.get("execution_count") for cell in code_cells(notebook) for output in cell.outputs]
    named = all(cell.id.replace("-", "").isalpha() for cell in notebook.cells)
    version = (notebook.nbformat, notebook.nbformat_minor)
    return named and set(counts) == {None} and notebook.metadata == METADATA and version == (4, 5)


@every_notebook
def test_it_is_stored_without_what_changes(path):
    notebook = nbformat.read(path, as_version=4)
    assert normalised(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(cell.metadata == {} for cell in notebook.cells)


@every_notebook
def test_it_is_written_on_analysis_alone(path):
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for node in ast.walk(parsed(cell.source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= ALLOWED


@every_notebook
def test_a_few_lines_a_cell_and_prose_between(path):
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    assert max(len(cell.source.splitlines()) for cell in cells) <= 12
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) * 2 >= len(cells)


def test_all_begin_with_the_same_cell():
    first = {code_cells(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}
    assert len(first) == 1
    assert 'os.environ.get("RUNS", "../runs/reference")' in first.pop()
