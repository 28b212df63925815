"""What a drawn figure shows, and whether it can be read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def shown_texts(figure: Figure) -> Iterator[Text]:
    """Every text that is on the sheet; ticks beyond the end of an axis are not."""
    yield from figure.texts
    yield from (text for text in (figure._supxlabel, figure._supylabel, figure._suptitle) if text is not None)
    yield from (text for legend in figure.legends for text in (legend.get_title(), *legend.get_texts()))
    for ax in figure.axes:
        yield from (*ax.texts, ax.title, ax._left_title, ax._right_title)
        if not ax.axison:
            continue
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield axis.label
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


def faults(figure: Figure) -> list[object]:
    """All that `overlapping` and `cut_off` find, for one drawing."""
    boxes = _boxes(figure)
    return [*_overlaps(boxes), *_cuts(figure, boxes)]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Every two texts of `figure` whose boxes share more than a hair."""
    return _overlaps(_boxes(figure))


def cut_off(figure: Figure) -> list[str]:
    """Every text of `figure` that reaches over the edge of the sheet by more than a hair."""
    return _cuts(figure, _boxes(figure))


def _boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    texts = {id(text): text for text in shown_texts(figure) if text.get_text().strip() and text.get_visible()}
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts.values()]


def _overlaps(boxes: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    ends = np.array([(box.x0, box.x1, box.y0, box.y1) for _, box in boxes])
    x0, x1, y0, y1 = ends.T[:, :, None]
    wide = np.minimum(x1, x1.T) - np.maximum(x0, x0.T) > 1
    high = np.minimum(y1, y1.T) - np.maximum(y0, y0.T) > 1
    return [(boxes[i][0], boxes[j][0]) for i, j in np.argwhere(np.triu(wide & high, k=1))]


def _cuts(figure: Figure, boxes: list[tuple[str, Bbox]]) -> list[str]:
    sheet = figure.bbox
    return [
        text
        for text, box in boxes
        if box.x0 < sheet.x0 - 1 or box.x1 > sheet.x1 + 1 or box.y0 < sheet.y0 - 1 or box.y1 > sheet.y1 + 1
    ]
