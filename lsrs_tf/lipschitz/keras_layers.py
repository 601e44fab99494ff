"""Bounds of layers that come with Keras, but for activations and layers with several inputs."""

import math

import keras
import numpy as np

from lsrs_tf.lipschitz import activations, pooling, spectral_norm
from lsrs_tf.lipschitz.evaluation import (
    Evaluation,
    absolute_norm_of_kernel,
    added,
    chained,
    linear,
    scaled,
)
from lsrs_tf.lipschitz.layer_bound import (
    BOUNDED,
    ISOMETRIC,
    LayerBound,
    affine_interval,
    isometry,
    selection,
)
from lsrs_tf.lipschitz.linear_maps import (
    ChannelScaling,
    Convolution,
    Flattened,
    Matrix,
    Unchanged,
    fold,
)
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rounding import either_precision, product, root, round_down, round_up
from lsrs_tf.lipschitz.shapes import number_of_values

# Roundings of a factor of batch normalization: sum, inverse root, which TensorFlow may refine from
# an estimate, and product.
_FACTOR_ROUNDINGS = 16


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


@bound_rule(keras.layers.Permute, keras.layers.Reshape)
def _moves_values(*_):
    return isometry("moves values only")


@bound_rule(keras.layers.Flatten)
def _flatten(layer, input_shape):
    if None in input_shape[1:] or len(input_shape) < 2:
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


@bound_rule(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D)
def _global_max_pooling(*_):
    return selection(1.0, "largest value")


@bound_rule(keras.layers.Dense)
def _dense(layer, input_shape):
    _check_plain(layer)
    kernel = _float64(layer.kernel)
    if len(input_shape) == 2:
        linear_map = Matrix(kernel.T)
    else:
        # The same matrix at all places: a convolution with one tap.
        size = (1, math.prod(size or 1 for size in input_shape[1:-1]))
        linear_map = Convolution(kernel[np.newaxis, np.newaxis], size, (1, 1), "valid", (1, 1), 1)
    norm, smallest = spectral_norm.of_matrices(kernel)
    return _weighted(layer, input_shape, linear_map, (norm, smallest, "matrix"), kernel)


def _weighted(layer, input_shape, linear_map, norm, kernel, terms=None):
    """Bounds a layer of a linear map, a bias and an activation.

    Args:
        layer: Keras layer with `use_bias`, `bias` and `activation`.
        input_shape: tuple.
        linear_map: `LinearMap`, or None where it is not to be folded.
        norm: (bound, smallest singular value or None, method) of the linear map.
        kernel: float64 array [..., channels of a group, filters]; its absolute values bound sums.
        terms: int, the longest sum; None for the product of all but the filters.
    """
    bound, smallest, method = norm
    constant = activations.of_function(layer.activation, layer)
    shape = layer.compute_output_shape(input_shape)
    outputs = number_of_values(shape)
    groups = getattr(layer, "groups", 1)
    steps = [
        linear(
            bound,
            absolute_norm_of_kernel(kernel, groups),
            math.prod(kernel.shape[:-1]) if terms is None else terms,
            number_of_values(input_shape),
            outputs,
        )
    ]
    if layer.use_bias:
        bias = _float64(layer.bias)
        steps.append(added(math.sqrt(outputs / bias.size) * float(np.linalg.norm(bias))))
    steps.append(activations.evaluation_of_function(layer.activation, layer, shape))
    evaluation = chained(steps)
    if layer.activation in (None, keras.activations.linear):
        return LayerBound(
            bound, BOUNDED, method, smallest, evaluation=evaluation, linear_map=linear_map
        )
    return LayerBound(
        product([bound, constant]),
        BOUNDED,
        f"{method}, {layer.activation.__name__}",
        evaluation=evaluation,
        linear_map=linear_map,
        slope=constant,
    )


def _geometry(layer, input_shape):
    """Returns image size, strides, padding and dilation of a convolution, in two dimensions."""
    return (
        _pair(_known_sizes(layer, input_shape)),
        _pair(layer.strides),
        layer.padding,
        _pair(layer.dilation_rate),
    )


@bound_rule(keras.layers.Conv1D, keras.layers.Conv2D)
def _convolution(layer, input_shape):
    _check_plain(layer)
    kernel = _in_two_dimensions(_float64(layer.kernel))
    linear_map = Convolution(kernel, *_geometry(layer, input_shape), layer.groups)
    return _weighted(layer, input_shape, linear_map, linear_map.norm(), kernel)


@bound_rule(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
def _depthwise_convolution(layer, input_shape):
    _check_plain(layer)
    kernel = _in_two_dimensions(_float64(layer.kernel))
    linear_map = _depthwise_map(kernel, _geometry(layer, input_shape))
    # As one group its kernel would have columns of all filters: sums are no larger than with these.
    by_filters = linear_map.without_groups()
    return _weighted(
        layer,
        input_shape,
        linear_map,
        linear_map.norm(),
        by_filters,
        terms=math.prod(kernel.shape[:2]),
    )


def _depthwise_map(kernel, geometry):
    height, width, channels, multiplier = kernel.shape
    return Convolution(
        kernel.reshape(height, width, 1, channels * multiplier), *geometry, groups=channels
    )


@bound_rule(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
def _separable_convolution(layer, input_shape):
    _check_plain(layer)
    depthwise = _depthwise_map(
        _in_two_dimensions(_float64(layer.depthwise_kernel)), _geometry(layer, input_shape)
    )
    matrix = _float64(layer.pointwise_kernel)
    matrix = matrix.reshape(1, 1, *matrix.shape[-2:])
    pointwise = Convolution(matrix, (1, 1), (1, 1), "valid", (1, 1), 1)
    whole = fold(depthwise, pointwise)
    apart = product([depthwise.norm()[0], spectral_norm.of_matrices(matrix[0, 0])[0]])
    bound, smallest, method = whole.norm()
    if apart < bound:
        bound, smallest, method = apart, None, "depthwise times pointwise"
    # Sums of sums of absolute values: those of the product of both kernels' absolute values.
    absolute = np.abs(depthwise.without_groups()) @ np.abs(matrix[0, 0])
    terms = math.prod(depthwise.kernel.shape[:2]) + matrix.shape[2]
    return _weighted(layer, input_shape, whole, (bound, smallest, method), absolute, terms)


def _in_two_dimensions(kernel):
    return kernel if kernel.ndim == 4 else kernel[np.newaxis]


def _pair(sizes):
    # One dimension is the second of two: an image of one row.
    sizes = tuple(sizes)
    return sizes if len(sizes) == 2 else (1, *sizes)


@bound_rule(keras.layers.BatchNormalization)
def _batch_normalization(layer, input_shape):
    variance = _float64(layer.moving_variance)
    epsilon = min(layer.epsilon, float(np.float32(layer.epsilon)))
    smallest = round_down(float(np.min(variance)) + epsilon)
    if smallest <= 0:
        raise ValueError(
            f"Layer '{layer.name}' (BatchNormalization) has a variance of {np.min(variance)} and "
            f"an epsilon of {layer.epsilon}, which leave nothing to divide by."
        )
    factors = 1 / np.sqrt(variance + epsilon)
    if layer.scale:
        factors = factors * _float64(layer.gamma)
    # Roundings here, each by less than one unit in the last place.
    largest = round_up(float(np.max(np.abs(factors))) * (1 + 8 * spectral_norm.UNIT_ROUNDOFF))
    values = number_of_values(input_shape)
    # Its two constant terms may cancel each other, but not what rounding does to them.
    mean_term = _float64(layer.moving_mean) * factors
    beta = _float64(layer.beta) if layer.center else 0.0
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
        linear_map=ChannelScaling(factors, _FACTOR_ROUNDINGS) if last else None,
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
        linear_map=_scaling_of_either_precision(layer.scale, input_shape[-1]),
        interval=affine_interval(layer.scale, layer.offset),
    )


def _scaling_of_either_precision(scale, channels):
    # Keras may round the factors to float32 or not: the larger of both is folded.
    factors = np.array([np.sign(entry) * either_precision(entry) for entry in np.ravel(scale)])
    if channels is None:
        return None
    return ChannelScaling(np.broadcast_to(factors, [channels]))


@bound_rule(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
def _average_pooling(layer, input_shape):
    _check_plain(layer)
    bound = pooling.of_average_pooling(
        _known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    terms = math.prod(layer.pool_size)
    return _average(layer, input_shape, bound, terms, "matrices of averages")


@bound_rule(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
def _global_average_pooling(layer, input_shape):
    _check_plain(layer)
    pixels = math.prod(_known_sizes(layer, input_shape))
    bound = root(round_up(1 / pixels) if pixels > 1 else 1.0)
    return _average(layer, input_shape, bound, pixels, "average")


def _average(layer, input_shape, bound, terms, method):
    outputs = number_of_values(layer.compute_output_shape(input_shape))
    # Averages have no negative weights: absolute values change nothing.
    evaluation = linear(bound, bound, terms + 2, number_of_values(input_shape), outputs)
    return LayerBound(bound, BOUNDED, method, evaluation=evaluation)


@bound_rule(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D)
def _max_pooling(layer, input_shape):
    _check_plain(layer)
    bound = pooling.of_max_pooling(
        _known_sizes(layer, input_shape), layer.pool_size, layer.strides, layer.padding
    )
    return selection(bound, "windows that share a pixel")


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
