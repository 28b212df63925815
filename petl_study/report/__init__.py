"""``petl-study report RUNS``: a study's answers as one self-contained page, tables as CSV and figures as files."""

from __future__ import annotations

import argparse
import base64
import io
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from petl_study import __version__
from petl_study.errors import InputError
from petl_study.report.evidence import Evidence, gather
from petl_study.report.sections import Section, sections
from petl_study.report.tables import csv_safe
from petl_study.strangers.text import listed

DPI = 200  # of the PNG files
_INCH = 112  # CSS pixels: a little larger than life, as a screen is read from farther away than paper


def build(study_path: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of the study at `study_path`.

    Parameters
    ----------
    out : path, optional
        The directory for ``report.html``, ``tables/`` and ``figures/``; the study's own by default. What a former
        report wrote there is replaced.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    InputError
        No study there, nothing in it yet, a damaged record, or results that must not be put together.
    """
    out = Path(study_path if out is None else out)
    evidence = gather(study_path)
    made = sections(evidence)
    try:
        _write_tables(out / "tables", evidence)
        pictures = _write_figures(out / "figures", made)
        page = out / "report.html"
        page.write_text(_page(evidence, made, pictures), "utf-8")
    except OSError as error:
        raise InputError(
            f"the report cannot be written under {out} ({error}). Choose another place with --out."
        ) from None
    return page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``petl-study report``."""
    parser.add_argument("runs", type=Path, help="the study's directory, such as runs/quickstart")
    parser.add_argument("--out", type=Path, help="where report.html, tables/ and figures/ go (default: into RUNS)")


def run(arguments: argparse.Namespace) -> int:
    """``petl-study report``. Returns the exit code."""
    print(f"report: {build(arguments.runs, arguments.out)}")  # noqa: T201
    return 0


# ---------------------------------------------------------------------------------------------------------------- files


def _write_tables(directory: Path, evidence: Evidence) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    frames = {
        "runs": evidence.runs,
        "trials": evidence.trials,
        "failures": evidence.failures,
        "unsteady": evidence.unsteady,
        "accuracy": evidence.accuracy,
        "cost": evidence.costs,
        "mean_accuracy": evidence.means,
        "mean_rank": evidence.ranks,
        "disagreement": evidence.disagreement,
        "confidence_overlap": evidence.overlap,
        "ensemble_gain": evidence.gains,
        "stored_ensembles": evidence.ensembles,
        "shift": evidence.shifts,
        "mean_over_shifts": evidence.mean_shifts,
    }
    for name, frame in frames.items():
        csv_safe(frame).to_csv(directory / f"{name}.csv", index=False, lineterminator="\n")


def _write_figures(directory: Path, made: list[Section]) -> dict[str, bytes]:
    """Write every figure as PNG and SVG; returns the SVG by name."""
    directory.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for drawn in (drawn for section in made for drawn in section.figures):
        drawn.figure.draw_without_rendering()
        drawn.figure.set_layout_engine("none")  # laid out once: doing it again for each file takes most of the time
        drawn.figure.savefig(directory / f"{drawn.name}.png", dpi=DPI)
        pictures[drawn.name] = svg(drawn.figure)
        (directory / f"{drawn.name}.svg").write_bytes(pictures[drawn.name])
    return pictures


def svg(figure: Figure) -> bytes:
    """`figure` as SVG, the same bytes every time: no date, and ids drawn from a fixed salt."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "petl_study", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


# ----------------------------------------------------------------------------------------------------------------- page


def _page(evidence: Evidence, made: list[Section], pictures: dict[str, bytes]) -> str:
    folder = resources.files("petl_study") / "templates"
    source = (folder / "report.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    shown = [
        {
            "name": section.name,
            "title": section.title,
            "prose": section.prose,
            "tables": section.tables,
            "folded": section.folded,
            "figures": [
                {
                    "svg": base64.b64encode(pictures[drawn.name]).decode(),
                    "width": round(drawn.figure.get_figwidth() * _INCH),
                    "caption": drawn.caption,
                }
                for drawn in section.figures
            ],
        }
        for section in made
    ]
    return template.render(
        title=f"Study {evidence.spec.get('name', '')}",
        lead="Parameter-efficient fine-tuning methods, each with its own search, compared on the same tasks.",
        warnings=_warnings(evidence),
        facts=_facts(evidence),
        sections=shown,
        footer=f"Written by petl_study {__version__} from stored records alone. The raw numbers of every table are in"
        " tables/*.csv, the figures in figures/*.png and *.svg.",
        css=Markup((folder / "report.css").read_text("utf-8")),
        js=Markup((folder / "report.js").read_text("utf-8")),
    )


def _warnings(evidence: Evidence) -> list[str]:
    said = []
    if evidence.missing:
        cells = "; ".join(f"{method} on {task}, seed {seed}" for task, method, seed in evidence.missing[:12])
        more = f" and {len(evidence.missing) - 12} more" if len(evidence.missing) > 12 else ""
        said.append(f"The study is not finished. Runs still missing: {cells}{more}.")
    if failed := len(evidence.failures):
        runs = int((evidence.failures["kind"] == "run").sum())
        said.append(
            f"Failed: {failed - runs} of the search trials, {runs} of the runs. The section on failures says why."
        )
    if unsteady := int((evidence.unsteady["kind"] == "run").sum()):
        said.append(f"The training loss of {unsteady} runs jumped; the section on failures lists them.")
    said += [
        f"Nothing was learned of {listed(classes)} of {task}: no training image has that label, and accuracy on those"
        " that are tested says nothing of any method."
        for task, classes in evidence.untrained.items()
    ]
    return said


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """What was compared, and under which conditions."""
    runs = evidence.runs
    facts = [("Methods", ", ".join(sorted(set(runs["method"])))), ("Tasks", _by_group(runs))]
    for name, column in (("Backbone", "backbone"), ("Protocol", "protocol")):
        facts.append((name, ", ".join(sorted(set(runs[column])))))
    facts += [
        ("Seeds", ", ".join(str(seed) for seed in sorted(set(runs["seed"])))),
        ("Search", _search(evidence)),
        ("Finished", f"{len(runs)} runs, {(evidence.trials['status'] == 'finished').sum()} search trials"),
        ("Stopped early", _stopped(evidence)),
    ]
    for name, column in (("Protocol fingerprint", "protocol_fingerprint"), ("Weights fingerprint", "weights")):
        facts.append((name, ", ".join(sorted(set(runs[column])))))
    facts.append(("Made with", _environment(evidence.environment)))
    return [(name, value) for name, value in facts if value]


def _by_group(runs: pd.DataFrame) -> str:
    return "; ".join(f"{group}: {', '.join(sorted(set(some['task'])))}" for group, some in runs.groupby("group"))


def _search(evidence: Evidence) -> str:
    trials = evidence.trials.groupby(["task", "method"]).size()
    if trials.empty:
        return ""
    count = f"{trials.min()}" if trials.min() == trials.max() else f"{trials.min()} to {trials.max()}"
    sampler = (evidence.spec.get("search") or {}).get("sampler")
    return f"{count} trials for each method and task" + (f" ({sampler})" if sampler else "")


def _stopped(evidence: Evidence) -> str:
    """How much of the search was not trained, and by which rule."""
    trials, search = evidence.trials, evidence.spec.get("search") or {}
    if not (stopped := int((trials["status"] == "stopped").sum())):
        return ""
    epochs, whole = int(trials["epochs"].sum()), len(trials) * evidence.spec["protocol"]["epochs"]
    rule = search.get("pruner") or {}
    named = f" ({rule['name']}, factor {rule['factor']}, first {rule['first']})" if rule else ""
    return (
        f"{stopped} of {len(trials)} search trials{named}, which took {epochs:,} epochs of {whole:,}"
        f" ({epochs / whole:.0%}). The chosen trial was trained to its end; only such trials were chosen from."
    )


def _environment(environment: dict[str, Any]) -> str:
    versions = environment.get("versions", environment)
    said = [f"{name} {version}" for name, version in versions.items() if isinstance(version, str)]
    return ", ".join([*said, *([str(environment["hardware"])] if "hardware" in environment else [])])
