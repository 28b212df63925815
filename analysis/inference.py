"""What prediction takes with a method beside the model and folded into it, as `petl-study bench merged` measured it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cost import machines
from analysis.rows import MEASURED_ON
from petl_study.errors import InputError

_WAYS = {"beside": "before", "merged": "after"}


def load_inference(path: str | Path) -> pd.DataFrame:
    """The measurements that ``petl-study bench merged --out PATH`` wrote, for `costs`.

    Returns
    -------
    DataFrame
        A row a method: `method`, `hyperparameters` (those it was measured with); `before` and `after` merging: time
        over that of the plain model (median over pairs that ran in turns), each with `_low`, `_high` (quartiles);
        `before_seconds`, `after_seconds`: of one image (median); `reason`: why one of them is NaN, such as that the
        method cannot be merged; `backbone`, `batch`, `rounds`, `clock` (what kind of seconds) and `inference_machine`.
        The plain model, timed against itself, is the method ``plain``: how far its ratio is from 1 is noise.

    Raises
    ------
    InputError
        No such file, or not one of that command's.
    """
    try:
        made = json.loads(Path(path).read_text("utf-8"))
        return _frame(made)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Give what `bench merged --out` wrote.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not what this version's `petl-study bench merged --out FILE` writes"
            f" ({type(error).__name__}: {error}). Measure again."
        ) from error


def _frame(made: dict[str, Any]) -> pd.DataFrame:
    environment = made["environment"]
    measured_on = machines(pd.DataFrame([{name: environment[name] for name in MEASURED_ON}]))[0]
    common = {name: made[name] for name in ("backbone", "batch", "rounds", "clock")}
    common["inference_machine"] = measured_on
    nothing = {f"{when}{end}": np.nan for when in _WAYS.values() for end in ("", "_low", "_high", "_seconds")}
    rows: dict[str, dict[str, Any]] = {}
    for given in (*made["rows"], *made["left_out"]):
        row = rows.setdefault(
            given["method"], {"method": given["method"], "hyperparameters": {}, **nothing, "reason": "", **common}
        )
        if "reason" in given:
            row["reason"] = given["reason"]
            continue
        when = _WAYS.get(given["way"], "before")
        row["hyperparameters"] = given["hyperparameters"]
        row |= {when: given["ratio"], f"{when}_low": given["low"], f"{when}_high": given["high"]}
        row[f"{when}_seconds"] = given["seconds"]
    return pd.DataFrame(list(rows.values()))
