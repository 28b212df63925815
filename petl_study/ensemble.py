"""``python -m petl_study.ensemble``: combine what stored runs say of the same examples. Nothing is trained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

import analysis
from petl_study import __version__
from petl_study.console import console, guarded
from petl_study.errors import InputError
from petl_study.store import Examples, Record, Study, write

LEVEL = 0.95  # of every interval that is printed


@dataclass(frozen=True)
class Combination:
    """What an ensemble says of every set of examples that all its members looked at.

    Attributes
    ----------
    members : list of Record
        The runs, in the order of `runs`.
    runs : DataFrame
        M rows, as from `analysis.load_runs`.
    logits, examples : dict
        By set: (N, C), and ids (N,), labels (N,).
    gains : DataFrame
        A row a set and comparison: `set` and the columns of `analysis.ensemble_gain`.
    """

    combine: str
    members: list[Record]
    runs: pd.DataFrame
    logits: dict[str, NDArray[np.float32]]
    examples: dict[str, Examples]
    gains: pd.DataFrame

    @property
    def spec(self) -> dict[str, Any]:
        """What determines the result. Members are sorted: their order changes nothing."""
        first = self.members[0].spec
        return {
            "kind": "ensemble",
            "method": f"ensemble:{self.combine}",
            "combine": self.combine,
            "members": sorted(member.key for member in self.members),
            **{name: first[name] for name in ("task", "data", "backbone", "weights", "head", "protocol")},
        }


def combine(
    path: str | Path,
    task: str,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    rule: str = "mean_logit",
) -> Combination:
    """Combine the finished runs of `task` in the study at `path`.

    Parameters
    ----------
    methods, seeds : sequence, optional
        Which runs are members; all by default.
    rule : str
        One of `analysis.COMBINE`.

    Raises
    ------
    InputError
        Unknown names, fewer than two members, or members that are not comparable: other examples, data, weights or
        protocol.
    """
    if methods is not None:
        _require_methods(methods)
    preds = analysis.load_predictions(path, task, "test", methods, seeds)
    if len(preds) < 2:
        raise InputError(
            f"{path}, task {task!r}: an ensemble needs at least two members; got {preds.names[0]}. Give more methods or"
            " seeds, such as --methods all."
        )
    analysis.require_comparable(preds.runs)
    by_key = {record.key: record for record in Study.open(path).records("run", task)}
    members = [by_key[key] for key in preds.runs["key"]]
    logits: dict[str, NDArray[np.float32]] = {}
    examples: dict[str, Examples] = {}
    gains = []
    for name in _common_sets(members):
        preds = preds if name == "test" else analysis.load_predictions(path, task, name, methods, seeds)
        scores = analysis.scores_as_logits(analysis.ensemble(preds, rule), rule).astype(np.float32)
        # Every set starts from the same seed, so a set's interval does not depend on which others there are.
        gain = analysis.ensemble_gain(preds, scores, rng=np.random.default_rng(0), level=LEVEL)
        assert preds.ids is not None  # stored predictions have ids
        logits[name], examples[name] = scores, (preds.ids, preds.labels)
        gains.append(gain.assign(set=name, examples=len(preds.labels)))
    return Combination(rule, members, preds.runs, logits, examples, pd.concat(gains, ignore_index=True))


def store(path: str | Path, made: Combination) -> Record:
    """Keep `made` in the study at `path`; if it is there already, that record is kept and returned."""
    study, spec, first = Study.open(path), made.spec, made.members[0].header
    if known := study.find("ensemble", spec):
        return known
    costs = [member.header["cost"] for member in made.members]
    header = {
        "kind": "ensemble",
        "status": "finished",
        "error": None,
        "study": first["study"],
        "spec": spec,
        "task": first["task"],
        "results": {name: analysis.score(logits, made.examples[name][1]) for name, logits in made.logits.items()},
        "members": [
            {
                "method": member.spec["method"],
                "seed": member.spec["seeds"]["init"],
                "key": member.key,
                "accuracies": {name: member.header["results"][name]["accuracy"] for name in made.logits},
            }
            for member in made.members
        ],
        # All members are kept, trained and asked; one after the other, so memory is that of the largest.
        "parameters": {
            "tuned": sum(member.header["parameters"]["tuned"] for member in made.members),
            "classifier": sum(member.header["parameters"]["classifier"] for member in made.members),
        },
        "cost": {
            "fit_seconds": sum(cost["fit_seconds"] for cost in costs),
            "predict_seconds": sum(cost["predict_seconds"] for cost in costs),
            "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
        },
        "environment": {"versions": {"petl_study": __version__, "numpy": np.__version__}},
    }
    try:
        return write(study.directory("ensemble", spec), header, logits=made.logits, examples=made.examples)
    except OSError as error:
        raise InputError(
            f"{study.path} cannot be written to ({error}). Give --no-store to combine without keeping the result."
        ) from None


# --------------------------------------------------------------------------------------------------------------- shown


def show(made: Combination, console: Console) -> None:
    """Print members, accuracies and gains."""
    names = [f"{method}, seed {seed}" for method, seed in zip(made.runs["method"], made.runs["seed"], strict=True)]
    task, examples = made.members[0].spec["task"], len(made.examples["test"][1])
    _line(console, f"{task}: {made.combine} of {len(names)} runs, {examples} test examples; accuracies in %\n")

    table = _table("member", "val", "test")
    for name, val, test in zip(names, made.runs["val_accuracy"], made.runs["test_accuracy"], strict=True):
        table.add_row(Text(name), _percent(val), _percent(test))
    accuracy = made.gains.groupby("set")["ensemble_accuracy"].first()
    table.add_row(Text("ensemble"), _percent(accuracy.get("val", np.nan)), _percent(accuracy["test"]), style="bold")
    console.print(table)

    _line(console, f"\nGain in percentage points [{LEVEL:.0%} interval: paired bootstrap over examples]")
    against = list(dict.fromkeys(made.gains["against"]))
    gains = _table("set", "ensemble", *(f"over {name}" for name in against))
    for set_ in [name for name in made.logits if name != "val"]:
        rows = made.gains[made.gains["set"] == set_].set_index("against")
        cells = [_gain(rows.loc[name]) if name in rows.index else Text("") for name in against]
        gains.add_row(Text(set_), _percent(accuracy[set_]), *cells)
    console.print(gains)
    _line(console, f"\n{_explained(made, names)}")


def _explained(made: Combination, names: list[str]) -> str:
    """Which members the comparisons on test are with, and what may be concluded from them."""
    member = made.gains[made.gains["set"] == "test"].set_index("against")["member"]
    lines = [
        f"best member: the most accurate on the very set of that row (on test {names[member['best member']]}), which is"
        " known only afterwards."
    ]
    if "best member on val" in member:
        lines.append(f"best member on val: what validation would have picked ({names[member['best member on val']]}).")
    return "\n".join([*lines, "mean member: the mean of the members' accuracies."])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    return table


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _percent(fraction: float) -> Text:
    return Text("" if np.isnan(fraction) else f"{100 * fraction:.2f}")


def _gain(row: pd.Series) -> Text:
    gain, low, high = (100 * row[["gain", "low", "high"]]).tolist()
    style = "green" if low > 0 else "red" if high < 0 else ""
    return Text(f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]", style=style)


# --------------------------------------------------------------------------------------------------------------- parts


def _require_methods(methods: Sequence[str]) -> None:
    if twice := {name for name in methods if list(methods).count(name) > 1}:
        raise InputError(f"method {min(twice)!r} is listed twice; every member counts once")
    if stored := [name for name in methods if name.startswith("ensemble:")]:
        raise InputError(f"{stored[0]!r} is itself an ensemble; name the methods that are to be combined")


def _common_sets(members: Sequence[Record]) -> list[str]:
    """The sets that every member looked at: test, shift sets, val."""
    common = [name for name in members[0].sets if all(name in member.sets for member in members)]
    return sorted(common, key=lambda name: {"test": 0, "val": 2}.get(name, 1))


def _names(text: str) -> list[str] | None:
    """``all`` or ``lora,ssf``."""
    if text == "all":
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be `all` or names with commas between, such as lora,ssf; got {text!r}")
    return names


def _seeds(text: str) -> list[int] | None:
    names = _names(text)
    if names is None:
        return None
    if not all(name.isdigit() for name in names):
        raise argparse.ArgumentTypeError(f"must be `all` or whole numbers with commas, such as 0,1; got {text!r}")
    return [int(name) for name in names]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m petl_study.ensemble", description=__doc__)
    parser.add_argument("runs", type=Path, help="the study's directory, such as runs/quickstart")
    parser.add_argument("--task", required=True, help="the task whose runs are combined")
    parser.add_argument("--methods", type=_names, default="all", help="lora,ssf,bitfit ... or all (default: all)")
    parser.add_argument("--seeds", type=_seeds, default="all", help="0,1 ... or all (default: all)")
    parser.add_argument("--combine", default="mean_logit", help=f"{', '.join(analysis.COMBINE)} (default: %(default)s)")
    parser.add_argument("--no-store", action="store_true", help="print only; keep nothing")
    options = parser.parse_args(argv)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    made = combine(options.runs, options.task, options.methods, options.seeds, options.combine)
    out = console()
    show(made, out)
    if not options.no_store:
        _line(out, f"\nstored: {store(options.runs, made).path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
