"""Evaluates rows of a batch in groups of one size, so that no row depends on its batch.

The kernels of a matrix product sum in an order that depends on the sizes of the matrices, and for
the last rows of one on their place: the same image would have other last bits in another batch. In
groups of four, each of which is filled up, sizes never change. Four numbers of float64 are what
TensorFlow's kernels for a CPU treat as one, so that all rows of a group are summed alike; eight are
not always. That this holds for a network on this machine is checked, and otherwise every row is a
group of its own.
"""

import numpy as np
import tensorflow as tf

ROWS = 4


def rows_together(evaluate, image_shape):
    """Returns the rows of a group: `ROWS`, or 1 if their place or the other rows change a bit.

    Args:
        evaluate: function of a float32 tensor [rows, *image_shape], what is to be evaluated, row
            by row; it must be able to run in a graph.
        image_shape: tuple.

    Returns:
        int.
    """
    evaluated = tf.function(evaluate, autograph=False).get_concrete_function(
        tf.TensorSpec([ROWS, *image_shape], tf.float32)
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(ROWS, *image_shape)).astype(np.float32)
    expected = evaluated(tf.constant(images)).numpy()
    for shift in range(ROWS):
        moved = evaluated(tf.constant(np.roll(images, shift, axis=0))).numpy()
        if not np.array_equal(moved, np.roll(expected, shift, axis=0), equal_nan=True):
            return 1
        alone = np.zeros_like(images)
        alone[shift] = images[shift]
        found = evaluated(tf.constant(alone)).numpy()[shift]
        if not np.array_equal(found, expected[shift], equal_nan=True):
            return 1
    return ROWS


def evaluated_in_groups(evaluate, images, rows, num_outputs):
    """Evaluates images in groups, for use in a graph.

    Args:
        evaluate: function of a float32 tensor [rows, *image_shape].
        images: float32 tensor [batch, *image_shape]; the batch may be empty.
        rows: int, see `rows_together`.
        num_outputs: int.

    Returns:
        float64 tensor [batch, num_outputs].
    """
    image_shape = images.shape[1:]
    count = tf.shape(images)[0]
    groups = (count + rows - 1) // rows
    paddings = [[0, groups * rows - count], *[[0, 0]] * len(image_shape)]
    grouped = tf.reshape(tf.pad(images, paddings), [groups, rows, *image_shape])
    values = tf.map_fn(
        evaluate,
        grouped,
        fn_output_signature=tf.TensorSpec([rows, num_outputs], tf.float64),
        parallel_iterations=1,
    )
    return tf.reshape(values, [groups * rows, num_outputs])[:count]
