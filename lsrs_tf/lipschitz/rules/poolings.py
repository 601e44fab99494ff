"""Bounds of the poolings of Keras."""

import math

import keras

from lsrs_tf.lipschitz import pooling
from lsrs_tf.lipschitz.evaluation import linear
from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound, selection
from lsrs_tf.lipschitz.layer_properties import check_plain, known_sizes, number_of_values
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics.rounding import root, round_up


@bound_rule(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D)
def _global_max_pooling(*_):
    return selection(1.0, "largest value")


@bound_rule(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
def _average_pooling(layer, input_shape):
    check_plain(layer)
    bound = pooling.of_average_pooling(
        known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    terms = math.prod(layer.pool_size)
    return _average(layer, input_shape, bound, terms, "matrices of averages")


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
    bound = pooling.of_max_pooling(
        known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    return selection(bound, "windows that share a pixel")
