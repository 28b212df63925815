"""One look for every method, the same in every figure. Colour-blind safe; neighbours differ in colour and in marker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

# Okabe and Ito's colours, without the yellow that vanishes on white paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "h")  # 7 and 6 share no divisor: 42 methods before a pair comes again
_METHODS = (
    *("bitfit", "lora", "ssf", "adaptformer", "vpt_deep", "repadapter", "convpass", "difffit", "layernorm", "fact_tt"),
    *(
        "fact_tk",
        "pfeiffer_adapter",
        "houlsby_adapter",
        "vpt_shallow",
        "vqt",
        "sct",
        "rlrr",
        "selective",
        "gps",
        "hydra",
    ),
    *("mona", "adapter_plus", "prefix_tuning"),
)


@dataclass(frozen=True)
class Style:
    """How a method is drawn: a colour (hexadecimal), one of matplotlib's markers, and whether it is filled."""

    colour: str
    marker: str
    filled: bool = True

    @property
    def face(self) -> str:
        return self.colour if self.filled else "#FFFFFF"


# What is compared with stands apart from what is compared: no hue.
_STYLES = {"linear": Style("#6F6F6F", "X"), "full": Style("#000000", "d")}
_STYLES |= {name: Style(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, name in enumerate(_METHODS)}
# An ensemble is a star. The geometric mean answers as the mean logit does, and has its colour, hollow.
_RULES = {
    rule: Style(_COLOURS[i], "*")
    for i, rule in enumerate(("mean_logit", "mean_prob", "vote", "median", "weighted", "greedy"))
}
_RULES |= {"geometric": Style(_COLOURS[0], "*", filled=False), "stacking": Style(_COLOURS[1], "*", filled=False)}


def style(name: str) -> Style:
    """The look of the method `name`, whatever else is in the figure.

    A name that is not known gets a hollow marker, drawn from the name itself, so that it is not taken for a known one.
    An ensemble (``ensemble:vote``) is a star in its rule's colour.
    """
    if name in _STYLES:
        return _STYLES[name]
    kind, _, rule = name.partition(":")
    if kind == "ensemble" and rule in _RULES:
        return _RULES[rule]
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return Style(_COLOURS[drawn % len(_COLOURS)], _MARKERS[drawn % len(_MARKERS)], filled=False)


def ordered(names: Iterable[str]) -> list[str]:
    """`names` without repetition: what is compared with first, then the known methods, then the others by name."""
    known = list(_STYLES)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))
