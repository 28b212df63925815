"""Handwritten digits: the only embedded task that is not drawn by a program.

The 1797 scans that scikit-learn bundles, which are the test set of "Optical Recognition of Handwritten Digits" (E.
Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49; licence CC BY 4.0): NIST forms
filled in by 13 people, reduced to 8 x 8 pixels of 0 to 16 that the ink fills from edge to edge. Here 0..16 becomes
0..255, bright ink on black, enlarged three times (bicubic) and framed by four black pixels to 32 x 32, in grey. A
stratified shuffle from a fixed seed gives 800 / 200 / 797.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from petl_study.errors import InputError
from petl_study.render.dice import Dice
from petl_study.tasks._base import Split, TaskInfo
from petl_study.tasks._registry import register
from petl_study.tasks.shifts import SHIFT_SETS

INFO = TaskInfo(
    name="digits",
    group="natural",
    classes=tuple("0123456789"),
    summary="handwritten digits, real scans (UCI, bundled with scikit-learn)",
    shift_sets=SHIFT_SETS,
    sizes=(800, 200, 797),
)


@register(INFO)
def splits() -> tuple[Split, Split, Split]:
    scans, labels = read_scans()
    enlarged = np.stack([_enlarge(scan) for scan in np.floor(scans * (255 / 16) + 0.5).astype(np.uint8)])
    images = np.repeat(np.pad(enlarged, ((0, 0), (4, 4), (4, 4)))[..., None], 3, axis=-1)
    ids = np.array([f"digits/{k:04d}" for k in range(len(labels))])  # the scan's place in scikit-learn's file
    everything = Split(images, labels, ids).take(stratified_order(labels, Dice("digits", "splits")))
    return everything.take(slice(0, 800)), everything.take(slice(800, 1000)), everything.take(slice(1000, None))


def read_scans() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All scans (1797, 8, 8) of 0..16, and their labels (1797,): what `sklearn.datasets.load_digits` returns.

    Read from scikit-learn's own file, as importing scikit-learn costs every worker a second and 110 MB.
    """
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise InputError("task 'digits' is read from scikit-learn, which is not installed: pip install scikit-learn.")
    table = np.loadtxt(Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz"), delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def stratified_order(labels: NDArray[np.int64], dice: Dice) -> NDArray[np.int64]:
    """A random order (N,) every stretch of which holds the classes in their overall proportions.

    The n examples of a class are shuffled and put at random inside n equal slots of the line from 0 to 1.
    """
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)  # (n,)
        n = len(members)
        position[members[dice.permutation(n)]] = (np.arange(n) + dice.uniforms(n)) / n
    return np.argsort(position, kind="stable")


def _enlarge(scan: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey image (8, 8) as one of (24, 24)."""
    return np.asarray(Image.fromarray(scan).resize((24, 24), Image.Resampling.BICUBIC))
