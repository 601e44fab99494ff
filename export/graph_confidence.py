"""Confidence bounds, radii and labels in a graph: the twins of those of `lsrs_tf.statistics`.

For requests that bring their own n and alpha. Where these are fixed, tables hold the numbers of the
original itself.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale

# TensorFlow's incomplete beta function is off by a few 1e-9, relatively, for up to a million
# samples (an inverse of it, as in tfp.math.betaincinv, fails unseen where alpha is tiny). The
# bisection below asks for a tail that is smaller than alpha by far more than that.
_TAIL_MARGIN = 1e-7
_BISECTIONS = 60
_BOUND_MARGIN = 1e-11
# Compilers change the quantile of the normal law by up to 1e-10, relatively.
_RADIUS_MARGIN = 1e-8

# Up to here, and down to the original's smallest alpha, the function's accuracy is tested.
LARGEST_N = 1_000_000


def lower_confidence_bound(count: tf.Tensor, n: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Returns lower bounds of probabilities, each of which fails with probability at most alpha.

    The one-sided Clopper-Pearson bound, rounded down.

    Args:
        count: int tensor, hits, 0 to n.
        n: int tensor of the same shape, trials, 1 to `LARGEST_N`.
        alpha: float64 tensor of the same shape, `confidence.SMALLEST_ALPHA` to 1.

    Returns:
        float64 tensor in [0, 1).
    """
    hits = tf.cast(count, tf.float64)
    misses = tf.cast(n, tf.float64) - hits
    target = alpha * (1.0 - _TAIL_MARGIN)

    def halved(low, high):
        middle = (low + high) / 2
        # A value that is not a number counts as too large a tail.
        below = tf.math.betainc(tf.maximum(hits, 1.0), misses + 1.0, middle) <= target
        return tf.where(below, middle, low), tf.where(below, high, middle)

    low, high = tf.zeros_like(alpha), tf.ones_like(alpha)
    for _ in range(_BISECTIONS):
        low, high = halved(low, high)
    return tf.where(hits > 0, low * (1.0 - _BOUND_MARGIN), 0.0)


def certified_radius(p_lower: tf.Tensor, scale: RadiusScale) -> tf.Tensor:
    """Returns certified L2 radii in input space, rounded down; 0.0 means abstention.

    Args:
        p_lower: float64 tensor, lower bounds of the probability of a class.
        scale: `RadiusScale`.

    Returns:
        float64 tensor.
    """
    certain = p_lower > 0.5
    # The quantile of an abstention could be infinite.
    quantile = tf.math.ndtri(tf.where(certain, p_lower, 0.75))
    radius = scale.sigma * quantile * (1.0 - _RADIUS_MARGIN) - scale.loss
    lowered = radius / scale.lipschitz * (1.0 - _RADIUS_MARGIN)
    return tf.where(certain, tf.maximum(lowered, 0.0), 0.0)


def float32_below(value: tf.Tensor) -> tf.Tensor:
    """Returns the largest float32 numbers that are not above float64 numbers of at least 0."""
    nearest = tf.cast(value, tf.float32)
    below = tf.math.nextafter(nearest, tf.constant(-1.0))
    return tf.where(tf.cast(nearest, tf.float64) <= value, nearest, below)


def least_majorities(n: int, alpha: float) -> NDArray[np.int64]:
    """Returns the least votes that lead significantly, for every sum of the two leaders' votes.

    Args:
        n: int, samples.
        alpha: float in (0, 1).

    Returns:
        int64 array [n + 1], the least votes for each sum from 0 to n; more than the sum itself
        where no votes are enough.
    """
    least = []
    for total in range(n + 1):
        first = least[-1] if least else 0
        # It grows by at most one with each further vote.
        while first <= total and not confidence.majority_is_significant(
            first, total - first, alpha
        ):
            first += 1
        least.append(first)
    return np.array(least, np.int64)


def certificates_of_hits(
    n: int, alpha: float, scale: RadiusScale
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns lower bound and radius for every number of hits from 0 to n, rounded down.

    They are the very numbers of `lsrs_tf.certify`.

    Args:
        n: int, samples.
        alpha: float in (0, 1).
        scale: `RadiusScale`.
    """
    p_lower = np.zeros(n + 1, np.float32)
    radius = np.zeros(n + 1, np.float32)
    for hits in range(n + 1):
        bound = confidence.lower_confidence_bound(hits, n, alpha)
        p_lower[hits] = confidence.float32_below(bound)
        radius[hits] = confidence.float32_below(scale.radius(bound))
    return p_lower, radius


def predicted_label(votes: tf.Tensor, least_majority: NDArray[np.int64]) -> tf.Tensor:
    """Returns the class that leads significantly, or -1; see `confidence.predicted_label`.

    Args:
        votes: int64 tensor [classes].
        least_majority: array of `least_majorities` for the samples that the votes come from.

    Returns:
        int64 scalar tensor.
    """
    n = len(least_majority) - 1
    second, first = tf.unstack(tf.sort(votes)[-2:])
    # Samples without a vote may have been for the class after the leader.
    second += n - tf.reduce_sum(votes)
    sure = first >= tf.gather(tf.constant(least_majority), first + second)
    return tf.where(sure, tf.argmax(votes), -1)
