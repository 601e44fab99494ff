"""The step from logits to margin and radius in a graph: the twin of `MarginScale.proven`.

It takes the same operations in the same order, so that every bit is the same. Sessions flush
numbers below the smallest normal one to 0, which Python does not: margins for which that matters,
and radii below that of float32, are abstentions, and bounds below that of float64 are rounded up
to it.
"""

import math

import numpy as np
import tensorflow as tf

from export import graph_confidence
from lsrs_tf.sampling.votes import votes_of
from lsrs_tf.statistics.margin_scale import ROUNDING, MarginScale

_SMALLEST = float(np.finfo(np.float64).tiny)
# Of margins below it a logit that is flushed to 0 changes some bits.
_SMALLEST_MARGIN = 1e-280
# Radii below it abstain.
SMALLEST_RADIUS = float(np.finfo(np.float32).tiny)


def largest_logits(logits: tf.Tensor) -> tf.Tensor:
    """Returns the classes of the largest logits, -1 where tied or where a logit is not finite.

    Args:
        logits: float64 tensor [batch, classes].

    Returns:
        int64 tensor [batch].
    """
    return tf.where(tf.reduce_any(votes_of(logits), axis=1), tf.argmax(logits, axis=1), -1)


def proven(logits: tf.Tensor, scale: MarginScale) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what logits prove, see `MarginScale.proven`.

    Args:
        logits: float64 tensor [batch, classes].
        scale: `MarginScale`.

    Returns:
        (label int64, radius float32, margin float64), tensors [batch]; -1, 0 and 0 for abstention.
    """
    label = largest_logits(logits)
    found = label >= 0
    # Logits that prove nothing are replaced, so that no NaN is computed with.
    logits = tf.where(found[:, tf.newaxis], logits, 0.0)
    place = tf.maximum(label, 0)
    pair_lipschitz = tf.constant(np.maximum(scale.pair_lipschitz, _SMALLEST))
    margins = tf.gather(logits, place, batch_dims=1)[:, tf.newaxis] - logits
    radii = _radius(margins, tf.gather(pair_lipschitz, place), scale)
    # The label is no rival of itself.
    own = tf.one_hot(place, scale.num_classes, on_value=True, off_value=False, dtype=tf.bool)
    radii = tf.where(own, tf.constant(np.inf, tf.float64), radii)
    smallest = tf.reduce_min(radii, axis=1)
    # The first of equal ones, as in NumPy.
    classes = tf.range(scale.num_classes, dtype=tf.int64)
    rivals = tf.where(radii == smallest[:, tf.newaxis], classes, scale.num_classes - 1)
    margin = tf.gather(margins, tf.reduce_min(rivals, axis=1), batch_dims=1)
    radius = graph_confidence.float32_below(tf.where(found, smallest, 0.0))
    certain = radius >= SMALLEST_RADIUS
    return (
        tf.where(certain, label, -1),
        tf.where(certain, radius, 0.0),
        tf.where(certain, margin, 0.0),
    )


def _radius(margins, pair_lipschitz, scale):
    """Returns the radii within which classes stay behind, see `MarginScale.radius`."""
    lowered = (margins * (1 - ROUNDING) - scale.loss * (1 + ROUNDING)) * (1 - ROUNDING)
    quotient = lowered / pair_lipschitz * (1 - ROUNDING)
    limit = math.nextafter(scale.largest_radius, 0.0)
    return tf.where(lowered > _SMALLEST_MARGIN, tf.minimum(quotient, limit), 0.0)
