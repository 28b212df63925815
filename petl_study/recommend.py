"""``petl-study recommend``: which method to take for a task, from a study's evidence, and how much that says."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

import analysis
from analysis import Needs, Recommendation
from analysis.needs import COSTS, FEW, GAPS, MANY
from petl_study.console import console
from petl_study.errors import InputError

PUBLISHED = "published"
TRIED_ON = "Whether a method merges was tried on a small ViT; docs/families.md tells of other families of backbones."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", metavar="RUNS", help=f"a study's directory, or {PUBLISHED}: the published results on VTAB-1K"
    )
    parser.add_argument(
        "--examples", help=f"how many labelled ones there are: a number, few (up to {FEW:,}) or many (from {MANY:,})"
    )
    parser.add_argument("--gap", help=f"from the pre-training data: {', '.join(GAPS)}, or the name of a group of tasks")
    parser.add_argument("--tasks", help="the study's tasks that count, by commas, instead of a gap")
    parser.add_argument("--memory", type=float, metavar="MB", help="peak memory of training, at most")
    parser.add_argument("--storage", type=float, metavar="MB", help="of the tensors stored for a task, at most")
    parser.add_argument("--parameters", type=int, metavar="N", help="tuned, without the classifier, at most")
    parser.add_argument("--merge", action="store_true", help="it must fold into the backbone")
    parser.add_argument("--robust", action="store_true", help="what counts is the accuracy under shift")
    parser.add_argument(
        "--cost", choices=COSTS, default="tuned_parameters", help="what orders the short list (default: %(default)s)"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of intervals and tests (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="all of the evidence, for programs")


def run(options: argparse.Namespace) -> int:
    """``petl-study recommend``. Returns the exit code."""
    needs = _needs(options)
    runs, accuracies = _evidence(options.runs)
    made = analysis.recommend(
        runs,
        needs,
        accuracies=accuracies,
        merges=merges(runs) if needs.merge else None,
        manyshot=analysis.load_published("manyshot"),
        rng=np.random.default_rng(options.seed),
        level=options.level,
    )
    if needs.merge:
        made = dataclasses.replace(made, notes=(*made.notes, TRIED_ON))
    if options.json:
        print(json.dumps(as_json(made), indent=1))  # noqa: T201
    else:
        show(made, console())
    return 0


def merges(runs: pd.DataFrame) -> dict[str, str | None]:
    """Of every method of `runs` why it cannot be folded into a ViT; None where it can.

    Tried on a small one with the hyperparameters that the runs have, or, where it is too small for them, with the
    defaults. A method that is not known here is left out.
    """
    from petl_study import methods
    from petl_study.methods._facts import unmergeable

    found: dict[str, str | None] = {}
    for name, some in runs.groupby("method"):
        if str(name) not in methods.list_methods():
            continue
        reasons = []
        for own in {json.dumps(given, sort_keys=True) for given in some["hyperparameters"]}:
            try:
                reasons.append(unmergeable(methods.create(str(name), **json.loads(own))))
            except InputError:
                reasons.append(unmergeable(methods.create(str(name))))
        found[str(name)] = next((reason for reason in reasons if reason), None)
    return found


def as_json(made: Recommendation) -> dict[str, Any]:
    """What `made` holds, in plain types; what is not known is null."""
    frames = ("candidates", "excluded", "published")
    return {
        "needs": dataclasses.asdict(made.needs),
        "outcome": made.outcome,
        "verdict": made.verdict,
        "tasks": list(made.tasks),
        "notes": list(made.notes),
        **{name: json.loads(getattr(made, name).to_json(orient="records", double_precision=15)) for name in frames},
    }


def show(made: Recommendation, out: Console) -> None:
    """Print the verdict, the candidates with their evidence, who was left out and why, and what to beware of."""
    _say(out, f"{made.verdict}\n", style="bold")
    _say(out, f"Tasks: {', '.join(made.tasks)}. Accuracies in %; [{made.candidates['level'].iloc[0]:.0%} intervals]")
    out.print(_candidates(made))
    for need, of_need in made.excluded.groupby("need", sort=False):
        why = [f"{', '.join(some['method'])}: {reason}" for reason, some in of_need.groupby("reason", sort=False)]
        _say(out, f"Left out ({need}): {'; '.join(why)}")
    if len(made.published):
        _published(made.published, out)
    out.print("")
    for note in made.notes:
        _say(out, f"* {note}")


# --------------------------------------------------------------------------------------------------------------- parts


def _needs(options: argparse.Namespace) -> Needs:
    return Needs(
        examples=_examples(options.examples),
        gap=options.gap,
        tasks=tuple(options.tasks.split(",")) if options.tasks else (),
        memory_bytes=None if options.memory is None else 1e6 * options.memory,
        stored_bytes=None if options.storage is None else 1e6 * options.storage,
        parameters=options.parameters,
        robust=options.robust,
        merge=options.merge,
        cost=options.cost,
    )


def _examples(given: str | None) -> int | str | None:
    if given is None or given in ("few", "many"):
        return given
    try:
        return int(given.replace(",", "").replace("_", ""))
    except ValueError:
        raise InputError(f"--examples must be few, many or a whole number such as 1000; got {given!r}") from None


def _evidence(where: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if where == PUBLISHED and not Path(where).exists():
        return analysis.load_published(protocol="default"), None
    runs = analysis.load_runs(where)
    if runs.empty:
        raise InputError(f"{where} has no finished run yet. Let `petl-study run` get further, then ask again.")
    return runs, analysis.load_accuracies(where)


def _say(out: Console, text: str, style: str = "") -> None:
    out.print(text, markup=False, highlight=False, emoji=False, style=style)


def _candidates(made: Recommendation) -> Table:
    rows = made.candidates
    ratio = f"x {rows['baseline'].iloc[0]}" if rows["ratio"].notna().any() else ""
    accuracy = "under shift" if made.needs.robust else "accuracy"
    columns = ["", "method", "verdict", "mean rank", accuracy, "behind (points)", "tuned"]
    optional = {
        "bytes": ("stored (kB)", lambda row: _number(row["bytes"] / 1e3, ",.1f")),
        "fit_seconds": ("training (s)", lambda row: _number(row["fit_seconds"], ",.1f")),
        "ratio": (ratio, lambda row: _with_ends(row, "ratio", "ratio_low", "ratio_high", form=".2f")),
        "peak_memory_bytes": ("memory (MB)", lambda row: _number(row["peak_memory_bytes"] / 1e6, ",.0f")),
        "retention": ("kept (%)", lambda row: _number(100 * row["retention"], ".1f")),
        "front_probability": ("on front (%)", lambda row: _number(100 * row["front_probability"], ".0f")),
    }
    shown = {name: column for name, column in optional.items() if rows[name].notna().any()}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate([*columns, *(title for title, _ in shown.values())]):
        table.add_column(name, justify="left" if i in (1, 2) else "right")
    for row in rows.to_dict("records"):
        cells = [str(row["place"]), row["method"], row["verdict"]]
        cells.append(_with_ends(row, "mean_rank", "rank_low", "rank_high", form=".2f"))
        cells.append(_with_ends(row, "accuracy", "accuracy_low", "accuracy_high", unit=100, form=".1f"))
        cells.append(_with_ends(row, "behind", "behind_low", "behind_high", unit=100, form=".1f"))
        cells.append(_number(row["tuned_parameters"], ",.0f"))
        table.add_row(*map(Text, cells), *(Text(cell(row)) for _, cell in shown.values()))
    return table


def _published(rows: pd.DataFrame, out: Console) -> None:
    _say(out, f"\nPublished, not ranked with these: {rows['backbone'].iloc[0]}, {rows['protocol'].iloc[0]}, one seed")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(("task", "method", "examples", "size", "tuned", "accuracy")):
        table.add_column(name, justify="right" if i > 1 else "left")
    for row in rows.to_dict("records"):
        numbers = [_number(row[name], ",.0f") for name in ("train_examples", "size", "tuned_parameters")]
        accuracy = _with_ends(row, "accuracy", "low", "high", unit=100, form=".1f")
        table.add_row(*map(Text, [row["task"], row["method"], *numbers, accuracy]))
    out.print(table)


def _with_ends(row: Mapping[Any, Any], name: str, low: str, high: str, *, form: str, unit: float = 1.0) -> str:
    ends = "" if pd.isna(row[low]) else f" [{unit * row[low]:{form}}, {unit * row[high]:{form}}]"
    return _number(unit * row[name], form) + ends


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else f"{value:{form}}"
