"""Bounds of poolings."""

import math

import keras
import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import linear
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ORTHOGONAL, LayerBound, selection
from lsrs_tf.lipschitz.layer_properties import check_plain, known_sizes, number_of_values
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import product, root, round_up


@bound_rule(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D)
def _global_max_pooling(*_):
    return selection(1.0, "largest value")


@bound_rule(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
def _average_pooling(layer, input_shape):
    check_plain(layer)
    bound = norm_of_average_pooling(
        known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    terms = math.prod(layer.pool_size)
    return _average(layer, input_shape, bound, terms, "matrices of averages")


@bound_rule(layers.ScaledAveragePooling2D)
def _scaled_average_pooling(layer, input_shape):
    pixels = math.prod(layer.pool_size)
    # Of orthonormal rows, but for the rounding of the root; that of a square number is exact.
    exact, divisor = root(float(pixels)), math.sqrt(pixels)
    bound = 1.0 if exact == divisor else round_up(exact / divisor)
    values = [
        number_of_values(shape) for shape in (input_shape, layer.compute_output_shape(input_shape))
    ]
    return LayerBound(
        bound,
        ORTHOGONAL,
        "sums of windows by the root of their size",
        1.0,
        evaluation=linear(bound, bound, pixels + 4, *values),
    )


@bound_rule(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
def _global_average_pooling(layer, input_shape):
    check_plain(layer)
    pixels = math.prod(known_sizes(layer, input_shape))
    bound = root(round_up(1 / pixels) if pixels > 1 else 1.0)
    return _average(layer, input_shape, bound, pixels, "average")


def _average(layer, input_shape, bound, terms, method):
    outputs = number_of_values(layer.compute_output_shape(input_shape))
    # Averages have no negative weights: absolute values change nothing.
    evaluation = linear(bound, bound, terms + 2, number_of_values(input_shape), outputs)
    return LayerBound(bound, BOUNDED, method, evaluation=evaluation)


@bound_rule(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D)
def _max_pooling(layer, input_shape):
    check_plain(layer)
    bound = norm_of_max_pooling(
        known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    return selection(bound, "windows that share a pixel")


def norm_of_average_pooling(image_size, pool_size, strides, padding):
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


def norm_of_max_pooling(image_size, pool_size, strides, padding):
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
