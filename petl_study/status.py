"""How far a stored study is: a table of tasks and methods, and what failed with its reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from petl_study.console import console
from petl_study.plan import Plan
from petl_study.store import KINDS, ZERO_SHOT, Study, furthest
from petl_study.strangers.foreign import foreign


def show(path: Path, out: Console | None = None) -> int:
    """Print the state of the study at `path`; 0 when it is complete, 1 when something is missing or failed."""
    study = Study.open(path)
    with foreign(path / "study.json"):
        return _show(study, out or console())


def _show(study: Study, out: Console) -> int:
    plan = Plan(study.spec)
    entries = furthest(entry for kind in KINDS[:2] for entry in study.entries(kind))
    by_status: dict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    for entry in entries:
        by_status[entry.status][entry.task, entry.method, entry.kind] += 1
    finished, failed, stopped = (by_status[status] for status in ("finished", "failed", "stopped"))
    table = Table(title=f"{study.spec['name']}: trials + runs finished of planned", box=None, title_justify="left")
    table.add_column("task")
    for method in plan.methods:
        table.add_column(method, justify="right")
    # A study that was begun without zero-shot runs may have some: `run --zero-shot` adds them.
    untrained = {
        *plan.zero_shot_tasks,
        *(entry.task for entry in entries if entry.method == ZERO_SHOT),
    }
    if untrained:
        table.add_column(ZERO_SHOT, justify="right")
    planned_in_all, ended = len(untrained), 0
    for task in plan.tasks:
        row = [Text(task)]
        for method in plan.methods:
            cell = (task, method, "trial")
            runs = (finished[task, method, "run"], plan.runs, failed[task, method, "run"])
            # Once there are runs the search is over, and what was stopped stays so.
            over = stopped[cell] if runs[0] or runs[2] else 0
            trials = (finished[cell] + over, plan.trials(method), failed[cell], stopped[cell])
            ended += over
            row.append(Text(f"{_part(*trials)} + {_part(*runs)}", style=_style(trials, runs)))
            planned_in_all += trials[1] + runs[1]
        if task in untrained:
            cell = (task, ZERO_SHOT, "run")
            runs = (finished[cell], 1, failed[cell])
            row.append(Text(_part(*runs), style=_style(runs)))
        table.add_row(*row)
    out.print(table)
    for entry in entries:
        if entry.failed:
            message = entry.open().header["error"]["message"]
            out.print(f"failed: {entry.kind}s/{entry.place}: {message}", markup=False)
    done = sum(finished.values()) + ended
    out.print(f"{done} of {planned_in_all} finished, {sum(failed.values())} failed.")
    if stopped:
        of_trials = [entry.epochs for entry in entries if entry.kind == "trial"]
        epochs, whole = sum(of_trials), len(of_trials) * study.spec["protocol"]["epochs"]
        out.print(
            f"Of {len(of_trials)} trials {sum(stopped.values())} are stopped at a rung, {sum(stopped.values()) - ended}"
            f" of them in searches under way; trained: {epochs:,} epochs, {epochs / whole:.0%} of all that they have.",
            highlight=False,
        )
    return 0 if done == planned_in_all else 1


def _part(finished: int, planned: int, failed: int, stopped: int = 0) -> str:
    apart = [f"{count} {what}" for count, what in ((stopped, "stopped"), (failed, "failed")) if count]
    return f"{finished}/{planned}" + (f" ({', '.join(apart)})" if apart else "")


def _style(*parts: tuple[int, ...]) -> str:
    if any(failed for _, _, failed, *_ in parts):
        return "red"
    return "green" if all(finished == planned for finished, planned, *_ in parts) else "yellow"
