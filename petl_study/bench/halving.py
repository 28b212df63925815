"""``petl-study bench halving``: what stopping trials early would have saved and lost, against a finished grid.

A grid's records hold the curve of every trial, and a stopped trial is the beginning of a whole one: what a pruner would
have decided follows from them, without training. Only where it would have chosen another point has that to be trained
for the final runs, before test accuracies can be compared.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import analysis
from petl_study import engines, halving, progress, runner, spec
from petl_study.console import console
from petl_study.errors import InputError
from petl_study.search import search
from petl_study.spec import StudySpec
from petl_study.store import Record, Study, furthest
from petl_study.trials import Trial

DRAWS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", type=Path, help="a study that was searched without a pruner; finished tasks count")
    parser.add_argument("--pruner", choices=halving.NAMES, default="halving", help="which (default: %(default)s)")
    parser.add_argument("--factor", type=int, default=2, help="one trial in so many goes on (default: %(default)s)")
    parser.add_argument("--first", type=int, required=True, help="the fewest epochs after which a trial is stopped")
    parser.add_argument(
        "--out", type=Path, help="make the pruned study here of the grid's records, train what is lacking, compare"
    )
    parser.add_argument("--engine", default="processes", help="serial, processes or ray (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="trials at once (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    grid = Study.open(options.grid)
    pruned = _pruned(grid, {"name": options.pruner, "factor": options.factor, "first": options.first})
    table = replay(grid, pruned)
    if options.out and len(table) < len(pruned.cells):
        raise InputError(
            f"{options.grid}: {len(table)} of {len(pruned.cells)} searches have all their trials. Let the grid be run"
            " to its end, or leave out --out to see what there is."
        )
    if options.out:
        engine = engines.create(options.engine, workers=options.workers, threads=1, device="cpu")
        same = table[table["same"]]
        _train(grid, pruned, set(zip(same["task"], same["method"], strict=True)), options.out, engine)
        table = table.merge(compare(options.grid, options.out), on=["task", "method"], how="left")
    show(table, pruned)
    return 0


def replay(grid: Study, pruned: StudySpec) -> pd.DataFrame:
    """What the searches of `pruned` would have decided on the records of `grid`.

    Returns
    -------
    DataFrame
        A row a task and method of which all trials are there: `task`, `method`, `trials`, `epochs` that are trained,
        `whole`: those of the grid, `same`: whether the grid's choice is made, and `val_loss`: the validation accuracy
        of the grid's choice minus that of this one (a fraction, not below 0).
    """
    records = {_point(record.spec): record for record in furthest(grid.records("trial")) if not record.stopped}
    plain = spec.resolve({**grid.spec, "search": {**grid.spec["search"], "pruner": None}})
    rows = []
    for task, method in pruned.cells:
        mine, theirs = (_followed(one, task.name, method.name, records) for one in (pruned, plain))
        if mine is None or theirs is None:
            continue
        (chosen, epochs), (best, whole) = mine, theirs
        scores = [records[point].header["results"]["val"]["accuracy"] for point in (best, chosen)]
        cell = {"task": task.name, "method": method.name, "trials": pruned.trials(method)}
        found = {"epochs": epochs, "whole": whole, "same": chosen == best, "val_loss": scores[0] - scores[1]}
        rows.append(cell | found)
    if not rows:
        raise InputError(f"{grid.path}: no task has all the trials of a method yet. Let it be run further.")
    return pd.DataFrame(rows)


def compare(grid: Path, halved: Path) -> pd.DataFrame:
    """Test accuracy of the grid's choice minus that of the pruned search's, mean over seeds, by `task` and `method`."""
    of_grid, of_halved = (
        analysis.load_runs(path).set_index(["task", "method", "seed"])["test_accuracy"] for path in (grid, halved)
    )
    difference = (of_grid - of_halved).dropna().rename("test_loss")
    return difference.groupby(["task", "method"]).mean().reset_index()


def interval(table: pd.DataFrame, column: str, level: float = 0.95) -> tuple[float, float]:
    """Between which the mean of `column` lies if other tasks and other methods had been drawn: a crossed bootstrap."""
    cells = table.pivot_table(index="task", columns="method", values=column).to_numpy()  # (T, M)
    rng = np.random.default_rng(0)
    tasks, methods = (rng.integers(size, size=(DRAWS, size)) for size in cells.shape)
    means = [np.nanmean(cells[np.ix_(t, m)]) for t, m in zip(tasks, methods, strict=True)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def show(table: pd.DataFrame, pruned: StudySpec) -> None:
    """Print what is saved and lost, method by method and in all."""
    rule = pruned.search.pruner
    assert rule
    out = Table(title=f"{rule.name}, factor {rule.factor}, after {pruned.rungs} epochs", box=None, title_justify="left")
    for name in ("method", "tasks", "trials", "epochs of the grid's", "same choice", "val, points", "test, points"):
        out.add_column(name, justify="left" if name == "method" else "right")
    for method, some in [*table.groupby("method", sort=False), ("all", table)]:
        lost = [_points(some, column, ends=method == "all") for column in ("val_loss", "test_loss")]
        share = f"{some['epochs'].sum() / some['whole'].sum():.1%}"
        same = f"{some['same'].sum()} of {len(some)}"
        out.add_row(str(method), str(some["task"].nunique()), str(some["trials"].sum()), share, same, *lost)
    console().print(out)
    console().print(
        "\nPoints: accuracy of the grid's choice minus that of this one's, mean over tasks; test accuracies are means"
        " over seeds of the final runs. In brackets: 95 %, bootstrap over tasks and methods.",
        highlight=False,
    )


def _points(table: pd.DataFrame, column: str, *, ends: bool) -> str:
    if column not in table or table[column].isna().all():
        return ""
    shown = f"{table[column].mean() * 100:.2f}"
    if ends:
        low, high = interval(table, column)
        shown += f" [{low * 100:.2f}, {high * 100:.2f}]"
    return shown


def _pruned(grid: Study, pruner: dict[str, Any]) -> StudySpec:
    """The study of `grid` with a pruner."""
    if grid.spec["search"].get("pruner"):
        raise InputError(f"{grid.path} was searched with a pruner itself: give a study whose trials ran to their end.")
    return spec.resolve({**grid.spec, "search": {**grid.spec["search"], "pruner": pruner}}, "--pruner")


def _followed(
    study: StudySpec, task: str, method: str, records: dict[tuple[object, ...], Record]
) -> tuple[tuple[object, ...], int] | None:
    """The point that a search of `study` chooses, and the epochs that it trains; None where a record is lacking."""
    [(source, wanted)] = [cell for cell in study.cells if (cell[0].name, cell[1].name) == (task, method)]
    batches = search(study, source, wanted)
    reached: dict[tuple[object, ...], int] = {}
    batch = next(batches)
    while batch[0].kind == "trial":
        points = [_point(_asked(trial)) for trial in batch]
        if any(point not in records for point in points):
            return None
        for point, trial in zip(points, batch, strict=True):
            reached[point] = min(trial.until or study.protocol.epochs, records[point].epochs)
        try:
            batch = batches.send([records[point] for point in points])
        except StopIteration:
            return None
    return _point(_asked(batch[0])), sum(reached.values())


def _asked(trial: Trial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in ("task", "method", "hyperparameters", "lr", "weight_decay")}


def _point(spec: dict[str, Any]) -> tuple[object, ...]:
    """What tells the trials of a grid apart."""
    return spec["task"], spec["method"], *sorted(spec["hyperparameters"].items()), spec["lr"], spec["weight_decay"]


def _train(grid: Study, pruned: StudySpec, same: set[tuple[str, str]], out: Path, engine: engines.Engine) -> None:
    """Make or go on with the study `pruned` at `out`, with the trials of `grid` as its own, and its runs of `same`."""
    study = Study.create(out, pruned.model_dump())
    chosen = [run for run in grid.records("run") if (run.spec["task"], run.spec["method"]) in same]
    for record in [*grid.records("trial"), *chosen]:
        place = study.path / record.path.relative_to(grid.path)
        if not place.exists():
            shutil.copytree(record.path, place)
    with engine, progress.create(pruned, Console(), engine.capacity) as display:
        runner.run(pruned, out, engine, display)
