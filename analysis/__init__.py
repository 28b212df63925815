"""The study's questions over stored results, or over anyone's logits.

Pure functions: arrays and data frames in, tidy data frames and figures out. Accuracies are fractions; chance is
handed in.
"""

from analysis import figures
from analysis.accuracy import accuracy_table, complete_methods, mean_accuracies, mean_ranks
from analysis.agreement import disagreement, disagreement_by_method
from analysis.comparable import require_comparable, require_complete, require_distinct
from analysis.confidence import confidence_overlap, confidence_sets
from analysis.ensembles import COMBINE, ensemble, ensemble_gain, scores_as_logits
from analysis.loading import load_accuracies, load_ensembles, load_failures, load_predictions, load_runs, load_trials
from analysis.numeric import score
from analysis.predictions import Predictions
from analysis.shift import mean_over_shifts, shift_table

__all__ = [
    "COMBINE",
    "Predictions",
    "complete_methods",
    "mean_accuracies",
    "accuracy_table",
    "confidence_overlap",
    "confidence_sets",
    "disagreement",
    "disagreement_by_method",
    "ensemble",
    "ensemble_gain",
    "figures",
    "load_accuracies",
    "load_ensembles",
    "load_failures",
    "load_predictions",
    "load_runs",
    "load_trials",
    "mean_over_shifts",
    "mean_ranks",
    "require_comparable",
    "require_complete",
    "require_distinct",
    "score",
    "scores_as_logits",
    "shift_table",
]
