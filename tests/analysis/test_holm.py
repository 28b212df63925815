from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from analysis.holm import holm


def test_the_correction_is_that_of_statsmodels(rng):
    p = rng.random(20) ** 3
    p[3] = p[7]  # a tie
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_one_test_needs_no_correction_and_none_none():
    assert holm([0.2]) == [0.2]
    assert len(holm(np.array([]))) == 0
