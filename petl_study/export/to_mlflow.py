"""What records say as an MLflow store: DIR/mlflow.db, SQLite; an experiment for every task, a run for every record."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, event

from petl_study.export._said import Said

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody is told that a study is exported

from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

FILE = "mlflow.db"
_ARTIFACTS = "mlflow-artifacts:/"  # there are none; MLflow's default is a path of this machine
_MOST, _MOST_PARAMS = 1000, 100  # metrics and parameters that MLflow takes at once
_LONGEST = 5000  # characters of a value
_STATUS = {"finished": RunStatus.FINISHED, "failed": RunStatus.FAILED, "stopped": RunStatus.KILLED}


def write(records: list[Said], out: Path) -> str:
    """Write the store; returns what was written, in words."""
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=out) as temporary:
        made = Path(temporary) / FILE
        with _quietly(), _quickly():
            store = SqlAlchemyStore(f"sqlite:///{made}", _ARTIFACTS)
            experiments: dict[str, str] = {}
            for one in records:
                if one.task not in experiments:
                    experiments[one.task] = store.create_experiment(_experiment(one), _ARTIFACTS)
                _write(store, experiments[one.task], one)
            store.engine.dispose()
        made.replace(out / FILE)
    return f"{len(records)} records in {len(experiments)} experiments"


def _experiment(one: Said) -> str:
    return f"{one.study}: {one.task}"[:_LONGEST]


def _write(store: SqlAlchemyStore, experiment: str, one: Said) -> None:
    began, ended = (round(1000 * at) for at in (one.written - one.seconds, one.written))
    tags = [RunTag("petl_study.record", one.place), *([RunTag("error", one.error[:_LONGEST])] if one.error else [])]
    name = f"{one.method} {one.record.key[:8]}"
    run = store.create_run(experiment, user_id="", start_time=began, tags=tags, run_name=name)
    settings = {**one.made_under, **one.settings}
    params = [Param(key, str(value)[:_LONGEST]) for key, value in settings.items()]
    metrics = list(_metrics(one, began, ended))
    for start in range(0, len(metrics), _MOST):
        store.log_batch(run.info.run_id, metrics[start : start + _MOST], [], [])
    for start in range(0, len(params), _MOST_PARAMS):
        store.log_batch(run.info.run_id, [], params[start : start + _MOST_PARAMS], [])
    store.update_run_info(run.info.run_id, _STATUS[one.status], ended, name)


def _metrics(one: Said, began: int, ended: int) -> Iterator[Metric]:
    last = max((epoch for epoch, _ in one.curve), default=0)
    for epoch, values in one.curve:
        at = round(began + (ended - began) * epoch / last)
        yield from (Metric(name, value, at, epoch) for name, value in values.items())
    yield from (Metric(name, value, ended, last) for name, value in one.results.items())


@contextmanager
def _quickly() -> Iterator[None]:
    """The disk is not waited for: the file is no one's before it is whole, and made again if it is lost."""
    event.listen(Engine, "connect", _without_waiting)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _without_waiting)


def _without_waiting(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without MLflow's and Alembic's account of every table that they make."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
