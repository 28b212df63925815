"""What ``python -m petl_study.ensemble`` prints of an ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from petl_study.ensemble import Combination

_PAIRS = 20  # that are shown; a study of thirty methods has thousands


def show(made: Combination, console: Console) -> None:
    """Print members, accuracies, gains, and what they are to be compared with."""
    names = [f"{method}, seed {seed}" for method, seed in zip(made.runs["method"], made.runs["seed"], strict=True)]
    task, examples = made.members[0].spec["task"], len(made.examples["test"][1])
    line(console, f"{task}: {made.combine} of {len(names)} runs, {examples} test examples; accuracies in %\n")
    _members(made, names, console)
    _gains(made, console)
    line(console, f"\n{_explained(made, names)}")
    if made.chosen is not None:
        _chosen(made.chosen, console)
    if made.pairs is not None:
        _pairs(made.pairs, console)


def line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _members(made: Combination, names: list[str], console: Console) -> None:
    weights = made.fitted.members["weight"].tolist() if made.fitted and "weight" in made.fitted.members else None
    table = _table("member", "val", "test", *(["weight (%)"] if weights else []))
    for i, name in enumerate(names):
        val, test = made.runs[["val_accuracy", "test_accuracy"]].iloc[i]
        table.add_row(Text(name), _percent(val), _percent(test), *([_percent(weights[i])] if weights else []))
    accuracy = made.gains.groupby("set")["ensemble_accuracy"].first()
    table.add_row(Text("ensemble"), _percent(accuracy.get("val", np.nan)), _percent(accuracy["test"]), style="bold")
    console.print(table)


def _gains(made: Combination, console: Console) -> None:
    level = made.gains["level"].iloc[0]
    line(console, f"\nGain in percentage points [{level:.0%} interval: paired bootstrap over examples]")
    against = list(dict.fromkeys(made.gains["against"]))
    gains = _table("set", "ensemble", *(f"over {name}" for name in against))
    for set_ in [name for name in made.logits if name != "val"]:
        rows = made.gains[made.gains["set"] == set_].set_index("against")
        cells = [_gain(rows.loc[name]) if name in rows.index else Text("") for name in against]
        gains.add_row(Text(set_), _percent(rows["ensemble_accuracy"].iloc[0]), *cells)
    console.print(gains)


def _explained(made: Combination, names: list[str]) -> str:
    """Which members the comparisons on test are with, and what may be concluded from them."""
    on_test = made.gains[made.gains["set"] == "test"].set_index("against")
    member = on_test["member"]
    lines = []
    if made.fitted is not None or made.chosen is not None:
        lines.append("The ensemble's accuracy on val is that of what was made for it: not to be compared with.")
    lines.append(
        f"best member: the most accurate on the very set of that row (on test {names[member['best member']]}), which is"
        " known only afterwards."
    )
    if "best member on val" in member:
        lines.append(f"best member on val: what validation would have picked ({names[member['best member on val']]}).")
    lines.append("mean member: the mean of the members' accuracies.")
    if on_test.index.str.contains(" seeds of ").any():
        lines.append(f"{len(names)} seeds: as many runs of the method that validation picks, by the same rule.")
    else:
        lines.append(f"No other {len(names)} seeds of one method are there, to compare an equal-sized ensemble with.")
    p_values = [
        f"over {name} {f'{p:.3f}' if p >= 0.001 else '< 0.001'}" for name, p in on_test["mid_p"].items() if pd.notna(p)
    ]
    lines.append(f"McNemar's test on test, mid-p: {', '.join(p_values)}.")
    lines.append(
        f"At least one member is right on {on_test['oracle_accuracy'].iloc[0]:.2%} of test: what a perfect choice among"
        " their answers would get."
    )
    if made.sizes is not None:
        row = made.sizes.iloc[-1]
        lines.append(
            f"Methods against seeds, {row['size']:.0f} members, on test: over their own mean member ensembles of"
            f" methods gain {100 * row['methods_gain']:+.2f}, of seeds of one method {100 * row['seeds_gain']:+.2f};"
            f" difference {_gain(row.rename({'difference': 'gain'}))}."
        )
    return "\n".join(lines)


def _chosen(chosen: pd.DataFrame, console: Console) -> None:
    line(console, f"\nThe best on val of {len(chosen):,} subsets; the first is the ensemble, test chose nothing")
    table = _table("members", "val", "loss", "test")
    for row in chosen.head(10).to_dict("records"):
        shown = ", ".join(f"{method} {seed}" for method, seed in zip(row["methods"], row["seeds"], strict=True))
        loss = Text(f"{row['val_loss']:.4f}")
        table.add_row(Text(shown), _percent(row["val_accuracy"]), loss, _percent(row["test_accuracy"]))
    console.print(table)


def _pairs(pairs: pd.DataFrame, console: Console) -> None:
    count = f"the {_PAIRS} of {len(pairs):,} pairs that disagree most" if len(pairs) > _PAIRS else "every pair"
    line(console, f"\nDisagreement and gain of two members on test, {count}; in %")
    table = _table("pair", "disagreement", "ensemble", "over the better", "over their mean", "at least one right")
    columns = ("disagreement", "ensemble", "gain_over_better", "gain_over_mean", "oracle")
    for row in pairs.sort_values("disagreement", ascending=False, kind="stable").head(_PAIRS).to_dict("records"):
        name = f"{row['method_a']} {row['seed_a']}, {row['method_b']} {row['seed_b']}"
        table.add_row(Text(name), *(_percent(row[column]) for column in columns))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    return table


def _percent(fraction: float) -> Text:
    return Text("" if np.isnan(fraction) else f"{100 * fraction:.2f}")


def _gain(row: pd.Series) -> Text:
    gain, low, high = (100 * row[["gain", "low", "high"]]).tolist()
    style = "green" if low > 0 else "red" if high < 0 else ""
    return Text(f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]", style=style)
