from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from petl_study.tasks.digits import read_scans


def test_the_scans_are_what_scikit_learn_loads():
    scans, labels = read_scans()
    np.testing.assert_array_equal(scans, load_digits().images)
    np.testing.assert_array_equal(labels, load_digits().target)
