"""Bounds of layers that come with Keras; see `KERAS_RULES`."""

import math

import keras
import numpy as np

from lsrs_tf.lipschitz import activations, convolutions, pooling, spectral_norm
from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound, isometry
from lsrs_tf.lipschitz.rounding import either_precision, product, root, round_down, round_up


def _moves_values(*_):
    return isometry("moves values only")


def _inference(*_):
    return isometry("identity in inference")


def _one(method):
    return lambda *_: LayerBound(1.0, BOUNDED, method)


def _float64(weight):
    return keras.ops.convert_to_numpy(weight).astype(np.float64)


def _check_plain(layer):
    for name in ("lora_enabled", "quantization_mode"):
        if getattr(layer, name, None):
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) has {name}="
                f"{getattr(layer, name)!r}, which changes its kernel in ways that no bound here "
                "covers. Merge it into a plain layer first."
            )
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has data_format='channels_first'; only "
            "'channels_last' is bounded. Build it with data_format='channels_last'."
        )


def _known_sizes(layer, input_shape):
    sizes = tuple(input_shape[1:-1])
    if None in (*sizes, input_shape[-1]):
        raise ValueError(
            f"The bound of layer '{layer.name}' ({type(layer).__name__}) depends on the size of "
            f"its input, which is unknown. Received: input_shape={tuple(input_shape)}. Give the "
            "sizes to `keras.Input`."
        )
    return tuple(map(int, sizes))


def _with_activation(layer, bound, smallest, method):
    constant = activations.of_function(layer.activation, layer)
    if layer.activation in (None, keras.activations.linear):
        return LayerBound(bound, BOUNDED, method, smallest)
    return LayerBound(product([bound, constant]), BOUNDED, f"{method}, {layer.activation.__name__}")


def _dense(layer, _):
    _check_plain(layer)
    bound, smallest = spectral_norm.of_matrices(_float64(layer.kernel))
    return _with_activation(layer, bound, smallest, "matrix")


def _geometry(layer, input_shape):
    """Returns image size, strides, padding and dilation of a convolution, in two dimensions."""
    return (
        _pair(_known_sizes(layer, input_shape)),
        _pair(layer.strides),
        layer.padding,
        _pair(layer.dilation_rate),
    )


def _convolution(layer, input_shape):
    _check_plain(layer)
    kernel = _in_two_dimensions(_float64(layer.kernel))
    bound, smallest, method = convolutions.of_convolution(
        kernel, *_geometry(layer, input_shape), layer.groups
    )
    return _with_activation(layer, bound, smallest, method)


def _depthwise_convolution(layer, input_shape):
    _check_plain(layer)
    kernel = _in_two_dimensions(_float64(layer.kernel))
    bound, smallest, method = convolutions.of_depthwise_convolution(
        kernel, *_geometry(layer, input_shape)
    )
    return _with_activation(layer, bound, smallest, method)


def _separable_convolution(layer, input_shape):
    _check_plain(layer)
    kernel = _in_two_dimensions(_float64(layer.depthwise_kernel))
    depthwise, _, method = convolutions.of_depthwise_convolution(
        kernel, *_geometry(layer, input_shape)
    )
    pointwise = _float64(layer.pointwise_kernel)
    pointwise, _ = spectral_norm.of_matrices(pointwise.reshape(pointwise.shape[-2:]))
    return _with_activation(layer, product([depthwise, pointwise]), None, method)


def _in_two_dimensions(kernel):
    return kernel if kernel.ndim == 4 else kernel[np.newaxis]


def _pair(sizes):
    # One dimension is the second of two: an image of one row.
    sizes = tuple(sizes)
    return sizes if len(sizes) == 2 else (1, *sizes)


def _batch_normalization(layer, _):
    variance = _float64(layer.moving_variance)
    epsilon = min(layer.epsilon, float(np.float32(layer.epsilon)))
    smallest = round_down(float(np.min(variance)) + epsilon)
    if smallest <= 0:
        raise ValueError(
            f"Layer '{layer.name}' (BatchNormalization) has a variance of {np.min(variance)} and "
            f"an epsilon of {layer.epsilon}, which leave nothing to divide by."
        )
    deviations = np.sqrt(variance + epsilon)
    gamma = np.abs(_float64(layer.gamma)) if layer.scale else np.ones_like(deviations)
    # Three roundings, each by less than one unit in the last place.
    factor = float(np.max(gamma / deviations)) * (1 + 8 * spectral_norm.UNIT_ROUNDOFF)
    return LayerBound(round_up(factor), BOUNDED, "largest factor in inference")


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
    return LayerBound(scale, BOUNDED, "largest factor")


def _average_pooling(layer, input_shape):
    _check_plain(layer)
    bound = pooling.of_average_pooling(
        _known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    return LayerBound(bound, BOUNDED, "matrices of averages")


def _max_pooling(layer, input_shape):
    _check_plain(layer)
    bound = pooling.of_max_pooling(
        _known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    return LayerBound(bound, BOUNDED, "windows that share a pixel")


def _global_average_pooling(layer, input_shape):
    _check_plain(layer)
    pixels = math.prod(_known_sizes(layer, input_shape))
    return LayerBound(root(round_up(1 / pixels) if pixels > 1 else 1.0), BOUNDED, "average")


def _repetition(count):
    def rule(layer, _):
        if getattr(layer, "interpolation", "nearest") != "nearest":
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) is bounded for "
                f"interpolation='nearest' only. Received: {layer.interpolation!r}"
            )
        return LayerBound(root(float(count(layer))), BOUNDED, "repetitions")

    return rule


KERAS_RULES = {
    keras.layers.Activation: activations.of_activation,
    keras.layers.ActivityRegularization: _inference,
    keras.layers.AveragePooling1D: _average_pooling,
    keras.layers.AveragePooling2D: _average_pooling,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Conv1D: _convolution,
    keras.layers.Conv2D: _convolution,
    keras.layers.Cropping1D: _one("leaves values out"),
    keras.layers.Cropping2D: _one("leaves values out"),
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv1D: _depthwise_convolution,
    keras.layers.DepthwiseConv2D: _depthwise_convolution,
    keras.layers.Dropout: _inference,
    keras.layers.ELU: activations.of_elu,
    keras.layers.Flatten: _moves_values,
    keras.layers.GaussianDropout: _inference,
    keras.layers.GaussianNoise: _inference,
    keras.layers.GlobalAveragePooling1D: _global_average_pooling,
    keras.layers.GlobalAveragePooling2D: _global_average_pooling,
    keras.layers.GlobalMaxPooling1D: _one("largest value"),
    keras.layers.GlobalMaxPooling2D: _one("largest value"),
    keras.layers.Identity: _inference,
    keras.layers.InputLayer: _inference,
    keras.layers.LeakyReLU: activations.of_leaky_relu,
    keras.layers.MaxPooling1D: _max_pooling,
    keras.layers.MaxPooling2D: _max_pooling,
    keras.layers.PReLU: activations.of_prelu,
    keras.layers.Permute: _moves_values,
    keras.layers.ReLU: activations.of_relu,
    keras.layers.RepeatVector: _repetition(lambda layer: layer.n),
    keras.layers.Rescaling: _rescaling,
    keras.layers.Reshape: _moves_values,
    keras.layers.SeparableConv1D: _separable_convolution,
    keras.layers.SeparableConv2D: _separable_convolution,
    keras.layers.Softmax: activations.of_softmax,
    keras.layers.SpatialDropout1D: _inference,
    keras.layers.SpatialDropout2D: _inference,
    keras.layers.UpSampling1D: _repetition(lambda layer: layer.size),
    keras.layers.UpSampling2D: _repetition(lambda layer: math.prod(layer.size)),
    keras.layers.ZeroPadding1D: _one("adds zeros"),
    keras.layers.ZeroPadding2D: _one("adds zeros"),
}
