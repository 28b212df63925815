"""Which channels SCT chose (arXiv 2309.08513, sec. 3.2): a property of the task and of the backbone that saw it.

SCT keeps, in every block, the channels that are largest on the task's own images, and tunes a map of these alone. The
numbers of the channels are stored with what it tuned, so a record tells them without a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.loading import Paths
from analysis.rows import MADE_UNDER, read_row, run_row
from petl_study.errors import InputError, unknown
from petl_study.store import Record, Study

METHOD = "sct"
CHANNELS = ["task", "group", "method", "seed", "site", "layer", "channel", "width", *MADE_UNDER]

_EIGHTH = 8  # without a number of its own SCT takes so small a part of the channels
_TENSOR = re.compile(r"(?P<block>.*?\bblocks\.\d+)(?:\.(?P<inside>.+))?\.channels")


def load_channels(
    path: Paths, tasks: Sequence[str] | str | None = None, *, width: int | Sequence[int] | None = None
) -> pd.DataFrame:
    """A row for every channel that a finished run of SCT chose.

    Parameters
    ----------
    tasks : optional
        Which; all of them by default.
    width : int, or one for each block, optional
        How many channels there are to choose from. A record does not say. SCT takes an eighth where it is not told
        otherwise, so by default it is eight times what was chosen (exact for a multiple of 8, as timm's widths are).
        Needed where a study sets SCT's hyperparameter `channels`.

    Returns
    -------
    DataFrame
        `task`, `group`, `method`, `seed`, `site` (``attn``, the stream between attention and norm2; ``mlp``; or, of
        position ``qkv``, ``q`` and ``v``), `layer` (number of the block, from 0, through all stages), `channel` (from
        0), `width`, and what the run was made under. Ordered by these.

    Raises
    ------
    InputError
        No finished run of SCT, or none on such a task; one that kept no tensors; or a width that is needed, or is less
        than what was chosen from.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    shown = ", ".join(map(str, paths))
    runs = {r.key: r for one in paths for r in Study.open(one).records("run") if not r.failed}
    of_method = {key: record for key, record in runs.items() if record.spec["method"] == METHOD}
    if not of_method:
        methods = ", ".join(sorted({record.spec["method"] for record in runs.values()}))
        raise InputError(
            f"{shown}: no finished run of {METHOD!r}, the method that chooses channels; there are runs of"
            f" {methods or 'none'}. Add it to the study's methods and run the study again."
        )
    known = {record.spec["task"] for record in of_method.values()}
    wanted = known if tasks is None else {tasks} if isinstance(tasks, str) else set(tasks)
    for task in sorted(wanted - known):
        raise unknown("task", task, known, where=f"{shown}: runs of {METHOD!r}")
    rows = [row for record in of_method.values() if record.spec["task"] in wanted for row in _rows(record, width)]
    order = ["task", "seed", "key", "site", "layer", "channel"]
    return pd.DataFrame(rows, columns=CHANNELS).sort_values(order, kind="stable", ignore_index=True)


def _rows(record: Record, width: int | Sequence[int] | None) -> Iterator[dict[str, object]]:
    row = read_row(record, run_row)
    common = {name: row[name] for name in ("task", "group", "method", "seed", *MADE_UNDER)}
    blocks = _chosen(record)
    for layer, ((site, chosen), of_block) in enumerate(zip(blocks, _widths(record, width, blocks), strict=True)):
        sites = ("q", "v") if len(chosen) == 2 else (site,)
        for number, (name, channels) in enumerate(zip(sites, chosen, strict=True)):
            # v's are counted as rows of the fused projection, where they come last of three
            for channel in np.sort(channels) - 2 * of_block * number:
                yield {**common, "site": name, "layer": layer, "channel": int(channel), "width": of_block}


def _chosen(record: Record) -> list[tuple[str, NDArray[np.int64]]]:
    """Of every block, in the order of the model, where its channels were chosen and which: (P, K)."""
    found = []
    for name, tensor in record.tensors().items():
        if match := _TENSOR.fullmatch(name):
            order = [int(number) for number in re.findall(r"\d+", match["block"])]
            found.append((order, "mlp" if match["inside"] else "attn", tensor))
    return [(site, tensor) for _, site, tensor in sorted(found, key=lambda one: one[0])]


def _widths(
    record: Record, width: int | Sequence[int] | None, blocks: list[tuple[str, NDArray[np.int64]]]
) -> list[int]:
    """How many channels each block has to choose from."""
    counts = [chosen.shape[1] for _, chosen in blocks]
    if width is None and record.spec["hyperparameters"].get("channels"):
        raise InputError(
            f"{record.path}: this run was told to choose {counts[0]} channels, and its record does not say of how many."
            " Give `width`, the number of channels of a block."
        )
    given = [_EIGHTH * count for count in counts] if width is None else [width] if isinstance(width, int) else [*width]
    widths = given * len(blocks) if len(given) == 1 else given
    if len(widths) != len(blocks):
        raise InputError(f"width must be one number, or one for each of {len(blocks)} blocks; got {len(widths)}")
    for layer, ((_, chosen), of_block) in enumerate(zip(blocks, widths, strict=True)):
        if (highest := int(chosen[0].max())) >= of_block:
            raise InputError(
                f"{record.path}: channel {highest} of block {layer} was chosen, so there are more than {of_block}."
                " Give `width`, the number of channels of a block."
            )
    return widths
