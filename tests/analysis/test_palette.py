from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from analysis.palette import ordered, style

KNOWN = [
    *("linear", "full", "bitfit", "layernorm", "difffit", "ssf", "vpt_shallow", "vpt_deep", "vqt", "pfeiffer_adapter"),
    *("houlsby_adapter", "adaptformer", "repadapter", "convpass", "lora", "fact_tt", "fact_tk", "sct", "rlrr"),
    *("selective", "prefix_tuning", "adapter_plus", "hydra", "mona", "gps"),
]
# How two kinds of colour blindness see linear light, by way of long, middle and short cones: Viénot et al. (1999).
TO_CONES = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
SEEN_BY = {
    "normal": np.eye(3),
    "protanopia": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "deuteranopia": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
}


def lightness_and_hue(colour: str, seen_by: str) -> np.ndarray:
    """CIE L*a*b* of `colour` as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.linalg.inv(TO_CONES) @ SEEN_BY[seen_by] @ TO_CONES @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_no_two_known_methods_look_the_same():
    looks = {(style(name).colour, style(name).marker) for name in KNOWN}
    assert len(looks) == len(KNOWN)


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_the_five_methods_of_the_quickstart_differ_in_colour_to_everyone(seen_by):
    colours = {name: style(name).colour for name in ("linear", "full", "bitfit", "lora", "ssf")}
    for a, b in itertools.combinations(colours, 2):
        distance = np.linalg.norm(lightness_and_hue(colours[a], seen_by) - lightness_and_hue(colours[b], seen_by))
        assert distance > 12, (a, b)  # 2.3 is just noticeable, side by side


def test_the_five_methods_of_the_quickstart_differ_in_marker():
    assert len({style(name).marker for name in ("linear", "full", "bitfit", "lora", "ssf")}) == 5


def test_an_unknown_method_is_hollow_and_always_the_same():
    assert not style("peft:dora").filled
    assert style("peft:dora") == style("peft:dora")
    assert all(style(name).filled for name in KNOWN)


def test_methods_stand_in_one_order_whoever_asks():
    assert ordered(["zebra", "ssf", "aardvark", "full", "ssf", "linear"]) == [
        "linear",
        "full",
        "ssf",
        "aardvark",
        "zebra",
    ]
