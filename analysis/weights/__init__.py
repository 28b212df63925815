"""Weight space: what becomes of the weights themselves when tuned models are averaged, scaled and compared.

The one part of `analysis` that builds models: it needs torch, and the data and backbone that the runs were made with.
`import analysis` alone does not load it. It measures; what the measurements mean (which alpha is a result, how high a
barrier is) is said by plain functions of frames: `analysis.wise`, `analysis.soups`, `analysis.connectivity`.
"""

from analysis.weights.arithmetic import average, between
from analysis.weights.features import block_features
from analysis.weights.models import Weights, load_weights
from analysis.weights.paths import linear_paths
from analysis.weights.soups import Soup, greedy, soup, soup_predictions
from analysis.weights.spectra import weight_change
from analysis.weights.wise import wise_curves

__all__ = [
    "Soup",
    "Weights",
    "average",
    "between",
    "block_features",
    "greedy",
    "linear_paths",
    "load_weights",
    "soup",
    "soup_predictions",
    "weight_change",
    "wise_curves",
]
