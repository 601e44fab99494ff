"""Metrics, tables and pictures of certified test sets, and what is measured without proof."""

import importlib
from typing import TYPE_CHECKING, Any

from lsrs_tf.evaluation.costs import multiply_adds
from lsrs_tf.evaluation.distances import DistanceReport, DistanceRow, distance_report
from lsrs_tf.evaluation.fronts import cost_front
from lsrs_tf.evaluation.metrics import (
    average_certified_radius,
    certified_accuracy,
    certified_accuracy_interval,
    exact_average_certified_radius,
    exact_certified_accuracy,
)
from lsrs_tf.evaluation.tables import markdown_table, rounded_down, with_prefix

if TYPE_CHECKING:
    from lsrs_tf.evaluation.cost_plot import plot_cost_front
    from lsrs_tf.evaluation.plots import plot_certified_accuracy, plot_class_probabilities

__all__ = [
    "DistanceReport",
    "DistanceRow",
    "average_certified_radius",
    "certified_accuracy",
    "certified_accuracy_interval",
    "cost_front",
    "distance_report",
    "exact_average_certified_radius",
    "exact_certified_accuracy",
    "markdown_table",
    "multiply_adds",
    "plot_certified_accuracy",
    "plot_class_probabilities",
    "plot_cost_front",
    "rounded_down",
    "with_prefix",
]
_PLOTS = {
    "plot_certified_accuracy": "lsrs_tf.evaluation.plots",
    "plot_class_probabilities": "lsrs_tf.evaluation.plots",
    "plot_cost_front": "lsrs_tf.evaluation.cost_plot",
}


def __getattr__(name: str) -> Any:
    """Imports the plots at their first use: they need Matplotlib, which is in an extra."""
    if name in _PLOTS:
        return getattr(importlib.import_module(_PLOTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
