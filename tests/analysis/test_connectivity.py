from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import barriers, barriers_by_method
from petl_study.errors import InputError

T = np.linspace(0, 1, 5)


def path(loss, accuracy=None, a=0, b=1, methods=("lora", "ssf"), ensemble=0.9) -> pd.DataFrame:
    columns = {"run_a": a, "run_b": b, "method_a": methods[0], "method_b": methods[1], "seed_a": 0, "seed_b": 0}
    frame = pd.DataFrame({"t": T, "loss": loss, "accuracy": np.ones(5) if accuracy is None else accuracy})
    return frame.assign(ensemble_accuracy=ensemble, **columns)


def test_a_bump_is_as_high_as_it_stands_above_the_line_between_the_ends():
    table = barriers(path([1.0, 1.5, 4.0, 2.5, 3.0], [0.9, 0.8, 0.5, 0.7, 0.7]))
    [row] = table.to_dict("records")
    assert (row["loss_barrier"], row["loss_at"]) == (pytest.approx(4.0 - 2.0), 0.5)
    assert (row["error_barrier"], row["error_at"]) == (pytest.approx(0.5 - 0.2), 0.5)
    assert (row["better_end"], row["midpoint_accuracy"], row["midpoint_ensemble_accuracy"]) == (0.9, 0.5, 0.9)


def test_a_convex_loss_has_no_barrier(rng):
    for _ in range(20):
        minimum, scale, offset = rng.normal(), rng.uniform(0, 3), rng.normal()
        assert barriers(path(scale * (T - minimum) ** 2 + offset))["loss_barrier"].item() <= 1e-12
    assert barriers(path(np.exp(3 * T)))["loss_barrier"].item() < 0


def test_a_linear_loss_has_a_barrier_of_nothing_and_direction_does_not_matter(rng):
    assert barriers(path(2 + 3 * T))["loss_barrier"].item() == pytest.approx(0)
    loss = rng.uniform(size=5)
    there, back = barriers(path(loss)), barriers(path(loss[::-1]))
    assert there["loss_barrier"].item() == pytest.approx(back["loss_barrier"].item())


def test_methods_are_averaged_over_pairs_in_both_orders():
    pieces = [
        path([0, 0, 0.2, 0, 0]),
        path([0, 0, 0.4, 0, 0], a=0, b=2),
        path([0, 0, 0.1, 0, 0], a=1, b=2, methods=("ssf", "ssf")),
    ]
    table = barriers_by_method(barriers(pd.concat(pieces))).set_index(["method_a", "method_b"])
    assert table.loc[("lora", "ssf"), "loss_barrier"] == pytest.approx(0.3)
    assert table.loc[("ssf", "lora"), "pairs"] == 2
    assert table.loc[("ssf", "ssf"), "loss_barrier"] == pytest.approx(0.1)
    assert ("lora", "lora") not in table.index


def test_a_path_without_ends_or_between_is_refused():
    whole = path([0, 0, 0, 0, 0])
    for part in (whole.iloc[1:], whole.iloc[:-1], whole.iloc[[0, -1]], pd.concat([whole, whole])):
        with pytest.raises(InputError, match="needs 0, 1 and something between"):
            barriers(part)
    with pytest.raises(InputError, match="no column loss"):
        barriers(whole.drop(columns="loss"))
