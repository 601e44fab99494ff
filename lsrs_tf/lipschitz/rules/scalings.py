"""Bounds of layers with a factor for each channel."""

import math

import keras
import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import added, chained, scaled
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ISOMETRIC, LayerBound, affine_interval
from lsrs_tf.lipschitz.layer_properties import float64, number_of_values
from lsrs_tf.lipschitz.linear_maps import ChannelScaling
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, either_precision, round_down, round_up

# Roundings of a factor of batch normalization: sum, inverse root, which TensorFlow may refine from
# an estimate, and product.
_FACTOR_ROUNDINGS = 16


@bound_rule(keras.layers.BatchNormalization)
def _batch_normalization(layer, input_shape):
    variance = float64(layer.moving_variance)
    epsilon = min(layer.epsilon, float(np.float32(layer.epsilon)))
    smallest = round_down(float(np.min(variance)) + epsilon)
    if smallest <= 0:
        raise ValueError(
            f"Layer '{layer.name}' (BatchNormalization) has a variance of {np.min(variance)} and "
            f"an epsilon of {layer.epsilon}, whose sum must be above 0."
        )
    gamma = float64(layer.gamma) if layer.scale else 1.0
    factors = gamma / np.sqrt(variance + epsilon)
    # Roundings here, each by less than one unit in the last place.
    largest = round_up(float(np.max(np.abs(factors))) * (1 + 8 * UNIT_ROUNDOFF))
    values = number_of_values(input_shape)
    # Its two constant terms may cancel each other, but not what rounding does to them.
    mean_term = float64(layer.moving_mean) * factors
    beta = float64(layer.beta) if layer.center else 0.0
    repeated = math.sqrt(values / variance.size)
    magnitude = repeated * float(np.linalg.norm(np.abs(mean_term) + np.abs(beta)))
    # The epsilon may be rounded to float32.
    norm = repeated * float(np.linalg.norm(beta - mean_term)) + 1e-6 * magnitude
    last = layer.axis in (-1, len(input_shape) - 1)
    return LayerBound(
        largest,
        BOUNDED,
        "largest factor in inference",
        evaluation=chained(
            [
                scaled(largest, _FACTOR_ROUNDINGS, values),
                added(norm, _FACTOR_ROUNDINGS + 4, magnitude),
            ]
        ),
        # Neighbours may cancel: each factor is its own, not one of a smaller epsilon.
        linear_map=ChannelScaling(gamma / np.sqrt(variance + layer.epsilon), _FACTOR_ROUNDINGS)
        if last
        else None,
    )


@bound_rule(keras.layers.Rescaling)
def _rescaling(layer, input_shape):
    for name in ("scale", "offset"):
        values = np.asarray(getattr(layer, name), np.float64)
        # Anything else could repeat the input, and stretch it thereby.
        if values.ndim > 1 or values.size not in (1, input_shape[-1]):
            raise ValueError(
                f"Layer '{layer.name}' (Rescaling) needs a {name} that is one number, or one for "
                f"each channel. Received: {name} of shape {values.shape} for an input of shape "
                f"{tuple(input_shape)}"
            )
        if values.ndim and keras.config.image_data_format() != "channels_last":
            raise ValueError(
                f"Layer '{layer.name}' (Rescaling) with a {name} for each channel is bounded for "
                "keras.config.image_data_format() == 'channels_last' only."
            )
        if not np.all(np.isfinite(values)):
            raise ValueError(
                f"Layer '{layer.name}' (Rescaling) needs finite numbers. Received: {name}={values}"
            )
    scale = max(map(either_precision, np.ravel(layer.scale)))
    offsets = np.array(list(map(either_precision, np.ravel(layer.offset))))
    values = number_of_values(input_shape)
    offset = math.sqrt(values / offsets.size) * float(np.linalg.norm(offsets))
    return LayerBound(
        scale,
        BOUNDED,
        "largest factor",
        evaluation=chained([scaled(scale, 2, values), added(offset)]),
        linear_map=_scaling_as_frozen(layer.scale, input_shape[-1]),
        interval=affine_interval(layer.scale, layer.offset),
    )


def _scaling_as_frozen(scale, channels):
    # The very factors of a float64 layer: neighbours may cancel, so that larger ones prove nothing.
    factors = np.ravel(keras.ops.convert_to_numpy(keras.ops.cast(scale, "float64")))
    return None if channels is None else ChannelScaling(np.broadcast_to(factors, [channels]))


@bound_rule(layers.Standardization)
def _standardization(layer, input_shape):
    smallest, largest = float(np.min(layer.std)), float(np.max(layer.std))
    values = number_of_values(input_shape)
    mean, std = np.broadcast_arrays(layer.mean, layer.std)
    shift = math.sqrt(values / mean.size) * float(np.linalg.norm(mean))
    bound = 1.0 if smallest == 1.0 else round_up(1.0 / smallest)
    evaluation = added(shift)
    if not smallest == largest == 1.0:
        evaluation = evaluation.then(scaled(bound, 2, values))
    details = {
        "evaluation": evaluation,
        "linear_map": ChannelScaling(np.broadcast_to(1 / std, [input_shape[-1]]), 1),
        "interval": affine_interval(1 / std, -mean / std),
    }
    if smallest == largest == 1.0:
        return LayerBound(1.0, ISOMETRIC, "moves all values alike", 1.0, **details)
    return LayerBound(bound, BOUNDED, "1 / min(std)", 1.0 / largest, **details)


@bound_rule(keras.layers.Normalization)
def _normalization(layer, input_shape):
    if any(axis % len(input_shape) == 0 for axis in layer.axis):
        raise ValueError(
            f"Layer '{layer.name}' (Normalization) has statistics for each image of a batch, so "
            f"that its outputs belong to no single image. Received: axis={layer.axis}."
        )
    means, variances = _statistics(layer)
    epsilons = keras.config.epsilon(), float(np.float32(keras.config.epsilon()))
    if not (np.all(np.isfinite(means)) and np.all(np.isfinite(variances))) or (
        np.min(variances) < 0 or max(np.min(variances), min(epsilons)) <= 0
    ):
        raise ValueError(
            f"Layer '{layer.name}' (Normalization) needs finite means, and variances that leave "
            f"something to divide by. Received: mean={means[0]}, variance={variances[0]}."
        )
    smallest = max(round_down(math.sqrt(np.min(variances))), min(epsilons))
    largest = max(round_up(math.sqrt(np.max(variances))), max(epsilons))
    values = number_of_values(input_shape)
    shift = added(math.sqrt(values / means[0].size) * float(np.linalg.norm(abs(means).max(axis=0))))
    divisors = np.maximum(np.sqrt(variances[-1]), max(epsilons))
    factors, shifts = 1 / divisors, -means[-1] / divisors
    bound = round_up(1 / smallest)
    steps = [shift, scaled(bound, 4, values)]
    if layer.invert:
        factors, shifts, bound = divisors, means[-1], largest
        steps = [scaled(bound, 4, values), shift]
    channels = input_shape[-1]
    # Where the versions differ, that of float32 may be off from the other by 2^-24.
    roundings = 8 if np.array_equal(variances[0], variances[-1]) else 2**30
    by_channel = all(axis % len(input_shape) == len(input_shape) - 1 for axis in layer.axis)
    return LayerBound(
        bound,
        BOUNDED,
        "largest deviation" if layer.invert else "1 / smallest deviation",
        evaluation=chained(steps),
        linear_map=ChannelScaling(np.broadcast_to(factors, [channels]), roundings)
        if by_channel and channels is not None and max(epsilons) < smallest
        else None,
        interval=affine_interval(factors, shifts),
    )


def _statistics(layer):
    """Returns means and variances of a `Normalization`, float64 arrays [versions, statistics].

    Those that were given are rounded to float32 where the layer is frozen, in some versions of
    Keras, and not before: both are returned, and the frozen ones are last.
    """
    if layer.input_mean is None:
        given = [float64(layer.adapt_mean), float64(layer.adapt_variance)]
        return [values.reshape(1, -1) for values in given]
    given = [np.ravel(np.asarray(v, np.float64)) for v in (layer.input_mean, layer.input_variance)]
    with np.errstate(over="ignore"):
        return [np.stack([values, values.astype(np.float32)]) for values in given]
