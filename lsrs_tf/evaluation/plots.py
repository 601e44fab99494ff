"""Pictures of certified test sets."""

import matplotlib.figure
import numpy as np

from lsrs_tf.evaluation.metrics import certified_accuracy


def plot_certified_accuracy(curves):
    """Draws certified accuracy against radius.

    Args:
        curves: dict of name to (radii float array [images], correct bool array [images]).

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    largest = max((np.max(radii, initial=0.0) for radii, _ in curves.values()), default=0.0)
    end = max(1.05 * largest, 0.1)
    styles = ["-", "--", "-.", ":"]
    for index, (name, (radii, correct)) in enumerate(curves.items()):
        grid = np.linspace(0, end, 501)
        accuracy = [100 * certified_accuracy(radii, correct, at) for at in grid]
        axes.plot(grid, accuracy, styles[index % len(styles)], label=name, linewidth=1.8)
    axes.set_xlabel("L2 radius (pixels in [0, 1])")
    axes.set_ylabel("certified accuracy (%)")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(frameon=False)
    return figure
