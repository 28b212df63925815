"""Which method to take, and how much the evidence says.

The rules, in order:

1. *Tasks*: those of the group, or by name, that are asked for; of these, where there are any, the ones whose runs
   learned from about as many examples. Where there are none, that is said, and the rest is evidence of another number.
2. *Filters*: a method that has no run on one of those tasks, or exceeds a limit, or does not merge where it must, is
   left out, and so is one of which that is not known.
3. *Ranking* of the rest by mean rank over those tasks, of accuracy or of accuracy under shift. Those that the tasks do
   not tell apart from the best (`best_sets`) are the short list, cheapest first; after it come the others, by rank.
4. *Verdict*: what that amounts to. Not to be told apart is not to be equal: `behind_high` says how much worse a method
   of the short list may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.accuracy import mean_accuracies
from analysis.best import best_sets
from analysis.comparable import require_columns, require_comparable, require_distinct
from analysis.cost import MEASURED, costs, machines
from analysis.intervals import require_level, wilson_interval
from analysis.needs import COSTS, Needs, chosen_tasks, exclusions
from analysis.pareto import pareto_front
from analysis.ranks import mean_ranks
from analysis.rows import MEASURED_ON, MEASURED_SO
from analysis.shift import shifted
from petl_study.errors import InputError

SHORT_LIST, BEHIND, NOT_COMPARED = "short list", "behind", "not compared"  # the verdict on a method
OUTCOMES = ("one best", "short list", "not separated", "too few tasks", "one candidate")
_COLUMNS = [
    *("place", "method", "verdict", "mean_rank", "rank_low", "rank_high"),
    *("accuracy", "accuracy_low", "accuracy_high", "interval", "behind", "behind_low", "behind_high", "p_holm"),
    *("tuned_parameters", "most_parameters", "bytes", "fit_seconds", "ratio", "ratio_low", "ratio_high", "baseline"),
    *("predict_seconds", "peak_memory_bytes", "merges", "on_front", "front_probability", "retention"),
    *("tasks", "fewest_seeds", "level"),
]


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What the evidence says of some needs.

    Attributes
    ----------
    needs : Needs
        What was asked.
    outcome : str
        ``one best``: it is told apart from all others. ``short list``: from some of them. ``not separated``: the tasks
        could tell methods apart, but do not. ``too few tasks``: they could not, whatever the accuracies.
        ``one candidate``: the filters leave no other.
    verdict : str
        That in words, with the numbers.
    candidates : DataFrame
        A row a method that meets the needs, as one should try them: `place`, `method`, `verdict` (``short list``,
        ``behind``, or ``not compared`` where nothing can be), and the evidence: `mean_rank` with `rank_low`,
        `rank_high` (`mean_ranks`); `accuracy`, over the tasks, with `accuracy_low`, `accuracy_high`, `interval`
        (`mean_accuracies`), under shift where that was asked for; `behind` the best by rank with `behind_low`,
        `behind_high`, and `p_holm` (`best_sets`); what it costs (`costs`); `merges`; `on_front` and
        `front_probability`, of accuracy and the cost that was named (`pareto_front`); `retention` (`shifted`); `tasks`,
        `fewest_seeds` (of a task), `level`.
    excluded : DataFrame
        `method`, `need`, `reason`: why the others are not among them.
    published : DataFrame
        Where the runs learned from another number of examples than was asked for: results of others that did not, made
        with another backbone under another protocol, which take no part in the ranking. `protocol`, `backbone`,
        `task`, `group`, `train_examples`, `method`, `size` and `tuned_parameters` (of the size that validation
        prefers), `accuracy`, `low`, `high` (Wilson's, over the test examples).
    notes : tuple of str
        What else must be known of this evidence.
    tasks : tuple of str
        The tasks it is of.
    """

    needs: Needs
    outcome: str
    verdict: str
    candidates: pd.DataFrame
    excluded: pd.DataFrame
    published: pd.DataFrame
    notes: tuple[str, ...]
    tasks: tuple[str, ...]


def recommend(
    runs: pd.DataFrame,
    needs: Needs | None = None,
    *,
    accuracies: pd.DataFrame | None = None,
    merges: Mapping[str, str | None] | None = None,
    manyshot: pd.DataFrame | None = None,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
    test: str = "mean-rank",
) -> Recommendation:
    """Which methods meet the needs, in the order in which to try them, with the evidence.

    Parameters
    ----------
    runs : DataFrame
        From `load_runs` or `load_published`.
    needs : Needs, optional
        What is asked; by default nothing, and all methods are compared on all tasks.
    accuracies : DataFrame, optional
        From `load_accuracies` of the same studies: accuracy under shift, which `needs.robust` cannot do without.
    merges : mapping, optional
        Of every method why it does not fold into the backbone, or None where it does; needed for `needs.merge`.
    manyshot : DataFrame, optional
        From ``load_published("manyshot")``, to show beside runs that learned from another number of examples than is
        asked for.
    rng : numpy.random.Generator
        The only source of chance, of the intervals of ranks and of the probabilities of being on a front: `draws`
        resamples, of which an interval covers `level`.
    test : str
        As for `best_sets`.

    Raises
    ------
    InputError
        No task of that kind, no shift sets where robustness is asked for, no method that meets the needs (the message
        says what leaves out whom), or runs that are not comparable.
    """
    require_level(level)
    needs = needs or Needs()
    require_columns(runs, ["task", "method", "seed", "test_accuracy"])
    require_comparable(runs)
    require_distinct(runs)
    if runs.empty:
        raise InputError("there are no runs, so there is nothing to recommend")
    notes = []
    tasks = chosen_tasks(runs, needs)
    if needs.gap in ("near", "far"):
        notes.append(
            f"{needs.gap}: the group{'s' if needs.gap == 'far' else ''} {' and '.join(needs.groups or ())}, as for a"
            " backbone that was pre-trained on photographs."
        )
    tasks, other_number = _of_examples(runs, tasks, needs)
    if needs.robust:
        tasks, note = _with_shifts(accuracies, tasks)
        notes += note
    on_tasks = runs[runs["task"].isin(tasks)]
    excluded = exclusions(on_tasks, tasks, needs, merges)
    on_tasks = on_tasks[~on_tasks["method"].isin(excluded["method"])]
    retention = _retention(accuracies, on_tasks)
    scored = _under_shift(accuracies, on_tasks) if needs.robust else on_tasks
    candidates = _evidence(scored, on_tasks, needs, rng=rng, level=level, draws=draws, test=test)
    known = {name: why is None for name, why in (merges or {}).items()}
    candidates["merges"] = candidates["method"].map(known).astype("boolean")
    candidates["retention"] = candidates["method"].map(retention).astype(float)
    outcome = _outcome(candidates)
    candidates = _in_order(candidates, outcome, needs)
    notes += _caveats(candidates, on_tasks, outcome, needs.cost)
    if needs.memory_bytes is not None and machines(runs).str.contains("cpu").any():
        notes.append("Memory on a CPU is that of the whole process, its libraries and what it did before included.")
    published = _published(manyshot, excluded, needs, level) if other_number else pd.DataFrame()
    verdict = _words(candidates, outcome, needs, test)
    if other_number:
        verdict = f"{other_number} {verdict}"
    elif outcome == "one best":
        verdict = f"Take {candidates['method'].iloc[0]}. {verdict}"
    return Recommendation(
        needs, outcome, verdict, candidates[_COLUMNS], excluded, published, tuple(notes), tuple(tasks)
    )


# --------------------------------------------------------------------------------------------------------------- tasks


def _of_examples(runs: pd.DataFrame, tasks: list[str], needs: Needs) -> tuple[list[str], str]:
    """The tasks whose runs learned from as many examples as asked for; else all, and what is to be said of that."""
    if needs.examples is None:
        return tasks, ""
    asked = f"{needs.examples:,}" if isinstance(needs.examples, int) else str(needs.examples)
    on_tasks = runs[runs["task"].isin(tasks)]
    numbers = pd.to_numeric(on_tasks["train_examples"]) if "train_examples" in runs else pd.Series([np.nan])
    if numbers.isna().any():
        return tasks, f"From how many examples these runs learned is not recorded, so they are no evidence of {asked}."
    by_task = on_tasks.assign(examples=numbers).groupby("task")["examples"]
    if matching := [str(task) for task, some in by_task if some.map(needs.is_of).all()]:
        return matching, ""
    learned = " to ".join(f"{n:,.0f}" for n in sorted({numbers.min(), numbers.max()}))
    return tasks, (
        f"No run here learned from about as many examples as asked for ({asked}): all that follows is evidence of"
        f" {learned}, and more or fewer can change the order."
    )


def _with_shifts(accuracies: pd.DataFrame | None, tasks: list[str]) -> tuple[list[str], list[str]]:
    """Those of the tasks that have shift sets, and a note on the others."""
    there: set[str] = set()
    if accuracies is not None:
        require_columns(accuracies, ["task", "set"])
        there = set(accuracies.loc[~accuracies["set"].isin(["test", "val"]), "task"])
    if not (shared := [task for task in tasks if task in there]):
        raise InputError(
            f"robustness is asked for, but no run was tried under shift on {', '.join(tasks)}."
            f" Tasks with shift sets: {', '.join(sorted(there)) or 'none'}. Ask about those, or do not ask for it."
        )
    lacking = [task for task in tasks if task not in there]
    return shared, [f"Without shift sets, and so left out: {', '.join(lacking)}."] if lacking else []


# ------------------------------------------------------------------------------------------------------------ evidence


def _under_shift(accuracies: pd.DataFrame | None, runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with their mean accuracy over the shift sets of their task in place of that on test."""
    keys = ["task", "method", "seed"]
    found = _shifted(accuracies, runs)[[*keys, "shift_accuracy"]].rename(columns={"shift_accuracy": "test_accuracy"})
    rest = runs.drop(columns=["test_accuracy", *(["test_examples"] if "test_examples" in runs else [])])
    return rest.merge(found, on=keys, how="left")


def _retention(accuracies: pd.DataFrame | None, runs: pd.DataFrame) -> dict[str, float]:
    """Accuracy under shift over that on test, of the tasks that have shift sets: a mean over seeds and tasks."""
    if accuracies is None or not (set(accuracies.loc[accuracies["task"].isin(runs["task"]), "set"]) - {"test", "val"}):
        return {}
    points = _shifted(accuracies, runs)
    kept = points["shift_accuracy"] / points["accuracy"].where(points["accuracy"] > 0)
    by_cell = points.assign(kept=kept).groupby(["method", "task"])["kept"].mean()
    return {str(method): float(value) for method, value in by_cell.groupby("method").mean().items()}


def _shifted(accuracies: pd.DataFrame | None, runs: pd.DataFrame) -> pd.DataFrame:
    assert accuracies is not None
    of_these = accuracies["task"].isin(runs["task"]) & accuracies["method"].isin(runs["method"])
    return shifted(accuracies[of_these])


def _evidence(
    scored: pd.DataFrame,
    runs: pd.DataFrame,
    needs: Needs,
    *,
    rng: np.random.Generator,
    level: float,
    draws: int,
    test: str,
) -> pd.DataFrame:
    """A row a candidate: `scored` for what it is ranked by, `runs` for what it costs."""
    whole = scored.drop(columns="group", errors="ignore")  # one scope
    best = best_sets(whole, test=test, level=level)
    best = best.rename(columns={"low": "behind_low", "high": "behind_high"}).drop(columns=["scope", "accuracy"])
    ranks = mean_ranks(whole, rng=rng, level=level, draws=draws)
    ranks = ranks[["method", "low", "high", "fewest_seeds"]]
    means = mean_accuracies(whole.assign(group="all"), level=level).query("scope == 'all tasks'")
    means = means.rename(columns={"low": "accuracy_low", "high": "accuracy_high"})
    means = means[["method", "accuracy", "accuracy_low", "accuracy_high", "interval"]]
    spent = _spent(runs, level)
    front = pd.DataFrame({"method": best["method"], "on_front": pd.NA, "front_probability": np.nan})
    if needs.cost in scored and pd.to_numeric(scored[needs.cost]).notna().any():
        found = pareto_front(whole, needs.cost, rng=rng, level=level, draws=draws)
        front = found[["method", "on_front", "front_probability"]]
    table = best.drop(columns="fewest_seeds", errors="ignore")
    for part in (ranks.rename(columns={"low": "rank_low", "high": "rank_high"}), means, spent, front):
        table = table.merge(part, on="method")
    return table.astype({"on_front": "boolean"})


def _spent(runs: pd.DataFrame, level: float) -> pd.DataFrame:
    """What every method costs on these tasks; without what depends on the machine where there were several."""
    several = len(machines(runs).unique()) > 1
    same = runs.drop(columns=["group", *([*MEASURED_ON, *MEASURED_SO] if several else [])], errors="ignore")
    table = costs(same, level=level).rename(columns={"low": "ratio_low", "high": "ratio_high"})
    if several:
        names = [*MEASURED, "ratio", "ratio_low", "ratio_high"]
        table = table.assign(**dict.fromkeys(names, np.nan))
    names = ["tuned_parameters", "most_parameters", "bytes", "fit_seconds", "predict_seconds", "peak_memory_bytes"]
    return table[["method", *names, "ratio", "ratio_low", "ratio_high", "baseline"]]


def _outcome(table: pd.DataFrame) -> str:
    if len(table) == 1:
        return "one candidate"
    if table["smallest_p"].iloc[0] >= 1 - table["level"].iloc[0]:
        return "too few tasks"
    in_set = int(table["in_best_set"].sum())
    return "one best" if in_set == 1 else "not separated" if in_set == len(table) else "short list"


def _in_order(table: pd.DataFrame, outcome: str, needs: Needs) -> pd.DataFrame:
    """The short list by cost, and the others by rank."""
    kinds = np.where(table["in_best_set"], SHORT_LIST, BEHIND)
    table = table.assign(verdict=NOT_COMPARED if outcome in ("too few tasks", "one candidate") else kinds)
    by_cost = table[needs.cost].where(table["in_best_set"], 0.0)
    table = table.assign(behind_list=~table["in_best_set"], by_cost=by_cost)
    table = table.sort_values(["behind_list", "by_cost", "mean_rank", "method"], ignore_index=True)
    return table.assign(place=range(1, len(table) + 1))


def _published(manyshot: pd.DataFrame | None, excluded: pd.DataFrame, needs: Needs, level: float) -> pd.DataFrame:
    """What others found with about as many examples as are asked for: a row a task and method."""
    if manyshot is None:
        return pd.DataFrame()
    rows = manyshot[manyshot["train_examples"].map(needs.is_of)]
    rows = rows[~rows["method"].isin(excluded.loc[excluded["need"] == "merge", "method"])]
    if needs.groups is not None:
        rows = rows[rows["group"].isin(needs.groups)]
    if needs.parameters is not None:
        rows = rows[rows["tuned_parameters"] <= needs.parameters]
    chosen = rows.sort_values("val_accuracy", ascending=False, kind="stable").drop_duplicates(["task", "method"])
    table = chosen.sort_values(["task", "test_accuracy"], ascending=[True, False], kind="stable", ignore_index=True)
    pairs = zip(table["test_accuracy"], table["test_examples"], strict=True)
    ends = np.array([wilson_interval(p, int(n), level) for p, n in pairs]).reshape(-1, 2)
    table = table.rename(columns={"test_accuracy": "accuracy"}).assign(low=ends[:, 0], high=ends[:, 1])
    about = ["protocol", "backbone", "task", "group", "train_examples"]
    return table[[*about, "method", "size", "tuned_parameters", "accuracy", "low", "high"]]


# --------------------------------------------------------------------------------------------------------------- words


def _words(table: pd.DataFrame, outcome: str, needs: Needs, test: str) -> str:
    T, M, level = int(table["tasks"].iloc[0]), len(table), float(table["level"].iloc[0])
    on = f"{T} task{'s' if T > 1 else ''}"
    first, best = table.iloc[0], table[table["p_holm"].isna()].iloc[0]
    what = "accuracy under shift" if needs.robust else "accuracy"
    judged = f"by mean rank of {what} ({test} test, Holm, {level:.0%})"
    if outcome == "one candidate":
        return f"{first['method']} alone meets the needs: there is nothing to compare it with."
    if outcome == "too few tasks":
        return (
            f"{on} can tell no two of {M} methods apart, whatever they score: nothing is recommended."
            f" They stand in order of {needs.cost.replace('_', ' ')}, which is no advice."
        )
    if outcome == "one best":
        return f"{best['method']} is told apart from all {M - 1} other candidates on {on}, {judged}."
    known = table.loc[table["in_best_set"], needs.cost].notna().all()
    whose = "them" if known else "those whose cost is recorded"
    cheapest = f"{first['method']} is the cheapest of {whose}{_at(first, needs.cost)}"
    cheapest += ", and the best itself" if first["method"] == best["method"] else f"; {_against_best(first)}"
    if outcome == "not separated":
        return (
            f"The evidence does not separate the {M} candidates: the {on} tell none apart from the best"
            f" ({best['method']}), {judged}. Choose by cost: {cheapest}."
        )
    k = int(table["in_best_set"].sum())
    return f"{k} of {M} candidates are not told apart from the best ({best['method']}) on {on}, {judged}. {cheapest}."


def _against_best(row: pd.Series) -> str:
    """How far a method is from the best by rank, which need not be the most accurate on average."""
    ahead, low, high = (-100 * row[["behind", "behind_high", "behind_low"]].astype(float)).tolist()
    said = f"its accuracy less that of the best is {ahead:+.1f} points"
    if np.isnan(low):
        return said
    said += f" [{low:+.1f}, {high:+.1f}]"
    return f"{said}, a difference as long as no other method is looked at" if high < 0 else said


def _at(row: pd.Series, cost: str) -> str:
    """What a method costs, in words."""
    if pd.isna(row[cost]):
        return ""
    unit, form, words = COSTS[cost]
    return f" ({row[cost] / unit:{form}} {words})"


def _caveats(table: pd.DataFrame, runs: pd.DataFrame, outcome: str, cost: str) -> list[str]:
    """What the numbers do not say by themselves."""
    said = []
    if len(unknown := table.loc[table["in_best_set"] & table[cost].isna(), "method"]):
        said.append(
            f"{cost.replace('_', ' ').capitalize()} not recorded, and so last of the short list: {', '.join(unknown)}."
        )
    if outcome in ("short list", "not separated"):
        said.append(
            "Not told apart is not equal: the upper end of 'behind' is how much worse a method may be on such tasks."
        )
    if table["tasks"].iloc[0] == 1 and len(table) > 1:
        said.append("If this task is the very one you have, the intervals of the accuracies are what tells of it.")
    if len(table) > 1:
        said.append("The best was found on these very tasks, and looks a little better than it is.")
    if table["fewest_seeds"].min() < 2:
        every = table["fewest_seeds"].max() < 2
        whose = "One seed" if every else "One seed on some task of some methods"
        said.append(f"{whose}: how much training again would change is not known.")
    trials = pd.to_numeric(runs["search_trials"]) if "search_trials" in runs else pd.Series(dtype=float)
    if trials.notna().any() and trials.max() > trials.min():
        said.append(
            f"Search was unequal, {trials.min():.0f} to {trials.max():.0f} trials a task: whoever had more is favoured."
        )
    if len(machines(runs).unique()) > 1:
        said.append("The runs were made on several machines, so their seconds and memory are not shown.")
    if "backbone" in runs:
        said.append(f"All of it is evidence of {runs['backbone'].iloc[0]}, and of no other backbone.")
    return said
