"""A figure beside each table. Each function draws the frame it is handed, reads nothing else, and returns the
Figure."""

from analysis.figures.accuracy import accuracy_by_task, gain_over_baseline, mean_accuracies, relative_spread
from analysis.figures.agreement import agreement_clusters, disagreement_heat_map
from analysis.figures.budget import budget_correlation, expected_best, rank_and_budget, ranks_at_budget
from analysis.figures.calibration import calibration_errors, reliability_diagrams, temperatures
from analysis.figures.channels import channel_map, channel_overlap, channel_overlap_by_block
from analysis.figures.comparison import best_sets, interquartile_means, probability_of_improvement, strengths
from analysis.figures.cost import costs
from analysis.figures.diversity import diversity_gain, ensemble_sizes
from analysis.figures.features import feature_similarity, features_along_blocks
from analysis.figures.gain import ensemble_gain
from analysis.figures.manyshot import accuracy_by_examples, accuracy_by_size, overtaking
from analysis.figures.mean_gains import mean_gains
from analysis.figures.members import ensemble_weights, greedy_path, subsets
from analysis.figures.missing import missing_cells
from analysis.figures.paired import accuracy_differences, accuracy_intervals
from analysis.figures.parameters import accuracy_against_parameters
from analysis.figures.pareto import front_probability, pareto_front
from analysis.figures.paths import barrier_heat_map, linear_paths
from analysis.figures.ranks import critical_difference, friedman_test, mean_ranks, nemenyi, ranking_frequency
from analysis.figures.robustness import (
    calibration_by_severity,
    corruption_by_kind,
    corruption_error,
    effective_robustness,
    retention,
    target_against_shift,
)
from analysis.figures.search import (
    collapsed,
    hyperparameter_values,
    importance,
    importance_by_task,
    optimism,
    search_gain,
    top_ties,
    validation_against_test,
    validation_ranking,
)
from analysis.figures.seed_control import methods_against_seeds
from analysis.figures.selective_risk import aurc, risk_coverage
from analysis.figures.sets import upset, venn
from analysis.figures.shift import accuracy_by_shift, accuracy_under_shift
from analysis.figures.soups import soup_gain
from analysis.figures.spectra import weight_change
from analysis.figures.trade_off import ppt
from analysis.figures.wise import wise_curves, wise_gain

__all__ = [
    "accuracy_against_parameters",
    "accuracy_by_examples",
    "accuracy_by_shift",
    "accuracy_by_size",
    "accuracy_by_task",
    "accuracy_differences",
    "accuracy_intervals",
    "accuracy_under_shift",
    "agreement_clusters",
    "aurc",
    "barrier_heat_map",
    "best_sets",
    "budget_correlation",
    "calibration_by_severity",
    "calibration_errors",
    "channel_map",
    "channel_overlap",
    "channel_overlap_by_block",
    "collapsed",
    "corruption_by_kind",
    "corruption_error",
    "costs",
    "critical_difference",
    "disagreement_heat_map",
    "diversity_gain",
    "effective_robustness",
    "ensemble_gain",
    "ensemble_sizes",
    "ensemble_weights",
    "expected_best",
    "feature_similarity",
    "features_along_blocks",
    "friedman_test",
    "front_probability",
    "gain_over_baseline",
    "greedy_path",
    "hyperparameter_values",
    "importance",
    "importance_by_task",
    "interquartile_means",
    "linear_paths",
    "mean_accuracies",
    "mean_gains",
    "mean_ranks",
    "methods_against_seeds",
    "missing_cells",
    "nemenyi",
    "optimism",
    "overtaking",
    "pareto_front",
    "ppt",
    "probability_of_improvement",
    "rank_and_budget",
    "ranking_frequency",
    "ranks_at_budget",
    "relative_spread",
    "reliability_diagrams",
    "retention",
    "risk_coverage",
    "search_gain",
    "soup_gain",
    "strengths",
    "subsets",
    "target_against_shift",
    "temperatures",
    "top_ties",
    "upset",
    "validation_against_test",
    "validation_ranking",
    "venn",
    "weight_change",
    "wise_curves",
    "wise_gain",
]
