"""Norms of poolings, from what they do along each dimension."""

import math

import numpy as np

from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import product, root


def of_average_pooling(image_size, pool_size, strides, padding):
    """Bounds the norm of an average pooling.

    Averages along each dimension, by numbers of pixels that do not count the padding, factor:
    the norm is the product of the norms along the dimensions.

    Args:
        image_size: tuple of ints, the size in pixels along each dimension.
        pool_size: tuple of ints.
        strides: tuple of ints.
        padding: 'valid' or 'same'.
    """
    norms = []
    for windows in map(_windows, image_size, pool_size, strides, [padding] * len(strides)):
        matrix = windows / windows.sum(axis=1, keepdims=True)
        norms.append(spectral_norm.of_matrices(matrix)[0])
    return product(norms)


def of_max_pooling(image_size, pool_size, strides, padding):
    """Bounds the Lipschitz constant of a max pooling by the windows that may share a pixel.

    The squared distance of the maxima of a window is at most the squared distance of two images
    in it, so that the sum over windows counts each pixel as often as windows contain it.
    Without overlap the constant is 1.
    """
    shared = [
        int(windows.sum(axis=0).max())
        for windows in map(_windows, image_size, pool_size, strides, [padding] * len(strides))
    ]
    return root(float(math.prod(shared)))


def _windows(size, pool, stride, padding):
    """Returns which pixels each window holds, a float64 matrix [windows, size] of 0 and 1."""
    if padding == "same":
        count = -(-size // stride)
        first = -(max((count - 1) * stride + pool - size, 0) // 2)
    else:
        count, first = (size - pool) // stride + 1, 0
    starts = first + stride * np.arange(count)[:, np.newaxis]
    pixels = np.arange(size)
    return ((pixels >= starts) & (pixels < starts + pool)).astype(np.float64)
