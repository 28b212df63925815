"""The study's questions over stored results, or over anyone's logits.

Pure functions: arrays and data frames in, tidy data frames and figures out. Accuracies are fractions; chance is
handed in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis import figures
from analysis.accuracy import accuracy_table, complete_methods, mean_accuracies
from analysis.agreement import MEASURES, disagreement, disagreement_by_method
from analysis.baseline import gain_over_baseline, relative_spread
from analysis.best import best_sets
from analysis.bradley_terry import strengths
from analysis.budget import budget_correlation, expected_best, rank_and_budget, ranks_at_budget
from analysis.calibration import calibration, reliability
from analysis.cells import missing_cells
from analysis.channels import load_channels
from analysis.channels_overlap import channel_overlap, channel_overlap_by_task
from analysis.cka import linear_cka
from analysis.clustering import Clustering, cluster_methods
from analysis.combine import COMBINE
from analysis.comparable import by_protocol, require_comparable, require_complete, require_distinct
from analysis.confidence import (
    confidence_overlap,
    confidence_overlap_by_method,
    confidence_regions,
    confidence_sets,
    confidently_wrong,
    set_regions,
)
from analysis.connectivity import barriers, barriers_by_method
from analysis.corruption import corruption_errors, mean_corruption_error
from analysis.cost import costs
from analysis.diversity import diversity_gain, ensemble_sizes
from analysis.effective import effective_robustness
from analysis.ensembles import ensemble, ensemble_gain, ensemble_of_seeds, oracle, scores_as_logits
from analysis.features import Features, feature_similarity, feature_similarity_by_method
from analysis.fitting import FITTED, FittedRule, ensemble_weights, fit_ensemble
from analysis.friedman import critical_difference, friedman_test, nemenyi
from analysis.greedy import greedy_selection
from analysis.guide import Recommendation, recommend
from analysis.improvement import probability_of_improvement
from analysis.inference import load_inference
from analysis.interquartile import interquartile_means
from analysis.loading import load_accuracies, load_ensembles, load_failures, load_predictions, load_runs, load_trials
from analysis.manyshot import accuracy_by_size, overtaking
from analysis.mean_gains import mean_gains
from analysis.needs import Needs
from analysis.notebook import where_possible
from analysis.numeric import score
from analysis.paired import accuracy_differences, accuracy_intervals
from analysis.pareto import pareto_front
from analysis.pitfalls import collapsed, is_collapsed, optimism, top_ties
from analysis.predictions import Predictions
from analysis.published import load_published
from analysis.ranks import mean_ranks, ranking_frequency
from analysis.search import search_gain, validation_against_test, validation_ranking
from analysis.seed_control import methods_against_seeds
from analysis.selective_risk import aurc, risk_coverage
from analysis.sensitivity import hyperparameter_values, importance, importance_by_task
from analysis.shift import mean_over_shifts, shift_table, target_against_shift
from analysis.shift_calibration import calibration_by_severity, calibration_under_shift
from analysis.soups import soup_gain
from analysis.steadiness import load_unsteady
from analysis.subset_search import subsets
from analysis.temperature import fit_temperatures
from analysis.trade_off import ppt
from analysis.wise import choose_alpha, wise_gain, wise_table

if TYPE_CHECKING:
    from analysis import weights
    from analysis.weights import (
        Soup,
        Weights,
        block_features,
        linear_paths,
        load_weights,
        soup,
        soup_predictions,
        weight_change,
        wise_curves,
    )
else:
    _WEIGHT_SPACE = {
        *("Soup", "Weights", "block_features", "load_weights", "linear_paths", "soup", "soup_predictions"),
        *("weight_change", "wise_curves"),
    }

    def __getattr__(name: str) -> Any:
        """What builds models needs torch, and is loaded when it is first asked for."""
        if name == "weights" or name in _WEIGHT_SPACE:
            weights = import_module("analysis.weights")
            return weights if name == "weights" else getattr(weights, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "COMBINE",
    "Clustering",
    "FITTED",
    "Features",
    "FittedRule",
    "MEASURES",
    "Needs",
    "Predictions",
    "Recommendation",
    "Soup",
    "Weights",
    "accuracy_by_size",
    "accuracy_differences",
    "accuracy_intervals",
    "accuracy_table",
    "aurc",
    "barriers",
    "barriers_by_method",
    "best_sets",
    "block_features",
    "budget_correlation",
    "by_protocol",
    "calibration",
    "calibration_by_severity",
    "calibration_under_shift",
    "channel_overlap",
    "channel_overlap_by_task",
    "choose_alpha",
    "cluster_methods",
    "collapsed",
    "complete_methods",
    "confidence_overlap",
    "confidence_overlap_by_method",
    "confidence_regions",
    "confidence_sets",
    "confidently_wrong",
    "corruption_errors",
    "costs",
    "critical_difference",
    "disagreement",
    "disagreement_by_method",
    "diversity_gain",
    "effective_robustness",
    "ensemble",
    "ensemble_gain",
    "ensemble_of_seeds",
    "ensemble_sizes",
    "ensemble_weights",
    "expected_best",
    "feature_similarity",
    "feature_similarity_by_method",
    "figures",
    "fit_ensemble",
    "fit_temperatures",
    "friedman_test",
    "gain_over_baseline",
    "greedy_selection",
    "hyperparameter_values",
    "importance",
    "importance_by_task",
    "interquartile_means",
    "is_collapsed",
    "linear_cka",
    "linear_paths",
    "load_accuracies",
    "load_channels",
    "load_ensembles",
    "load_failures",
    "load_inference",
    "load_predictions",
    "load_published",
    "load_runs",
    "load_trials",
    "load_unsteady",
    "load_weights",
    "mean_accuracies",
    "mean_corruption_error",
    "mean_gains",
    "mean_over_shifts",
    "mean_ranks",
    "methods_against_seeds",
    "missing_cells",
    "nemenyi",
    "optimism",
    "oracle",
    "overtaking",
    "pareto_front",
    "ppt",
    "probability_of_improvement",
    "rank_and_budget",
    "ranking_frequency",
    "ranks_at_budget",
    "recommend",
    "relative_spread",
    "reliability",
    "require_comparable",
    "require_complete",
    "require_distinct",
    "risk_coverage",
    "score",
    "scores_as_logits",
    "search_gain",
    "set_regions",
    "shift_table",
    "soup",
    "soup_gain",
    "soup_predictions",
    "strengths",
    "subsets",
    "target_against_shift",
    "top_ties",
    "validation_against_test",
    "validation_ranking",
    "weight_change",
    "weights",
    "where_possible",
    "wise_curves",
    "wise_gain",
    "wise_table",
]
