"""Whether bf16 says something else than fp32 over embedded tasks, beside what another seed says; minutes."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

import analysis
from petl_study import engines, runner, spec

STUDY = {
    "name": "precision",
    "backbone": "micro_vit",
    "tasks": ["digits", "cells", "orientation"],
    "methods": ["bitfit", "ssf", {"lora": {"rank": [8]}}, {"adaptformer": {"bottleneck": [16], "scale": [0.1]}}],
    "search": {"lr": [1e-2], "weight_decay": [1e-4]},
    "seeds": [0, 1, 2],
    "keep": {"shifts": [], "tensors": False},
}


class Silent:
    def started(self, *_: object) -> None: ...

    def finished(self, *_: object) -> None: ...

    def without_result(self, *_: object) -> None: ...


@pytest.mark.slow
def test_bf16_moves_accuracy_by_less_than_seeds_do(tmp_path):
    accuracies = {}
    for precision in ("fp32", "bf16"):
        protocol = {"base": "embedded", "epochs": 8, "warmup_epochs": 1, "precision": precision}
        with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
            runner.run(spec.resolve({**STUDY, "protocol": protocol}), tmp_path / precision, engine, Silent())
        runs = analysis.load_runs(tmp_path / precision)
        accuracies[precision] = runs.set_index(["task", "method", "seed"])["test_accuracy"].sort_index()
    table = 100 * pd.DataFrame(accuracies)
    of_seeds = table.groupby("seed").mean()  # mean accuracy over tasks and methods, a row a seed
    differences = of_seeds["bf16"] - of_seeds["fp32"]
    spread = stats.t.ppf(0.975, len(of_seeds) - 1) * of_seeds["fp32"].std() / len(of_seeds) ** 0.5
    largest = (table["bf16"] - table["fp32"]).abs().max()
    print(of_seeds, f"bf16 - fp32: {differences.mean():+.3f} points, seeds: +-{spread:.3f}, one run: {largest:.2f}")  # noqa: T201
    assert len(table) == 3 * 4 * 3
    assert abs(differences.mean()) < spread
