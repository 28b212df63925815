"""How far a stored study is: a table of tasks and methods, and what failed with its reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.table import Table
from rich.text import Text

from petl_study.console import console
from petl_study.plan import Plan
from petl_study.store import KINDS, ZERO_SHOT, Record, Study


def show(path: Path) -> int:
    """Print the state of the study at `path`; 0 when it is complete, 1 when something is missing or failed."""
    study = Study.open(path)
    plan = Plan(study.spec)
    records = [record for kind in KINDS[:2] for record in study.records(kind)]
    finished, failed = (Counter(map(_cell, records_of)) for records_of in _partition(records))
    out = console()
    table = Table(title=f"{study.spec['name']}: trials + runs finished of planned", box=None, title_justify="left")
    table.add_column("task")
    for method in plan.methods:
        table.add_column(method, justify="right")
    # A study that was begun without zero-shot runs may have some: `run --zero-shot` adds them.
    untrained = {
        *plan.zero_shot_tasks,
        *(record.spec["task"] for record in records if record.spec["method"] == ZERO_SHOT),
    }
    if untrained:
        table.add_column(ZERO_SHOT, justify="right")
    planned_in_all = len(untrained)
    for task in plan.tasks:
        row = [Text(task)]
        for method in plan.methods:
            trials = (
                finished[task, method, "trial"],
                plan.trials(method),
                failed[task, method, "trial"],
            )
            runs = (finished[task, method, "run"], plan.runs, failed[task, method, "run"])
            row.append(Text(f"{_part(*trials)} + {_part(*runs)}", style=_style(trials, runs)))
            planned_in_all += trials[1] + runs[1]
        if task in untrained:
            cell = (task, ZERO_SHOT, "run")
            runs = (finished[cell], 1, failed[cell])
            row.append(Text(_part(*runs), style=_style(runs)))
        table.add_row(*row)
    out.print(table)
    for record in records:
        if record.failed:
            out.print(f"failed: {'/'.join(record.path.parts[-4:])}: {record.header['error']['message']}", markup=False)
    done = sum(finished.values())
    out.print(f"{done} of {planned_in_all} finished, {sum(failed.values())} failed.")
    return 0 if done == planned_in_all else 1


def _cell(record: Record) -> tuple[str, str, str]:
    return record.spec["task"], record.spec["method"], record.header["kind"]


def _partition(records: list[Record]) -> tuple[list[Record], list[Record]]:
    return [r for r in records if not r.failed], [r for r in records if r.failed]


def _part(finished: int, planned: int, failed: int) -> str:
    return f"{finished}/{planned}" + (f" ({failed} failed)" if failed else "")


def _style(*parts: tuple[int, int, int]) -> str:
    if any(failed for _, _, failed in parts):
        return "red"
    return "green" if all(finished == planned for finished, planned, _ in parts) else "yellow"
