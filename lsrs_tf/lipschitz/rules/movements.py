"""Bounds of layers that move, select, repeat or keep values."""

import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import Evaluation, linear
from lsrs_tf.lipschitz.layer_bound import ISOMETRIC, LayerBound, isometry, selection
from lsrs_tf.lipschitz.layer_properties import number_of_values
from lsrs_tf.lipschitz.linear_maps import Flattened, Unchanged
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, root, round_up


@bound_rule(keras.layers.Permute, keras.layers.Reshape)
def _moves_values(*_):
    return isometry("moves values only")


@bound_rule(keras.layers.Flatten)
def _flatten(layer, input_shape):
    # Channels first are moved behind the pixels: another order than that of the values.
    if layer.data_format != "channels_last" or None in input_shape[1:] or len(input_shape) < 2:
        return isometry("moves values only")
    return LayerBound(
        1.0,
        ISOMETRIC,
        "moves values only",
        1.0,
        evaluation=Evaluation(),
        linear_map=Flattened(number_of_values(input_shape), input_shape[-1]),
        interval=lambda low, high: (low, high),
    )


@bound_rule(
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
)
def _inference(*_):
    return LayerBound(
        1.0,
        ISOMETRIC,
        "identity in inference",
        1.0,
        evaluation=Evaluation(),
        linear_map=Unchanged(),
        interval=lambda low, high: (low, high),
    )


@bound_rule(keras.layers.Cropping1D, keras.layers.Cropping2D)
def _cropping(*_):
    return selection(1.0, "leaves values out")


@bound_rule(keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)
def _zero_padding(*_):
    return selection(1.0, "adds zeros")


def _repeated(layer, count):
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) is bounded for "
            f"interpolation='nearest' only. Received: {layer.interpolation!r}"
        )
    return selection(root(float(count)), "repetitions")


@bound_rule(keras.layers.RepeatVector)
def _repeat_vector(layer, _):
    return _repeated(layer, layer.n)


@bound_rule(keras.layers.UpSampling1D)
def _upsampling_of_rows(layer, _):
    return _repeated(layer, layer.size)


@bound_rule(keras.layers.UpSampling2D)
def _upsampling_of_images(layer, _):
    return _repeated(layer, math.prod(layer.size))


@bound_rule(layers.GroupSort)
def _group_sort(*_):
    return isometry("sorting")


@bound_rule(layers.InvertibleDownsampling)
def _invertible_downsampling(*_):
    return isometry("moves values only")


@bound_rule(layers.HouseholderActivation)
def _householder(layer, input_shape):
    # The exact layer is that of the vectors as they are computed, (sin(t / 2), -cos(t / 2)).
    half = tf.cast(layer.angle, "float64") / 2
    squares = (tf.sin(half) ** 2 + tf.cos(half) ** 2).numpy()
    excess = float(np.max(np.abs(squares - 1))) + 8 * UNIT_ROUNDOFF
    # A mirror of a vector v stretches by at most max(1, 2 v*v - 1).
    bound = round_up(1 + 2 * excess)
    return LayerBound(
        bound,
        ISOMETRIC,
        "identity or reflection",
        1.0,
        # Each value is a sum of a few products, whose absolute values have at most 3 times the
        # norm of a pair.
        evaluation=linear(bound, 5.0, 8, *[number_of_values(input_shape)] * 2),
    )
