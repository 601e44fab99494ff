"""Pictures of certified test sets."""

from collections.abc import Mapping

import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

from lsrs_tf.evaluation.metrics import certified_accuracy, certified_accuracy_interval


def plot_certified_accuracy(
    curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.bool_]]],
) -> matplotlib.figure.Figure:
    """Draws certified accuracy against radius, with bands of 95 % for the choice of the images.

    Args:
        curves: dict of name to (radii float array [images], correct bool array [images]).

    Returns:
        `matplotlib.figure.Figure`.

    Examples:
        >>> curves = {"LS-RS": (np.array([0.6, 0.3]), np.array([True, True]))}
        >>> evaluation.plot_certified_accuracy(curves).axes[0].get_ylabel()
        'certified accuracy (%)'
    """
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    largest = max((np.max(radii, initial=0.0) for radii, _ in curves.values()), default=0.0)
    end = max(1.05 * largest, 0.1)
    styles = ["-", "--", "-.", ":"]
    for index, (name, (radii, correct)) in enumerate(curves.items()):
        grid = np.linspace(0, end, 501)
        accuracy = [100 * certified_accuracy(radii, correct, at) for at in grid]
        (line,) = axes.plot(grid, accuracy, styles[index % len(styles)], label=name, linewidth=1.8)
        # The interval changes only where the accuracy does.
        intervals = {}
        for at, value in zip(grid, accuracy, strict=True):
            if value not in intervals:
                intervals[value] = certified_accuracy_interval(radii, correct, at)
        lower, upper = np.array([intervals[value] for value in accuracy]).T
        axes.fill_between(grid, 100 * lower, 100 * upper, color=line.get_color(), alpha=0.15, lw=0)
    axes.set_xlabel("L2 radius (pixels in [0, 1])")
    axes.set_ylabel("certified accuracy (%)")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(frameon=False)
    return figure


def plot_class_probabilities(
    probabilities: Mapping[str, NDArray[np.floating]],
) -> matplotlib.figure.Figure:
    """Draws how the probability of the selected class is spread over the images.

    Args:
        probabilities: dict of name to float array [images], estimates of that probability.

    Returns:
        `matplotlib.figure.Figure`.

    Examples:
        >>> figure = evaluation.plot_class_probabilities({"LS-RS": np.array([0.9, 0.6])})
        >>> figure.axes[0].get_ylabel()
        'images'
    """
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, values in probabilities.items():
        axes.hist(values, bins=np.linspace(0, 1, 41), histtype="step", label=name, linewidth=1.8)
    # Below it nothing can be certified.
    axes.axvline(0.5, color="gray", linewidth=1, linestyle=":")
    axes.set_xlabel("share of the selected class in the noisy votes")
    axes.set_ylabel("images")
    axes.set_xlim(0, 1)
    if probabilities:
        axes.legend(frameon=False, loc="upper left")
    axes.yaxis.get_major_locator().set_params(integer=True)
    return figure
