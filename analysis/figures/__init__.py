"""A figure beside each table. Each function draws the frame it is handed, reads nothing else, and returns the
Figure."""

from analysis.figures.accuracy import accuracy_by_task, mean_ranks
from analysis.figures.agreement import disagreement_heat_map
from analysis.figures.gain import ensemble_gain
from analysis.figures.parameters import accuracy_against_parameters
from analysis.figures.shift import accuracy_by_shift, accuracy_under_shift

__all__ = [
    "accuracy_against_parameters",
    "accuracy_by_shift",
    "accuracy_by_task",
    "accuracy_under_shift",
    "disagreement_heat_map",
    "ensemble_gain",
    "mean_ranks",
]
