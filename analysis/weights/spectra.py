"""What tuning does to the weights, seen in their own singular basis (as in RLRR, arXiv 2403.19067)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.rows import MADE_UNDER
from analysis.weights.models import Weights
from petl_study.errors import InputError

CHANGE = [
    *("task", "group", "method", "seed", "tensor", "layer", "site", "rows", "columns", "relative_norm"),
    *("effective_rank", "stable_rank", "top", "energy_in_top", "energy_by_chance"),
    *("left_overlap", "right_overlap", "left_by_chance", "right_by_chance", *MADE_UNDER),
]


@dataclass(frozen=True)
class Basis:
    """The singular directions of a matrix W (o, i), strongest first: U (o, m), V (i, m) with m = min(o, i)."""

    left: Tensor
    right: Tensor
    strongest: float

    @classmethod
    def of(cls, matrix: Tensor) -> Basis:
        left, values, right = torch.linalg.svd(matrix.double().flatten(1), full_matrices=False)
        return cls(left, right.T, float(values[0]))


def weight_change(weights: Weights, *, top: int = 8) -> pd.DataFrame:
    """How every run changed every weight of the backbone, once folded into it.

    With W the pre-trained weight, as a matrix of a row per output, dW the change, s_i the singular values of dW, and
    U_k, V_k the k = `top` strongest singular directions of W:

    - `relative_norm`: ||dW|| / ||W||, Frobenius;
    - `effective_rank`: exp(- sum p_i log p_i), p_i = s_i / sum s (Roy and Vetterli, 2007); `stable_rank`:
      ||dW||^2 / s_1^2. At most the rank of dW;
    - `energy_in_top`: ||U_k^T dW V_k||^2 / ||dW||^2, how much of the change stays within what W does most;
      `energy_by_chance`: k^2 / (o i), the mean of that for a change without direction;
    - `left_overlap` (outputs), `right_overlap` (inputs): mean cos^2 of the principal angles between the k strongest
      directions of W and the k strongest of dW (all of dW's, if its rank is below k): 1 inside, 0 orthogonal
      (arXiv 2106.09685, sec. 7.2); `left_by_chance`, `right_by_chance`: k / o and k / i.

    Parameters
    ----------
    weights : Weights
        Of methods that fold.
    top : int
        k, at least 1; in a smaller matrix all of its directions.

    Returns
    -------
    DataFrame
        A row for each run and tensor but the classifier's: `task`, `group`, `method`, `seed`, `tensor` (its name in the
        plain backbone), `layer` (number of its block; none outside of blocks), `site` (its name within), `rows`,
        `columns`, and the above. A vector has a `relative_norm` alone. Of what did not change ranks and overlaps are
        missing; of what was zero before, the relative norm is.
    """
    if top < 1:
        raise InputError(f"top must be at least 1, the number of singular directions to look at; got {top!r}")
    start = _pretrained(weights)
    bases = {name: Basis.of(tensor) for name, tensor in start.items() if name.endswith(".weight") and tensor.ndim > 1}
    blocks = _blocks(start)
    table = []
    for row in range(len(weights)):
        of_run: dict[Any, Any] = weights.runs.loc[row, ["task", "group", "method", "seed", *MADE_UNDER]].to_dict()
        tuned = weights.plain(weights.trial(row)).module.state_dict()
        for name, before in start.items():
            block, site = _place(name)
            place = {"tensor": name, "layer": blocks.get(block), "site": site}
            table.append({**of_run, **place, **change(before, tuned[name], bases.get(name), top)})
    return pd.DataFrame(table, columns=CHANGE).astype({"layer": "Int64", "rows": "Int64", "columns": "Int64"})


def change(before: Tensor, after: Tensor, basis: Basis | None, top: int) -> dict[str, Any]:
    """The measures of one tensor, as `weight_change` has them; a tensor without a `basis` is a vector."""
    before, difference = before.double(), after.double() - before.double()
    size, whole = float(difference.norm()), float(before.norm())
    relative = size / whole if whole else np.nan
    if basis is None:
        return {"relative_norm": relative}
    matrix = difference.flatten(1)  # (o, i)
    o, i = matrix.shape
    k = min(top, o, i)
    shape = {"rows": o, "columns": i, "top": k, "relative_norm": relative, "energy_by_chance": k * k / (o * i)}
    shape |= {"left_by_chance": k / o, "right_by_chance": k / i}
    if size == 0:
        return shape
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    shares = values[values > 0] / values.sum()
    noise = (basis.strongest + float(values[0])) * max(o, i) * torch.finfo(torch.float32).eps  # W + dW was rounded
    rank = max(1, int((values > noise).sum()))
    inside = basis.left[:, :k].T @ matrix @ basis.right[:, :k]  # (k, k)
    own = min(k, rank)
    return shape | {
        "effective_rank": float(torch.exp(-(shares * shares.log()).sum())),
        "stable_rank": size**2 / float(values[0]) ** 2,
        "energy_in_top": float(inside.norm()) ** 2 / size**2,
        "left_overlap": float((basis.left[:, :k].T @ left[:, :own]).norm()) ** 2 / own,
        "right_overlap": float((basis.right[:, :k].T @ right[:own].T).norm()) ** 2 / own,
    }


def _pretrained(weights: Weights) -> dict[str, Tensor]:
    """The backbone's parameters at the start of the path, which is the same for all; without the classifier's."""
    module = weights.plain(weights.trial(0), alpha=0.0).module
    head = {id(parameter) for parameter in module.get_classifier().parameters()}  # type: ignore[operator]
    return {name: parameter.detach() for name, parameter in module.named_parameters() if id(parameter) not in head}


def _place(tensor: str) -> tuple[str, str]:
    """The block that a tensor is in, and where in it (or in the model): ``blocks.3`` and ``attn.qkv``."""
    found = re.fullmatch(r"(.*?\bblocks\.\d+)\.(.+)", tensor)
    block, site = found.groups() if found else ("", tensor)
    return block, site.removesuffix(".weight")


def _blocks(tensors: Iterable[str]) -> dict[str, int]:
    """The number of every block, counted through all stages in the order of the model."""
    names = dict.fromkeys(block for block, _ in map(_place, tensors) if block)
    return {block: number for number, block in enumerate(names)}
