"""What a study has, for other programs: a run's model (`merged`), and what records say for those that draw curves.

The programs' own libraries write their files; each is an optional package, and asked for when it is needed. What is
written is made of the records alone and can be made again at will: files of a former export are replaced.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from petl_study.errors import InputError, unknown
from petl_study.export._said import said

if TYPE_CHECKING:
    from torch import nn

_LOOK = {  # at what is written, for every program
    "tensorboard": "tensorboard --logdir {out}",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{out}/mlflow.db",
    "optuna": "optuna-dashboard {out}/optuna.journal",
}


def to(program: str, path: Path, out: Path | None = None) -> int:
    """Write curves, settings and results of the study or the record at `path` where `program` looks for them.

    Parameters
    ----------
    program : str
        ``tensorboard``: event files, one a record. ``mlflow``: ``mlflow.db``, an experiment for every task. ``optuna``:
        ``optuna.journal``, a study for the search of every method on every task.
    out : Path, optional
        A directory; ``exports/<study>-<program>`` by default.

    Raises
    ------
    InputError
        No such program, its package is not installed, or there is nothing at `path`.
    """
    if program not in _LOOK:
        raise unknown("program", program, _LOOK, where="export --to")
    try:
        writer = importlib.import_module(f"petl_study.export.to_{program}")
    except ImportError as error:
        raise InputError(
            f"export --to {program} needs a package that is not installed ({error}): pip install"
            f" 'petl_study[{program}]'."
        ) from None
    records = said(path)
    out = out or Path("exports") / f"{records[0].study}-{program}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        count = writer.write(records, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror or error}). Choose another --out.") from None
    print(f"{out}: {count}. Look at it with: {_LOOK[program].format(out=out)}")  # noqa: T201
    return 0


def load(directory: str | Path, device: str = "cpu") -> nn.Module:
    """The tuned model of the run at `directory`, in evaluation mode, with its method still on it."""
    from petl_study.export import merged  # here: to draw curves, nobody waits for torch

    return merged.load(directory, device)
