"""Tables of what there is: methods, tasks, backbones."""

from __future__ import annotations

from rich.table import Table

from petl_study.console import console


def methods() -> None:
    """Print every method with what a search tries and where it comes from."""
    from petl_study import methods

    table = _table("method", "search space", "source")
    for name in methods.list_methods():
        space = "; ".join(f"{key} {_set(values)}" for key, values in methods.search_space(name).items())
        table.add_row(name, space or "(learning rate and weight decay only)", methods.get(name).paper)
    console().print(table)


def tasks() -> None:
    """Print every task with its group, classes and shift sets."""
    from petl_study import tasks

    table = _table("task", "group", "classes", "shift sets", "what it is")
    for name in tasks.list_tasks():
        info = tasks.info(name)
        kinds = sorted({shift.partition(":")[0] for shift in info.shift_sets})
        severities = len(info.shift_sets) // len(kinds) if kinds else 0
        shifts = f"{', '.join(kinds)} x {severities}" if kinds else "none"
        table.add_row(name, info.group, str(len(info.classes)), shifts, info.summary)
    console().print(table)


def backbones() -> None:
    """Print every backbone with its size and the classes its own classifier knows."""
    from petl_study import backbones

    table = _table("backbone", "parameters", "image size", "own classes", "what it is")
    for name in backbones.list_backbones():
        info = backbones.info(name)
        table.add_row(name, f"{info.parameters:,}", f"{info.image_size} px", str(len(info.classes)), info.summary)
    console().print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("method", "task", "backbone"))
    return table


def _set(values: list[object]) -> str:
    return "{" + ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) + "}"
