"""PPT, the performance-parameter trade-off of V-PETL Bench (Xin et al., NeurIPS 2024): both in one number.

    PPT = M exp(-log10(P / C + 1))        M: accuracy   P: tuned parameters, without the classifier   C = 1e7

A method that tunes nothing keeps its accuracy; one that tunes C numbers keeps exp(-log10 2), 74 % of it. The benchmark
has C = 1e7 for every backbone, from ViT-B to Swin-L. 84 of the 91 values in its tables come out of this formula to the
last digit, and the others within 0.015.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparable import require_columns
from petl_study.errors import InputError

SCALE = 1e7  # C, of which a ViT-B/16 is 8.6 times as large
_VIT_B16 = 85_798_656


def ppt(means: pd.DataFrame, *, backbone_parameters: float | None = None) -> pd.DataFrame:
    """PPT of every method, with the interval that its accuracy gives it.

    Parameters
    ----------
    means : DataFrame
        From `mean_accuracies`, or by hand: `method`, `tuned_parameters`, `accuracy`, `low`, `high` (fractions).
    backbone_parameters : float, optional
        How many numbers the backbone has, for a C that is as large a part of it as 1e7 is of a ViT-B/16. This is not
        the published PPT, which hardly tells sizes apart on a backbone of a million: compare such values with each
        other alone.

    Returns
    -------
    DataFrame
        `means` with `ppt`, `ppt_low`, `ppt_high` (the parameters taken as they are) and `scale` (C), the best first
        within every `protocol` and `scope` there is. NaN where the size is not known.
    """
    require_columns(means, ["method", "tuned_parameters", "accuracy", "low", "high"])
    if backbone_parameters is not None and not backbone_parameters > 0:
        raise InputError(
            f"backbone_parameters must be how many numbers the backbone has, such as {_VIT_B16} of a ViT-B/16; got"
            f" {backbone_parameters!r}"
        )
    scale = SCALE * (1.0 if backbone_parameters is None else backbone_parameters / _VIT_B16)
    kept = np.exp(-np.log10(means["tuned_parameters"].astype(float) / scale + 1))
    columns = {"ppt": "accuracy", "ppt_low": "low", "ppt_high": "high"}
    table = means.assign(**{name: means[column] * kept for name, column in columns.items()}, scale=scale)
    table = table.sort_values("method", kind="stable")
    keys = [-table["ppt"].to_numpy(dtype=float)]
    keys += [pd.factorize(table[name])[0].astype(float) for name in ("scope", "protocol") if name in table]
    return table.iloc[np.lexsort(keys)].reset_index(drop=True)
