"""PPT, the performance-parameter trade-off of V-PETL Bench."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.dots import dots


def ppt(table: pd.DataFrame) -> Figure:
    """A line a method, the best on top: its PPT and what the accuracy's interval makes of it.

    Parameters
    ----------
    table : DataFrame
        From `analysis.ppt`. A panel a scope; choose one for a panel a protocol. Methods whose size is not known are
        named in the note.
    """
    canvas.require_rows(table, "method", "ppt", "ppt_low", "ppt_high", "scale", "level", "interval")
    known = table[table["ppt"].notna()]
    canvas.require_rows(known)
    scopes = list(dict.fromkeys(known["scope"])) if "scope" in known else []
    order = known[known["scope"] == "all tasks"] if "all tasks" in scopes else known
    drawn = known.assign(low=known["ppt_low"], high=known["ppt_high"])
    scale = known["scale"].iloc[0]
    note = f"{canvas.what_bars_are(drawn)} PPT = M exp(-log10(P / {scale:,.0f} + 1))."
    unknown = sorted(set(table["method"]) - set(known["method"]))
    return dots(
        drawn,
        "ppt",
        panel="scope" if len(scopes) > 1 else None,
        order=list(dict.fromkeys(order["method"])),
        label="PPT (accuracy, a fraction, discounted by tuned parameters)",
        note=f"{note} Size not known: {', '.join(unknown)}." if unknown else note,
    )
