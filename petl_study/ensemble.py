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

import analysis
from petl_study import __version__, ensemble_display
from petl_study.console import console, guarded
from petl_study.errors import InputError, unknown
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
    fitted : FittedRule, optional
        What the rule learned on validation, if it had to.
    chosen : DataFrame, optional
        From `analysis.subsets`, if the members were chosen on validation: the first row is the ensemble.
    sizes : DataFrame, optional
        From `analysis.ensemble_sizes` of all runs that were named, on test; where there are seeds to compare with.
    pairs : DataFrame, optional
        From `analysis.diversity_gain` of the members, on test, if it was asked for.
    """

    combine: str
    members: list[Record]
    runs: pd.DataFrame
    logits: dict[str, NDArray[np.float32]]
    examples: dict[str, Examples]
    gains: pd.DataFrame
    fitted: analysis.FittedRule | None = None
    chosen: pd.DataFrame | None = None
    sizes: pd.DataFrame | None = None
    pairs: pd.DataFrame | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """What determines the result. Members are sorted: their order changes nothing."""
        first = self.members[0].spec
        return {
            "kind": "ensemble",
            "method": f"ensemble:{self.combine}",
            "combine": self.combine,
            "members": sorted(member.key for member in self.members),
            **({"fit": {"set": "val", **self.fitted.settings}} if self.fitted else {}),
            **{name: first[name] for name in ("task", "data", "backbone", "weights", "head", "protocol")},
        }


def combine(
    path: str | Path,
    task: str,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    rule: str = "mean_logit",
    *,
    fit: str = "val",
    steps: int = 20,
    subsets: int | None = None,
    pairs: bool = False,
) -> Combination:
    """Combine the finished runs of `task` in the study at `path`.

    Parameters
    ----------
    methods, seeds : sequence, optional
        Which runs are members; all by default.
    rule : str
        One of `analysis.COMBINE`, or of `analysis.FITTED`.
    fit : str
        The set on which a rule of `analysis.FITTED` is fitted and members are chosen: ``val``, and no other.
    steps : int
        Picks of ``greedy``.
    subsets : int, optional
        Let validation choose the members: the best of all subsets of two to this many.
    pairs : bool
        Whether to look at every pair of members by itself.

    Raises
    ------
    InputError
        Unknown names, fewer than two members, or members that are not comparable: other examples, data, weights or
        protocol.
    """
    if methods is not None:
        _require_methods(methods)
    _require_rule(rule, fit, subsets)
    preds = analysis.load_predictions(path, task, "test", methods, seeds)
    if len(preds) < 2:
        raise InputError(
            f"{path}, task {task!r}: an ensemble needs at least two members; got {preds.names[0]}. Give more methods or"
            " seeds, such as --methods all."
        )
    analysis.require_comparable(preds.runs)
    rows, chosen, fitted = np.arange(len(preds)), None, None
    if rule in analysis.FITTED or subsets is not None:
        val = analysis.load_predictions(path, task, fit, methods, seeds)
        if subsets is not None:
            chosen = analysis.subsets(preds, val, up_to=subsets, at_least=2, combine=rule)
            rows = np.array(chosen["members"].iloc[0])
        if rule in analysis.FITTED:
            fitted = analysis.fit_ensemble(val, rule, steps=steps)
    by_key = {record.key: record for record in Study.open(path).records("run", task)}
    runs = preds.runs.iloc[rows].reset_index(drop=True)
    members = [by_key[key] for key in runs["key"]]
    control = _Seeds(path, task, runs, rule)
    logits: dict[str, NDArray[np.float32]] = {}
    examples: dict[str, Examples] = {}
    gains = []
    for name in _common_sets(members):
        said = preds if name == "test" else analysis.load_predictions(path, task, name, methods, seeds)
        scores = analysis.scores_as_logits(analysis.ensemble(said, fitted or rule, rows), rule).astype(np.float32)
        # Every set starts from the same seed, so a set's interval does not depend on which others there are.
        gain = analysis.ensemble_gain(
            said, scores, rows, others=control.scores(name), rng=np.random.default_rng(0), level=LEVEL
        )
        assert said.ids is not None  # stored predictions have ids
        logits[name], examples[name] = scores, (said.ids, said.labels)
        gains.append(gain.assign(set=name, examples=len(said.labels)))
    return Combination(
        rule,
        members,
        runs,
        logits,
        examples,
        _renumbered(pd.concat(gains, ignore_index=True), rows),
        fitted,
        chosen,
        _sizes(preds, rule),
        analysis.diversity_gain(preds, combine=rule, members=rows) if pairs else None,
    )


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
        **_learned(made),
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
    except InputError as error:
        raise InputError(f"{error} Or give --no-store to combine without keeping the result.") from None


# --------------------------------------------------------------------------------------------------------------- parts


def _require_methods(methods: Sequence[str]) -> None:
    if twice := {name for name in methods if list(methods).count(name) > 1}:
        raise InputError(f"method {min(twice)!r} is listed twice; every member counts once")
    if stored := [name for name in methods if name.startswith("ensemble:")]:
        raise InputError(f"{stored[0]!r} is itself an ensemble; name the methods that are to be combined")


def _require_rule(rule: str, fit: str, subsets: int | None) -> None:
    known = (*analysis.COMBINE, *analysis.FITTED)
    if rule not in known:
        raise unknown("combine", rule, known)
    if fit != "val":
        raise InputError(
            f"--fit must be val, got {fit!r}: what an ensemble is fitted or chosen on cannot be what it is judged by."
        )
    if subsets is not None and rule in analysis.FITTED:
        raise InputError(
            f"--subsets chooses among ensembles of {', '.join(analysis.COMBINE)}; {rule} weighs its members by itself."
        )
    if subsets is not None and subsets < 2:
        raise InputError(f"--subsets must be a whole number of at least 2, got {subsets}.")


class _Seeds:
    """The control: as many seeds of one method, combined by the same rule; nothing where no method has so many.

    The method is the one that validation picks among those with enough seeds that were run under the same conditions.
    """

    def __init__(self, path: str | Path, task: str, runs: pd.DataFrame, rule: str):
        self.path, self.task, self.rule, self.size = path, task, rule, len(runs)
        self.members = set(runs["key"])
        every = analysis.load_runs(path)
        conditions = ["task", "protocol_fingerprint", "data", "backbone", "weights", "head"]
        alike = every[(every[conditions].astype(str) == runs[conditions].astype(str).iloc[0]).all(axis=1)]
        counts = alike.groupby("method")["seed"].nunique()
        self.methods = sorted(counts.index[counts >= self.size])

    def scores(self, name: str) -> dict[str, NDArray[Any]]:
        """By what it is called, (N, C) on the set `name`."""
        if not self.methods:
            return {}
        said = analysis.load_predictions(self.path, self.task, name, self.methods)
        fitted = self.rule in analysis.FITTED
        val = analysis.load_predictions(self.path, self.task, "val", self.methods) if fitted else None
        rows, scores = analysis.ensemble_of_seeds(said, self.size, self.rule, val=val)
        if set(said.runs["key"].iloc[rows]) == self.members:
            return {}
        return {f"{self.size} seeds of {said.runs['method'].iloc[rows[0]]}": scores}


def _sizes(preds: analysis.Predictions, rule: str) -> pd.DataFrame | None:
    """Ensembles of methods beside ensembles of seeds, where both can be made of `preds` without fitting anything."""
    runs = preds.runs.groupby("method").size()
    if rule in analysis.FITTED or len(runs) < 2 or runs.max() < 2:
        return None
    return analysis.ensemble_sizes(preds, combine=rule, rng=np.random.default_rng(0), level=LEVEL)


def _renumbered(gains: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """`member` as a position among the members, where some of the runs were left out."""
    place = pd.Series(np.arange(len(rows)), index=rows)
    return gains.assign(member=gains["member"].map(place).astype("Int64"))


def _learned(made: Combination) -> dict[str, Any]:
    """What validation decided: weights, in the order of the members, or which members of how many subsets."""
    learned: dict[str, Any] = {}
    if made.fitted is not None and "weight" in made.fitted.members:
        learned["weights"] = made.fitted.members["weight"].tolist()
    if made.chosen is not None:
        learned["chosen"] = {"set": "val", "of": len(made.chosen), "val_accuracy": made.chosen["val_accuracy"].iloc[0]}
    return learned


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
    fitted = ", ".join(analysis.FITTED)
    parser.add_argument(
        "--combine",
        default="mean_logit",
        metavar="RULE",
        help=f"{', '.join(analysis.COMBINE)}; or fitted on validation: {fitted} (default: %(default)s)",
    )
    parser.add_argument("--fit", default="val", metavar="SET", help="what is fitted or chosen on: val, and only val")
    parser.add_argument("--steps", type=int, default=20, help="picks of greedy (default: %(default)s)")
    parser.add_argument("--subsets", type=int, metavar="SIZE", help="let validation choose 2 to SIZE of the members")
    parser.add_argument("--pairs", action="store_true", help="show what every pair of members gains by itself")
    parser.add_argument("--no-store", action="store_true", help="print only; keep nothing")
    options = parser.parse_args(argv)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    made = combine(
        options.runs,
        options.task,
        options.methods,
        options.seeds,
        options.combine,
        fit=options.fit,
        steps=options.steps,
        subsets=options.subsets,
        pairs=options.pairs,
    )
    out = console()
    ensemble_display.show(made, out)
    if not options.no_store:
        ensemble_display.line(out, f"\nstored: {store(options.runs, made).path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
