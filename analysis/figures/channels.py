"""Which channels are salient, for which task, and how many two tasks have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import canvas, matrix
from analysis.figures.key import key
from petl_study.errors import InputError, unknown

_MEASURES = {"share": "channels in common (%)", "jaccard": "channels in common\n(Jaccard index, %)"}
_READABLE = 12  # tasks: beyond that, numbers in cells would touch
_SITES = {"attn": "after attention", "mlp": "MLP", "q": "q", "v": "v"}
_CHANCE, _PAIR, _MEAN, _SEEDS = "#999999", "#56B4E9", "#0072B2", "#D55E00"


def channel_map(channels: pd.DataFrame) -> Figure:
    """A panel a task, blocks down and channels across: the darker, the more of the task's runs chose that channel.

    On top, where there are several tasks, the share of tasks that chose it.

    Parameters
    ----------
    channels : DataFrame
        From `analysis.load_channels`, of one site.
    """
    canvas.require_rows(channels, "task", "seed", "site", "layer", "channel", "width")
    if len(sites := sorted(set(channels["site"]))) > 1:
        raise InputError(
            f"the channels are of {', '.join(sites)}; draw one site, such as channels.site == {sites[0]!r}"
        )
    tasks = list(dict.fromkeys(channels["task"]))
    layers, width = range(int(channels["layer"].max()) + 1), int(channels["width"].max())
    maps = {task: _chosen(channels[channels["task"] == task], len(layers), width) for task in tasks}
    beyond = _beyond(channels, len(layers), width)
    if len(tasks) > 1:
        maps = {f"mean of {len(tasks)} tasks": np.mean(list(maps.values()), axis=0), **maps}
    columns = 1 if len(maps) <= 8 else 2
    height = 0.45 + 0.07 * max(4, len(layers))
    figure, axes = canvas.panels(
        len(maps), columns=columns, width=5.4 if columns == 1 else 4.2, height=height, right=0.8
    )
    for i, (ax, (name, share)) in enumerate(zip(axes, maps.items(), strict=True)):
        shown = np.where(beyond, np.nan, 100 * share)
        image = ax.imshow(shown, cmap="Greys", vmin=0, vmax=100, aspect="auto")
        ax.grid(visible=False)
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        canvas.title(ax, name)
        last = i >= len(maps) - columns
        ax.tick_params(labelbottom=last)
        canvas.label(ax, x=f"channel, of {width}" if last else "", y="block" if i % columns == 0 else "")
    matrix.bar(figure, image, axes, "chosen (% of runs)")
    return figure


def channel_overlap(table: pd.DataFrame, measure: str = "share", *, alpha: float = 0.05) -> Figure:
    """A panel a site: what every two tasks chose in common over all blocks, below the diagonal.

    Parameters
    ----------
    table : DataFrame
        From `analysis.channel_overlap_by_task`. The diagonal, where a task has several seeds, is the task with itself.
    measure : str
        ``share`` of the smaller of the two sets, or ``jaccard``.
    alpha : float
        A ring marks the pairs whose `p_holm` is not below it: no more in common than random choice.
    """
    label = _measure(measure)
    canvas.require_rows(table, "site", "layer", "task_a", "task_b", "p_holm", *_columns(measure), "level")
    whole = table[table["layer"].isna()]
    sites, tasks = list(dict.fromkeys(whole["site"])), sorted({*whole["task_a"], *whole["task_b"]})
    if len(tasks) < 2:
        raise InputError(f"channels are compared between tasks; the table is of {', '.join(tasks)} alone")
    several = bool((whole["task_a"] == whole["task_b"]).any())
    down, across = (tasks, tasks) if several else (tasks[1:], tasks[:-1])
    size, names = max(2.0, 0.32 * len(tasks)), canvas.text_width(tasks)
    figure, axes = canvas.panels(
        len(sites), columns=len(sites), width=size + 0.3, height=size + 0.7 + names, left=names, right=0.8
    )
    below = np.tril(np.ones((len(down), len(across)), bool))
    for i, (ax, site) in enumerate(zip(axes, sites, strict=True)):
        of_site = whole[whole["site"] == site]
        shares, p = (_square(of_site, name, down, across) for name in (measure, "p_holm"))
        values = np.where(below, 100 * shares, np.nan)
        image = matrix.cells(ax, values, down if i == 0 else [""] * len(down), across, least=0, most=100)
        if len(tasks) <= _READABLE:
            matrix.numbers(ax, image, "{:.0f}", size=6.5)
        y, x = np.nonzero(below & (p >= alpha))
        ax.plot(x, y, "o", color="#FFFFFF", markerfacecolor="none", markersize=9.0, markeredgewidth=0.8)
        canvas.title(ax, _SITES.get(site, site))
    matrix.bar(figure, image, axes, label)
    drawn = figure.axes[-1]
    chance = 100 * whole[f"{measure}_chance"].mean()
    drawn.axhline(chance, color="#FFFFFF", linewidth=1.5)
    first = whole.iloc[0]
    ends = f"{100 * whole[f'{measure}_low'].min():.0f} to {100 * whole[f'{measure}_high'].max():.0f} %"
    diagonal = "Diagonal: one task under two seeds." if several else "One seed: no task beside itself."
    canvas.note(
        figure,
        f"{diagonal} Random choice: {chance:.1f} % (white line on the scale), {first['level']:.0%} of it {ends}."
        f" Ring: not more than that (p of {alpha:g} or above, Holm).",
    )
    return figure


def channel_overlap_by_block(table: pd.DataFrame, measure: str = "share") -> Figure:
    """A panel a site: what two tasks chose in common along the blocks, every pair and their mean, with chance.

    Parameters
    ----------
    table : DataFrame
        From `analysis.channel_overlap_by_task`.
    measure : str
        ``share`` or ``jaccard``.
    """
    label = _measure(measure)
    canvas.require_rows(table, "site", "layer", "task_a", "task_b", *_columns(measure), "level")
    blocks = table[table["layer"].notna()]
    sites = list(dict.fromkeys(blocks["site"]))
    if (blocks["task_a"] == blocks["task_b"]).all():
        raise InputError("channels are compared between tasks; the table has one task alone")
    level = f"{blocks['level'].iloc[0]:.0%}"
    lines = [
        Line2D([], [], color=_PAIR, linewidth=0.7, label="two tasks"),
        Line2D([], [], color=_MEAN, linewidth=2.0, label="their mean"),
        Line2D([], [], color=_SEEDS, linewidth=1.2, marker="s", markersize=3.5, label="one task, two seeds"),
        Line2D([], [], color=_CHANCE, linewidth=1.0, linestyle="--", label="random choice"),
        Line2D([], [], color=_CHANCE, linewidth=6.0, alpha=0.3, label=f"{level} of it"),
    ]
    figure, axes = canvas.panels(len(sites), columns=len(sites), width=3.2, height=2.7, right=1.5)
    for i, (ax, site) in enumerate(zip(axes, sites, strict=True)):
        of_site = blocks[blocks["site"] == site]
        of_two = of_site[of_site["task_a"] < of_site["task_b"]]
        every = [pair for _, pair in of_two.groupby(["task_a", "task_b"])]
        for pair in every:
            faint = max(0.2, min(1.0, 20 / len(every)))
            ax.plot(pair["layer"], 100 * pair[measure], color=_PAIR, linewidth=0.7, alpha=faint)
        means = 100 * of_two.groupby("layer")[_columns(measure)].mean()
        x = means.index.to_numpy(dtype=float)
        ax.plot(x, means[measure], color=_MEAN, linewidth=2.0)
        ax.plot(x, means[f"{measure}_chance"], color=_CHANCE, linewidth=1.0, linestyle="--")
        ax.fill_between(x, means[f"{measure}_low"], means[f"{measure}_high"], color=_CHANCE, alpha=0.3, linewidth=0)
        own = 100 * of_site[of_site["task_a"] == of_site["task_b"]].groupby("layer")[measure].mean()
        if len(own):
            ax.plot(own.index.to_numpy(dtype=float), own, color=_SEEDS, linewidth=1.2, marker="s", markersize=3.5)
        ax.set_ylim(-2, 104)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.title(ax, _SITES.get(site, site))
        canvas.label(ax, x="block", y=label if i == 0 else "")
    key(figure, lines, heading="in common")
    return figure


def _measure(name: str) -> str:
    if name not in _MEASURES:
        raise unknown("measure", name, _MEASURES)
    return _MEASURES[name]


def _columns(measure: str) -> list[str]:
    return [measure, *(f"{measure}_{end}" for end in ("chance", "low", "high"))]


def _square(table: pd.DataFrame, column: str, down: list[str], across: list[str]) -> NDArray[np.float64]:
    cells = table.pivot_table(index="task_a", columns="task_b", values=column)
    return cells.reindex(index=down, columns=across).to_numpy(dtype=np.float64)


def _chosen(channels: pd.DataFrame, layers: int, width: int) -> NDArray[np.float64]:
    """Which share of the runs chose each channel: (layers, width)."""
    times = np.zeros((layers, width))
    np.add.at(times, (channels["layer"], channels["channel"]), 1)
    return times / channels["seed"].nunique()


def _beyond(channels: pd.DataFrame, layers: int, width: int) -> NDArray[np.bool_]:
    """Where a block has fewer channels than the widest: (layers, width)."""
    widths = channels.groupby("layer")["width"].first().reindex(range(layers)).to_numpy()
    return np.arange(width) >= widths[:, None]
