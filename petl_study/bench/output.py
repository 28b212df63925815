"""Where measurements go: a JSON file, and beside those of an earlier one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from petl_study.console import console
from petl_study.errors import InputError

# What the machine is described by that changes how fast it is.
_MACHINE = ("hardware", "processor", "cores", "device", "threads", "set", "fp32_products", "gpu", "versions")
_OF_NO_MATTER = {"rounds"}  # of what a file says of all its rows


def add_arguments(parser: argparse.ArgumentParser, *, read_by: str = "") -> None:
    parser.add_argument("--out", type=Path, help=f"write the measurements to this file as JSON{read_by}")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show ratios to what --out wrote before")


def earlier(options: argparse.Namespace, bench: str) -> dict[str, Any] | None:
    """The measurements in ``--compare FILE``: read before anything is measured, which may take long.

    Raises
    ------
    InputError
        It cannot be read, or is not of `bench`.
    """
    path: Path | None = options.compare
    if path is None:
        return None
    try:
        made = json.loads(path.read_text("utf-8"))
        found = made.get("bench", "merged")  # which did not always say so
        assert isinstance(made["rows"], list)
        assert isinstance(made["environment"], dict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"--compare {path} is not what `petl-study bench {bench} --out FILE` writes ({type(error).__name__})."
        ) from None
    if found != bench:
        raise InputError(
            f"--compare {path} holds measurements of `bench {found}`, and these are of `bench {bench}`. Give one of its"
            " own."
        )
    return made


def deliver(
    result: dict[str, Any], before: dict[str, Any] | None, options: argparse.Namespace, identity: tuple[str, ...]
) -> None:
    """Write `result` where the options say, and show how it differs from `before`.

    Parameters
    ----------
    identity : tuple of str
        By which keys a row is known.
    """
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    if before is not None:
        show_ratios(result, before, identity)


def differing(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """What makes times of two files incomparable: settings, machine, shapes; one line each."""
    names = sorted({*new, *old} - {"rows", "left_out", "environment"} - _OF_NO_MATTER)
    now, then = new["environment"], old["environment"]
    told = [(name, old.get(name), new.get(name)) for name in names]
    told += [(name, then.get(name), now.get(name)) for name in _MACHINE if name in now or name in then]
    return [f"{name}: {was!r} before, {is_!r} now" for name, was, is_ in told if was != is_]


def ratios(new: dict[str, Any], old: dict[str, Any], identity: tuple[str, ...]) -> list[dict[str, Any]]:
    """New over old of every figure, row by row: ``row`` (how it is called), ``figure``, ``old``, ``new``, ``ratio``.

    Rows that only one of them has are left out, and so is what is no number above 0.
    """
    before = {_called(row, identity): row for row in old["rows"]}
    return [
        {
            "row": name,
            "figure": figure,
            "old": before[name][figure],
            "new": value,
            "ratio": value / before[name][figure],
        }
        for row in new["rows"]
        if (name := _called(row, identity)) in before
        for figure, value in row.items()
        if figure not in identity and _is_figure(value) and _is_figure(before[name].get(figure))
    ]


def show_ratios(new: dict[str, Any], old: dict[str, Any], identity: tuple[str, ...]) -> None:
    out = console()
    for line in differing(new, old):
        out.print(f"not measured alike: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    mine, theirs = ({_called(row, identity): row for row in made["rows"]} for made in (new, old))
    for name in mine.keys() & theirs.keys():
        for what in ("hyperparameters", "flops", "at_once"):
            if mine[name].get(what) != theirs[name].get(what):
                text = (
                    f"not measured alike: {what} of {name}: {theirs[name].get(what)} before, {mine[name].get(what)} now"
                )
                out.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for name in sorted(mine.keys() ^ theirs.keys()):
        out.print(f"in one of the two alone: {name}", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(("row", "figure", "before", "now", "now / before")):
        table.add_column(column, justify="right" if i > 1 else "left")
    for row in ratios(new, old, identity):
        table.add_row(row["row"], row["figure"], f"{row['old']:.4g}", f"{row['new']:.4g}", f"{row['ratio']:.3f}")
    out.print(table)


def _called(row: dict[str, Any], identity: tuple[str, ...]) -> str:
    return " ".join(str(row[key]) for key in identity if row.get(key) not in (None, ""))


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
