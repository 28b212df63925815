"""What ensembles gain over their members."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.palette import style


def ensemble_gain(table: pd.DataFrame) -> Figure:
    """A panel a comparison, a row a task, a mark a rule: gain in accuracy and its interval.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ensemble_gain`; several of them put together are told apart by columns `task` and `combine` (the
        rule).
    """
    canvas.require_rows(table, "against", "gain", "low", "high")
    one_rule = "combine" not in table
    lacking = {"task": "", "combine": "mean_logit"}  # of one rule, whichever it is, the looks say nothing
    table = table.assign(**{name: value for name, value in lacking.items() if name not in table})
    tasks = list(dict.fromkeys(table["task"]))[::-1]  # the first on top
    against, rules = (list(dict.fromkeys(table[name])) for name in ("against", "combine"))
    key = 0.0 if one_rule else canvas.key_width([f"ensemble:{rule}" for rule in rules])
    height = 1.1 + (0.12 + 0.13 * len(rules)) * len(tasks)
    figure, axes = canvas.panels(
        len(against), columns=len(against), width=2.3, height=height, left=canvas.text_width(tasks), right=key
    )
    for i, (ax, name) in enumerate(zip(axes, against, strict=True)):
        ax.axvline(0, color="#333333", linewidth=0.8)
        for row in table[table["against"] == name].itertuples():
            y = tasks.index(row.task) - (rules.index(row.combine) - (len(rules) - 1) / 2) * 0.7 / len(rules)
            looks = style(f"ensemble:{row.combine}")
            ax.plot([100 * row.low, 100 * row.high], [y, y], color=looks.colour, linewidth=1.2)
            ax.plot(100 * row.gain, y, **canvas.look(looks))
        canvas.ticks(ax.yaxis, tasks, shown=i == 0)
        ax.set_ylim(-0.6, len(tasks) - 0.4)
        canvas.title(ax, f"over the {name}")
        canvas.label(ax, x="gain (percentage points)")
    if not one_rule:
        canvas.legend(figure, [f"ensemble:{rule}" for rule in rules], heading="rule")
    canvas.note(figure, canvas.what_bars_are(table))
    return figure
