"""Small functions of batches of images, each row by itself; they run in graphs."""

import math

import tensorflow as tf


def norms(batch):
    """Returns the L2 norm of each row of a tensor [rows, ...], a tensor [rows]."""
    # One root of a sum of squares; its gradient is never asked for.
    return tf.sqrt(tf.reduce_sum(batch * batch, axis=list(range(1, batch.shape.rank))))


def columns(values, like):
    """Returns a tensor [rows] as one that multiplies batches [rows, ...] like another one."""
    return tf.reshape(values, [-1, *[1] * (like.shape.rank - 1)])


def choose(rows, where_true, where_false):
    """Returns rows of one batch where a bool tensor [rows] says so, and of another elsewhere."""
    return tf.where(columns(rows, where_true), where_true, where_false)


def normalized(batch):
    """Returns each row divided by its norm; zeros stay zeros."""
    # Divided by the largest value first, so that squares neither overflow nor vanish.
    largest = tf.reduce_max(tf.abs(batch), axis=list(range(1, batch.shape.rank)))
    scaled = tf.math.divide_no_nan(batch, columns(largest, batch))
    return tf.math.divide_no_nan(scaled, columns(norms(scaled), batch))


def shortened(batch, longest):
    """Returns each row shortened to a norm of at most `longest` [rows]."""
    # The factor is clamped, not the row: infinite lengths are allowed.
    size = norms(batch)
    factors = tf.where(size > longest, tf.math.divide_no_nan(longest, size), tf.ones_like(size))
    return batch * columns(factors, batch)


def boxed(batch):
    """Returns images with their pixels clipped to [0, 1]."""
    return tf.clip_by_value(batch, 0.0, 1.0)


def cosine(first, last, step, steps):
    """Returns a value that goes from `first` to `last` along half a cosine.

    Args:
        first: float, the value at step 0.
        last: float, the value that would be that of step `steps`.
        step: int32 scalar tensor.
        steps: int.
    """
    share = tf.cast(step, tf.float64) / steps
    return last + (first - last) * (1 + tf.cos(math.pi * share)) / 2
