"""The statistics of `confidence` inside a TensorFlow graph, for exported models.

Every function is checked against its counterpart there. Results are rounded down.
"""

import tensorflow as tf
import tensorflow_probability as tfp

# TensorFlow Probability's inverse of the incomplete beta function agrees with SciPy's to 5e-13, and
# TensorFlow's inverse of the normal law to 1e-15; what is computed from them is lowered by more.
_BETA_MARGIN = 1e-11
_NORMAL_MARGIN = 1e-12


def lower_confidence_bound(count, n, alpha):
    """Returns the Clopper-Pearson lower bound; see `confidence.lower_confidence_bound`.

    Args:
        count: float64 tensor, the number of hits, 0 to n.
        n: float64 tensor, the number of trials.
        alpha: float64 tensor in (0, 1).

    Returns:
        float64 tensor in [0, 1).
    """
    hits = tf.maximum(count, 1.0)
    bound = tfp.math.betaincinv(hits, n - hits + 1, alpha)
    usable = (count > 0) & (bound >= 0) & (bound < 1)
    return tf.where(usable, bound * (1 - _BETA_MARGIN), tf.zeros_like(bound))


def certified_radius(p_lower, sigma, lipschitz):
    """Returns the certified radius, 0 for abstention; see `confidence.certified_radius`.

    Args:
        p_lower: float64 tensor.
        sigma: float.
        lipschitz: float.

    Returns:
        float64 tensor, at least 0.
    """
    enough = p_lower > 0.5
    quantile = tf.math.ndtri(tf.where(enough, p_lower, 0.5 * tf.ones_like(p_lower)))
    radius = sigma * quantile / lipschitz * (1 - _NORMAL_MARGIN)
    return tf.where(enough & (radius > 0), radius, tf.zeros_like(radius))


def float32_below(values):
    """Returns the largest float32 numbers that are not above non-negative float64 numbers."""
    nearest = tf.cast(values, tf.float32)
    below = tf.math.nextafter(nearest, tf.zeros_like(nearest))
    return tf.where(tf.cast(nearest, tf.float64) > values, below, nearest)
