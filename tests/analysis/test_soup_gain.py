from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import Predictions, ensemble, soup_gain
from petl_study.errors import InputError


def predictions(rng, roles=("member", "member", "soup"), N=200) -> Predictions:
    labels = rng.integers(3, size=N)
    logits = rng.normal(size=(len(roles), N, 3))
    logits[:, np.arange(N), labels] += np.linspace(0.5, 1.5, len(roles))[:, None]
    names = [f"soup:uniform:{i}" if role == "soup" else "lora" for i, role in enumerate(roles)]
    seeds = [i if role == "member" else pd.NA for i, role in enumerate(roles)]
    return Predictions(labels, logits, pd.DataFrame({"method": names, "seed": seeds, "role": list(roles)}))


def test_a_soup_is_compared_with_its_members_and_with_their_ensemble(rng):
    preds = predictions(rng)
    table = soup_gain(preds, rng=rng).set_index("against")
    assert list(table.index) == ["best member", "mean member", "logit ensemble"]
    best, mean = preds.accuracy[:2].max(), preds.accuracy[:2].mean()
    together = (ensemble(preds, members=[0, 1]).argmax(axis=1) == preds.labels).mean()
    assert table["accuracy"].to_list() == pytest.approx([best, mean, together])
    assert set(table["soup_accuracy"]) == {preds.accuracy[2]}
    assert table["gain"].to_numpy() == pytest.approx(preds.accuracy[2] - table["accuracy"].to_numpy())
    assert ((table["low"] <= table["gain"]) & (table["gain"] <= table["high"])).all()
    assert table.loc["best member", "seed"] == int(preds.accuracy[:2].argmax())


def test_a_soup_that_says_what_its_only_member_says_gains_nothing(rng):
    preds = predictions(rng, ("member", "soup"))
    same = Predictions(preds.labels, preds.logits[[0, 0]], preds.runs)
    table = soup_gain(same, rng=rng)
    assert (table[["gain", "low", "high"]] == 0).all(axis=None)


def test_soups_are_no_members_of_one_another(rng):
    preds = predictions(rng, ("member", "soup", "member", "soup"))
    table = soup_gain(preds, rng=rng)
    assert set(table["soup"]) == {"soup:uniform:1", "soup:uniform:3"}
    assert set(table["members"]) == {2}
    assert table.loc[table["against"] == "best member", "accuracy"].to_numpy() == pytest.approx(
        preds.accuracy[[0, 2]].max()
    )


def test_without_members_or_soups_there_is_nothing_to_compare(rng):
    for roles in (("member", "member"), ("soup", "soup")):
        with pytest.raises(InputError, match="members and soups"):
            soup_gain(predictions(rng, roles), rng=rng)
    preds = predictions(rng)
    with pytest.raises(InputError, match="got 0 members and 0 soups"):
        soup_gain(Predictions(preds.labels, preds.logits, preds.runs.drop(columns="role")), rng=rng)
