"""Labels without a radius inside a graph: the twin of `confidence.predicted_label`."""

import numpy as np
import tensorflow as tf

from lsrs_tf.statistics import confidence


def least_majorities(n, alpha):
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


def predicted_label(votes, least_majority):
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
