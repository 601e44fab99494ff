"""Weights with which convolutions begin near the identity, see `begin_near_identity`."""

import numpy as np
import tensorflow as tf

from lsrs_tf.numerics.spectrum import centre_of_kernel

# What remains of a trained gain.
GAIN_SHARE = 0.2
# Sum of the absolute values of the noise of any channel. Noise keeps absolute values away from
# their kinks, and weights that begin alike from staying alike; what it takes from the distances of
# images is lost in every layer of a chain ('aol' loses most: 1 % to 2 % in a layer).
NOISE = 0.02


def assign_centre(kernel, matrix):
    """Assigns a kernel that is a matrix at its centre, and elsewhere what it was, scaled to noise.

    All taps have noise, and `matrix` is added to that of the central one. For every input and every
    output channel the sum of the absolute values of the noise is at most `NOISE`. By Schur's test
    (the norm of a matrix is at most the root of its largest sums over rows and over columns) that
    bounds the norm of the noise at every frequency, too.

    Args:
        kernel: variable [kernel_height, kernel_width, channels, filters].
        matrix: float array [channels, filters].
    """
    size = tf.abs(tf.convert_to_tensor(kernel))
    sums = tf.concat([tf.reduce_sum(size, (0, 1, 2)), tf.reduce_sum(size, (0, 1, 3))], axis=0)
    # A kernel of zeros has no noise.
    noise = kernel * tf.math.divide_no_nan(tf.cast(NOISE, size.dtype), tf.reduce_max(sums))
    centre = np.zeros(kernel.shape)
    centre[centre_of_kernel(*kernel.shape[:2])] = matrix
    kernel.assign(tf.cast(centre, size.dtype) + noise)


def differences_in_pairs(channels, count):
    """Returns vectors whose reflection exchanges the two channels of a pair.

    Column k is the second minus the first channel of pair k, the pairs of `GroupSort()`; columns
    beyond the pairs are zeros.

    Args:
        channels: int.
        count: int, the number of columns.

    Returns:
        Array [channels, count].

    Examples:
        >>> differences_in_pairs(4, 2).T
        array([[-1.,  1.,  0.,  0.],
               [ 0.,  0., -1.,  1.]])
    """
    differences = np.zeros((channels, count))
    pairs = np.arange(min(channels // 2, count))
    differences[2 * pairs, pairs] = -1
    differences[2 * pairs + 1, pairs] = 1
    return differences
