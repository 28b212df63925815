"""The sections of a report: which tables and figures answer which question, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from analysis.palette import ordered
from analysis.steadiness import FACTOR, LEAST
from petl_study.report import tables
from petl_study.report.evidence import Evidence
from petl_study.report.tables import Cell, Heading, Table, digest, mapping, number, percent, points, text


@dataclass(frozen=True)
class Drawn:
    """A figure, the name of its files, and what it shows."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, tables, figures, and tables to unfold."""

    name: str
    title: str
    prose: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Drawn] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)


def sections(evidence: Evidence) -> list[Section]:
    """What `evidence` has something to say about, in reading order."""
    made = []
    if len(evidence.runs):
        made += [accuracy(evidence), cost(evidence)]
    if len(evidence.disagreement):
        made += [disagreement(evidence), ensembles(evidence)]
    if len(evidence.shifts):
        made.append(robustness(evidence))
    return [*made, failures(evidence), conditions(evidence)]


def accuracy(evidence: Evidence) -> Section:
    several = evidence.accuracy["seeds"].max() > 1
    prose = [
        "Test accuracy in per cent. Hyperparameters were chosen on validation; the chosen model was trained on train"
        " and validation together, and looked at the test set once. The best of a column is bold; whether it is better"
        " by more than chance the intervals say: where they overlap widely, this study does not separate the methods.",
        "The interval (95 %, in small print) is over seeds where a method has several: it covers training again. Where"
        " a method has one seed it is Wilson's over the test examples: it covers other examples, and says nothing of"
        " another seed."
        if several
        else "Every method has one seed here. The interval (95 %, in small print) is Wilson's over the test examples:"
        " it covers other examples, and says nothing of training again under another seed.",
    ]
    left_out = sorted(set(evidence.runs["method"]) - set(evidence.complete))
    if left_out:
        prose.append(
            f"Means and ranks are over the methods that finished every task; not among them: {', '.join(left_out)}."
        )
    drawn = [
        Drawn(
            "accuracy_by_task",
            figures.accuracy_by_task(evidence.accuracy),
            "Test accuracy of every method, task by task. Methods are ordered by their mean.",
        )
    ]
    if len(evidence.ranks) > 1:
        drawn.append(
            Drawn("mean_rank", figures.mean_ranks(evidence.ranks), "Mean rank of every method over the tasks.")
        )
    return Section(
        "accuracy",
        "Accuracy",
        prose,
        [_accuracy_table(evidence)],
        drawn,
        [_runs_table(evidence)],
    )


def cost(evidence: Evidence) -> Section:
    whole = evidence.costs[evidence.costs["scope"] == "all tasks"]
    machines = sorted(set(whole["machine"]))
    caption = (
        "Parameters and bytes: mean over tasks. Seconds: median over runs; of the search, all trials of one task."
        f" Memory: the peak. Measured on {'; '.join(machines)}, with whatever else it did: compare the ratios, which"
        " are taken task by task."
    )
    baseline = whole["baseline"].iloc[0]
    columns = [
        text("method"),
        *([text("machine")] if len(machines) > 1 else []),
        number("tasks"),
        number("tuned_parameters", "tuned parameters"),
        number("classifier_parameters", "classifier"),
        number("bytes", "stored (kB)", "{:,.1f}", 1e3),
        number("fit_seconds", "training (s)", "{:,.1f}"),
        *([number("ratio", f"times {baseline}", "{:.2f}", ends=("low", "high"))] if baseline else []),
        number("search_seconds", "search (s)", "{:,.0f}"),
        number("predict_seconds", "prediction (s)", "{:,.2f}"),
        number("peak_memory_bytes", "memory (MB)", "{:,.0f}", 1e6),
    ]
    order = whole["method"].map({name: i for i, name in enumerate(ordered(whole["method"]))})
    costs = tables.table("cost", caption, whole.iloc[order.argsort(kind="stable")], columns)
    drawn = []
    if len(evidence.means):
        caption = (
            "Mean test accuracy against the number of tuned parameters, in every group and over all tasks. Horizontal"
            " bars: the sizes that the search chose on different tasks."
        )
        figure = figures.accuracy_against_parameters(evidence.means)
        drawn.append(Drawn("accuracy_against_parameters", figure, caption))
    return Section("cost", "Parameters and cost", [], [costs], drawn)


def disagreement(evidence: Evidence) -> Section:
    drawn = Drawn(
        "disagreement",
        figures.disagreement_heat_map(evidence.disagreement),
        "The share of test examples on which two methods predict different classes.",
    )
    columns = [text("task"), text("method_a", "method"), text("method_b", "and method")]
    halves = evidence.disagreement[evidence.disagreement["method_a"] <= evidence.disagreement["method_b"]]
    overlaps = tables.table(
        "confidence_overlap",
        "Confidence: overlap (Jaccard index) of the correct among the 10 % most confident, and of the wrong among the"
        " 10 % least confident, with 95 % intervals (bootstrap over examples)",
        evidence.overlap[evidence.overlap["method_a"] <= evidence.overlap["method_b"]],
        [
            *columns,
            number("correct_jaccard", "surely correct", "{:.2f}", ends=("correct_jaccard_low", "correct_jaccard_high")),
            number("wrong_jaccard", "unsurely wrong", "{:.2f}", ends=("wrong_jaccard_low", "wrong_jaccard_high")),
        ],
    )
    disagreements = tables.table(
        "disagreement",
        "Disagreement and Cohen's kappa, in numbers, with 95 % intervals (bootstrap over examples)",
        halves,
        [
            *columns,
            percent("disagreement", "disagreement (%)", "disagreement_low", "disagreement_high"),
            number("kappa", "kappa", "{:.3f}", ends=("kappa_low", "kappa_high")),
            number("pairs", "pairs of runs"),
        ],
    )
    several = (evidence.disagreement["method_a"] == evidence.disagreement["method_b"]).any()
    baseline = "" if several else " This study has one seed: that baseline is missing, and with it half of the answer."
    prose = (
        "Methods that are equally accurate need not be right about the same examples. What two methods disagree on is"
        " to be compared with what one method disagrees on with itself under another seed (the diagonal of the figure):"
        f" only the rest is due to the method.{baseline}"
    )
    return Section("disagreement", "Disagreement", [prose], [], [drawn], [disagreements, overlaps])


def ensembles(evidence: Evidence) -> Section:
    columns = [
        text("task"),
        text("combine", "rule"),
        number("members"),
        percent("ensemble_accuracy", "ensemble (%)"),
        text("against", "compared with"),
        text("method", "which"),
        percent("accuracy", "accuracy (%)"),
        points("gain", "gain (points)", "low", "high"),
    ]
    gains = tables.table(
        "ensemble_gain",
        "All finished runs of a task as one. Gain: 95 % interval, paired bootstrap over test examples.",
        evidence.gains,
        columns,
    )
    drawn = Drawn(
        "ensemble_gain",
        figures.ensemble_gain(evidence.gains),
        "What an ensemble of all runs gains over its best member on test, over the one that validation would have"
        " picked, and over the mean of its members.",
    )
    folded = []
    if len(evidence.ensembles):
        stored = evidence.ensembles.assign(
            who=[", ".join(f"{m['method']} {m['seed']}" for m in members) for members in evidence.ensembles["members"]]
        )
        folded.append(
            tables.table(
                "stored_ensembles",
                "Ensembles that are stored with the study",
                stored,
                [
                    text("task"),
                    text("combine", "rule"),
                    number("size", "members"),
                    text("who", "method and seed"),
                    percent("test_accuracy", "test (%)"),
                    percent("best_member_accuracy", "best member (%)"),
                    percent("mean_member_accuracy", "mean member (%)"),
                ],
            )
        )
    return Section(
        "ensembles",
        "Ensembles",
        [
            "The best member on test is known only afterwards, so that comparison is to the ensemble's disadvantage;"
            " the best on validation is what one would have used instead. An ensemble costs as much as all its members"
            " together."
        ],
        [],
        [drawn],
        [gains, *folded],
    )


def robustness(evidence: Evidence) -> Section:
    drawn = [
        Drawn(
            "accuracy_by_shift",
            figures.accuracy_by_shift(evidence.shifts),
            "Accuracy under every kind of shift, by severity.",
        ),
    ]
    if len(evidence.mean_shifts):
        means = figures.accuracy_under_shift(evidence.mean_shifts)
        caption = "Mean accuracy over the kinds of shift, by severity."
        drawn.insert(0, Drawn("accuracy_under_shift", means, caption))
    shifts = tables.table(
        "shifts",
        "Every shift set, in numbers",
        evidence.shifts[evidence.shifts["kind"] != "test"],
        [
            text("task"),
            text("method"),
            text("kind"),
            number("severity"),
            percent("accuracy", "accuracy (%)", "low", "high"),
            number("drop", "lost (points)", "{:.1f}", 0.01),
        ],
    )
    return Section(
        "shift",
        "Robustness",
        [
            "The test images of these tasks, changed in several ways and degrees. No model was trained on such images.",
            *(f"Without a mean over the kinds of shift: {reason}" for reason in evidence.uneven),
        ],
        [],
        drawn,
        [shifts],
    )


def failures(evidence: Evidence) -> Section:
    jumped = [_unsteady_table(evidence)] if len(evidence.unsteady) else []
    if evidence.failures.empty:
        return Section("failures", "Failures", ["No trial and no run failed."], jumped)
    shown = tables.table(
        "failures",
        "A failed trial takes no part in its search's selection; a failed run has no accuracy anywhere in this report.",
        evidence.failures,
        [
            text("kind"),
            text("task"),
            text("method"),
            number("seed"),
            mapping("hyperparameters"),
            number("lr", "learning rate", "{:g}"),
            number("weight_decay", "weight decay", "{:g}"),
            text("reason"),
        ],
    )
    return Section("failures", "Failures", [], [shown, *jumped])


def conditions(evidence: Evidence) -> Section:
    """Protocol and fingerprints: what must be equal before two results may be compared."""
    made = []
    protocol = evidence.spec.get("protocol")
    if isinstance(protocol, dict):
        frame = pd.DataFrame({"setting": list(protocol), "value": [str(value) for value in protocol.values()]})
        made.append(tables.table("protocol", "The protocol of every run.", frame, [text("setting"), text("value")]))
    if len(evidence.runs):
        columns = ["task", "group", "head", "test_examples", "data"]
        frame = evidence.runs[columns].drop_duplicates().sort_values(["group", "task"])
        shown = [
            text("task"),
            text("group"),
            text("head", "classifier starts"),
            number("test_examples", "test examples"),
            digest("data", "SHA-256 of the data"),
        ]
        made.append(tables.table("data", "The data of every task.", frame, shown))
    return Section(
        "conditions",
        "Protocol and fingerprints",
        [
            "Results under another protocol, on other data or from other weights are not comparable with these, and"
            " nothing in this report averages or ranks such results together."
        ],
        made,
    )


# --------------------------------------------------------------------------------------------------------------- parts


def _accuracy_table(evidence: Evidence) -> Table:
    """Methods down, tasks across, grouped; then both means and the mean rank."""
    tasks = evidence.accuracy[["group", "task"]].drop_duplicates().sort_values(["group", "task"])
    caption = "Test accuracy in per cent, with 95 % intervals. Click on a heading to sort."
    columns = [Heading("method", numeric=False), *(Heading(task) for task in tasks["task"])]
    groups = [("", 1), *((str(group), len(some)) for group, some in tasks.groupby("group", sort=True))]
    lookups = [_cells(evidence.accuracy[evidence.accuracy["task"] == task]) for task in tasks["task"]]
    if len(evidence.means):
        [redrawn] = set(evidence.ranks["interval"])
        caption += (
            f" The interval of a mean is of these tasks; that of a mean rank is a {redrawn}: others might have been"
            " chosen."
        )
        columns += [Heading("mean of tasks"), Heading("mean of groups"), Heading("mean rank")]
        groups.append((f"all {len(tasks)} tasks", 3))
        scopes = ("all tasks", "mean of groups")
        lookups += [_cells(evidence.means[evidence.means["scope"] == scope]) for scope in scopes]
        lookups.append(_rank_cells(evidence.ranks))
    order = evidence.accuracy.groupby("method")["accuracy"].mean().sort_values(ascending=False, kind="stable").index
    empty = Cell(tables.NONE, classes="num")
    rows = [[Cell(method, method), *(cells.get(method, empty) for cells in lookups)] for method in map(str, order)]
    return Table("accuracy", caption, columns, rows, groups)


def _cells(of_column: pd.DataFrame) -> dict[str, Cell]:
    """The cell of every method: its accuracy, bold where it is the best."""
    best = of_column["accuracy"].max()
    rows = of_column[["method", "accuracy", "low", "high"]].itertuples(index=False)
    return {method: tables.fraction(accuracy, low, high, best=accuracy >= best) for method, accuracy, low, high in rows}


def _rank_cells(ranks: pd.DataFrame) -> dict[str, Cell]:
    best = ranks["mean_rank"].min()
    cells = {}
    for method, rank, low, high in ranks[["method", "mean_rank", "low", "high"]].itertuples(index=False):
        small = "" if pd.isna(low) else f"[{low:.1f}, {high:.1f}]"
        cells[method] = Cell(f"{rank:.2f}", repr(float(rank)), small, "num best" if rank <= best else "num")
    return cells


def _unsteady_table(evidence: Evidence) -> Table:
    return tables.table(
        "unsteady",
        f"Trainings whose loss jumped to more than {FACTOR:g} times the lowest before, and by {LEAST:g} nats or more."
        " They count as what they ended as.",
        evidence.unsteady,
        [
            text("kind"),
            text("task"),
            text("method"),
            number("seed"),
            mapping("hyperparameters"),
            number("lr", "learning rate", "{:g}"),
            number("epoch", "in epoch"),
            number("lowest_before", "lowest loss before", "{:.3g}"),
            number("loss", "loss", "{:.3g}"),
            number("last_loss", "loss at the end", "{:.3g}"),
            text("status"),
        ],
    )


def _runs_table(evidence: Evidence) -> Table:
    return tables.table(
        "runs",
        "Every run: what its search chose, and what came out",
        evidence.runs.sort_values(["group", "task", "method", "seed"]),
        [
            text("task"),
            text("method"),
            number("seed"),
            percent("test_accuracy", "test (%)"),
            percent("val_accuracy", "val (%)"),
            mapping("hyperparameters"),
            number("lr", "learning rate", "{:g}"),
            number("weight_decay", "weight decay", "{:g}"),
            number("search_trials", "trials"),
            number("search_failed", "failed"),
            *([number("search_stopped", "stopped")] if evidence.runs["search_stopped"].fillna(0).any() else []),
            number("tuned_parameters", "tuned"),
        ],
    )
