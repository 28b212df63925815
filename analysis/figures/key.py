"""A key of what is drawn that is no method."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import canvas


def key(figure: Figure, handles: Sequence[Line2D], *, heading: str) -> None:
    """The labels of `handles`, to the right of all panels; as `canvas.legend` has methods."""
    labels = [str(handle.get_label()) for handle in handles]
    made = figure.legend(
        handles,
        labels,
        loc="outside right upper",
        title=heading,
        fontsize=canvas.SMALL,
        title_fontsize=canvas.SMALL,
        frameon=False,
        labelcolor="#333333",
        alignment="left",
    )
    made.get_title().set_color("#333333")
