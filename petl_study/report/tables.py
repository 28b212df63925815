"""A data frame as a table that people read: rounded, with units, its interval in small print. Raw numbers stay in
CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

NONE = "–"  # what an empty cell shows
# What a spreadsheet takes for the start of a formula: in some languages' also what looks like it, and after a new line.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


class Cell(NamedTuple):
    """A cell: what it shows, what it is sorted by (text; empty: last), small print under it, and its CSS classes."""

    text: str
    value: str = ""
    small: str = ""
    classes: str = ""


class Heading(NamedTuple):
    """What a column is called, and whether it sorts by number."""

    title: str
    numeric: bool = True


class Column(NamedTuple):
    """A heading, and how a row of a frame becomes a cell under it."""

    heading: Heading
    cell: Callable[[pd.Series], Cell]


@dataclass(frozen=True)
class Table:
    """A table ready for the template. `groups`: (name, columns spanned) over the headings."""

    name: str
    caption: str
    columns: Sequence[Heading]
    rows: list[list[Cell]]
    groups: list[tuple[str, int]] = field(default_factory=list)


def table(name: str, caption: str, frame: pd.DataFrame, columns: Sequence[Column]) -> Table:
    """`frame`, row by row, through `columns`."""
    rows = [[column.cell(row) for column in columns] for _, row in frame.iterrows()]
    return Table(name, caption, [column.heading for column in columns], rows)


# ------------------------------------------------------------------------------------------------------------- columns


def text(name: str, title: str | None = None) -> Column:
    def cell(row: pd.Series) -> Cell:
        return Cell(str(row[name]), str(row[name])) if pd.notna(row[name]) else Cell(NONE)

    return Column(Heading(title or name.replace("_", " "), numeric=False), cell)


def number(
    name: str,
    title: str | None = None,
    form: str = "{:,.0f}",
    unit: float = 1.0,
    *,
    ends: tuple[str, str] | None = None,
) -> Column:
    """A number in units of `unit`, written by `form`; the interval between two columns, `ends`, in small print."""

    def cell(row: pd.Series) -> Cell:
        value = row[name]
        if pd.isna(value):
            return Cell(NONE, classes="num")
        small = ""
        if ends and pd.notna(row[ends[0]]):
            small = "[{}, {}]".format(*(form.format(row[end] / unit) for end in ends))
        return Cell(form.format(value / unit), repr(float(value)), small, "num")

    return Column(Heading(title or name.replace("_", " ")), cell)


def percent(name: str, title: str, low: str | None = None, high: str | None = None) -> Column:
    """A fraction in per cent, with its interval in small print."""

    def cell(row: pd.Series) -> Cell:
        return fraction(row[name], row[low], row[high]) if low and high else fraction(row[name])

    return Column(Heading(title), cell)


def points(name: str, title: str, low: str, high: str) -> Column:
    """A difference of fractions in percentage points; coloured where the interval leaves out zero."""

    def cell(row: pd.Series) -> Cell:
        direction = "up" if row[low] > 0 else "down" if row[high] < 0 else ""
        small = f"[{100 * row[low]:+.2f}, {100 * row[high]:+.2f}]"
        return Cell(f"{100 * row[name]:+.2f}", repr(float(row[name])), small, f"num {direction}".strip())

    return Column(Heading(title), cell)


def mapping(name: str, title: str | None = None) -> Column:
    """A dict as ``rank = 8, scale = 0.1``."""

    def cell(row: pd.Series) -> Cell:
        said = ", ".join(f"{key} = {value}" for key, value in row[name].items()) or NONE
        return Cell(said, said)

    return Column(Heading(title or name, numeric=False), cell)


def fraction(value: float, low: float = float("nan"), high: float = float("nan"), *, best: bool = False) -> Cell:
    """A fraction in per cent."""
    if math.isnan(value):
        return Cell(NONE, classes="num")
    small = "" if math.isnan(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"
    return Cell(f"{100 * value:.1f}", repr(float(value)), small, "num best" if best else "num")


def digest(name: str, title: str) -> Column:
    """The beginning of a fingerprint; sorts by the whole."""

    def cell(row: pd.Series) -> Cell:
        return Cell(f"{row[name][:16]}…", row[name])

    return Column(Heading(title, numeric=False), cell)


# ----------------------------------------------------------------------------------------------------------------- CSV


def csv_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with text that a spreadsheet would run as a formula marked as text; dicts and lists as JSON."""

    def safe(value: Any) -> Any:
        said = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        if isinstance(said, str) and said.startswith(_FORMULA):
            return f"'{said}"
        return said

    columns = {
        name: column.map(safe)
        if pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)
        else column
        for name, column in frame.items()
    }
    return pd.DataFrame(columns, columns=frame.columns)
