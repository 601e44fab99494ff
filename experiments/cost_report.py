"""What the report says of the cost of certificates."""

import decimal
import fractions
import math

import numpy as np

from experiments import image_sets
from lsrs_tf.evaluation import (
    cost_front,
    exact_average_certified_radius,
    exact_certified_accuracy,
    plot_cost_front,
    rounded_down,
    with_prefix,
)
from lsrs_tf.records.summary import UNKNOWN

HEADER = (
    "multiply-adds/sample",
    "multiply-adds/certificate",
    "ACR per T multiply-adds",
)
# One T multiply-adds, in which ACR per cost is told.
_UNIT = 10**12
RADIUS = 0.5


def cost_cells(run):
    """Returns the cells under `HEADER`, list of str; '-' for what a file does not tell.

    Args:
        run: `lsrs_tf.records.summary.Run`.
    """
    of_sample, whole = run.multiply_adds_per_sample, run.multiply_adds
    radius = exact_average_certified_radius(run.radii, run.correct)
    return [
        UNKNOWN if of_sample is None else with_prefix(of_sample),
        UNKNOWN if whole is None else with_prefix(whole),
        with_prefix(radius * _UNIT / fractions.Fraction(whole), decimal.ROUND_DOWN)
        if whole
        else UNKNOWN,
    ]


def checked_radius(radius):
    """Returns a radius to compare certified accuracies at, or raises if it is not one."""
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(
            "--cost_radius must be an L2 radius of at least 0, in units of pixels in [0, 1]. "
            f"Received: {radius}"
        )
    return radius


def costs_known(runs):
    """Returns the runs whose files tell what a certificate costs, dict of name to `Run`.

    Args:
        runs: dict of name to `Run`.
    """
    return {name: run for name, run in runs.items() if run.multiply_adds}


def other_images_line(runs):
    """Returns a line that says if runs were certified on different images, or an empty text.

    Args:
        runs: dict of name to `Run`.
    """
    records = {name: run.records for name, run in runs.items()}
    return image_sets.other_images_line(records, "These runs were certified on", "point")


def plot_costs(runs, radius=RADIUS):
    """Draws average certified radius and certified accuracy against the cost of a certificate.

    Args:
        runs: dict of name to `Run`, of known costs.
        radius: float, L2 radius of the certified accuracy.
    """
    return plot_cost_front(
        {name: run.multiply_adds for name, run in runs.items()},
        {
            "average certified radius": _average_radii(runs),
            f"certified accuracy (%) at radius {radius!r}": _accuracies(runs, radius),
        },
        {name: "" if run.defense == UNKNOWN else run.defense for name, run in runs.items()},
    )


def cost_rows(runs, radius=RADIUS):
    """Returns header and rows of a CSV file, one for each run, the cheapest certificate first.

    Args:
        runs: dict of name to `Run`, of known costs.
        radius: float, L2 radius of the certified accuracy.
    """
    rows = [
        [
            "run",
            "multiply_adds_per_sample",
            "samples",
            "multiply_adds_per_certificate",
            "average_certified_radius",
            "on_front_of_radius",
            f"certified_accuracy_at_{radius!r}",
            "on_front_of_accuracy",
        ]
    ]
    costs = {name: run.multiply_adds for name, run in runs.items()}
    front_of_radius = cost_front(costs, _average_radii(runs))
    front_of_accuracy = cost_front(costs, _accuracies(runs, radius))
    for name in sorted(runs, key=costs.get):
        run = runs[name]
        margin = run.multiply_adds_per_sample is None
        rows.append(
            [
                name,
                UNKNOWN if margin else run.multiply_adds_per_sample,
                UNKNOWN if margin else f"{np.mean(run.samples):.1f}",
                f"{costs[name]:.0f}",
                rounded_down(exact_average_certified_radius(run.radii, run.correct), 6),
                int(name in front_of_radius),
                rounded_down(exact_certified_accuracy(run.radii, run.correct, radius), 6),
                int(name in front_of_accuracy),
            ]
        )
    return rows


def _average_radii(runs):
    return {
        name: float(exact_average_certified_radius(run.radii, run.correct))
        for name, run in runs.items()
    }


def _accuracies(runs, radius):
    return {
        name: 100 * float(exact_certified_accuracy(run.radii, run.correct, radius))
        for name, run in runs.items()
    }
