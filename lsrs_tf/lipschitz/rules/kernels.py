"""Bounds of dense layers, and of the convolutions of Keras, with their activations."""

import math

import keras
import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz import convolutions
from lsrs_tf.lipschitz.evaluation import (
    absolute_norm_of_kernel,
    absolute_norm_of_matrices,
    added,
    chained,
    linear,
)
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ORTHOGONAL, LayerBound
from lsrs_tf.lipschitz.layer_properties import (
    check_plain,
    float64,
    known_sizes,
    number_of_values,
)
from lsrs_tf.lipschitz.linear_maps import Convolution, Matrix, fold
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rules import activations
from lsrs_tf.lipschitz.rules.spectra import NEARLY_ORTHOGONAL
from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import product


@bound_rule(keras.layers.Dense)
def _dense(layer, input_shape):
    check_plain(layer)
    kernel = float64(layer.kernel)
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
        bias = float64(layer.bias)
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
        _pair(known_sizes(layer, input_shape)),
        _pair(layer.strides),
        layer.padding,
        _pair(layer.dilation_rate),
    )


@bound_rule(keras.layers.Conv1D, keras.layers.Conv2D)
def _convolution(layer, input_shape):
    check_plain(layer)
    kernel = _in_two_dimensions(float64(layer.kernel))
    linear_map = Convolution(kernel, *_geometry(layer, input_shape), layer.groups)
    return _weighted(layer, input_shape, linear_map, linear_map.norm(), kernel)


@bound_rule(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
def _depthwise_convolution(layer, input_shape):
    check_plain(layer)
    kernel = _in_two_dimensions(float64(layer.kernel))
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
    check_plain(layer)
    depthwise = _depthwise_map(
        _in_two_dimensions(float64(layer.depthwise_kernel)), _geometry(layer, input_shape)
    )
    matrix = float64(layer.pointwise_kernel)
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


@bound_rule(keras.layers.Conv2DTranspose)
def _transposed_convolution(layer, input_shape):
    check_plain(layer)
    image_size = known_sizes(layer, input_shape)
    output_size = tuple(layer.compute_output_shape(input_shape)[1:3])
    sizes = zip(image_size, output_size, layer.kernel_size, layer.strides, strict=True)
    # It is the transpose of a convolution of images of its output size.
    if tuple(layer.dilation_rate) != (1, 1) or not all(
        convolutions.number_of_windows(out, taps, stride, layer.padding) == size
        for size, out, taps, stride in sizes
    ):
        raise ValueError(
            f"Layer '{layer.name}' (Conv2DTranspose) is bounded without dilation, and where it is "
            f"the transpose of a convolution from {output_size} to {image_size} pixels. Received: "
            f"strides={layer.strides}, padding={layer.padding!r}, output_padding="
            f"{layer.output_padding}, dilation_rate={layer.dilation_rate}. Leave `output_padding` "
            "out."
        )
    # [height, width, filters, channels]: channels are the outputs of that convolution.
    kernel = float64(layer.kernel)
    convolution = Convolution(kernel, output_size, tuple(layer.strides), layer.padding, (1, 1), 1)
    # A matrix [outputs, inputs] of the convolution, and so [inputs, outputs] of its transpose.
    matrix = convolution.matrix()
    linear_map = None if matrix is None else Matrix(matrix.values.T)
    terms = math.prod(kernel.shape[:2]) * kernel.shape[3]
    return _weighted(layer, input_shape, linear_map, convolution.norm(), kernel, terms)


def _in_two_dimensions(kernel):
    return kernel if kernel.ndim == 4 else kernel[np.newaxis]


def _pair(sizes):
    # One dimension is the second of two: an image of one row.
    sizes = tuple(sizes)
    return sizes if len(sizes) == 2 else (1, *sizes)


@bound_rule(layers.ExponentialDense, layers.OrthogonalDense)
def _orthogonal_dense(layer, input_shape):
    kernel = layer.matrix("float64").numpy()
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    return _matrix(layer, input_shape, kernel, (bound, smallest, ORTHOGONAL))


@bound_rule(layers.BjorckDense, layers.SpectralDense)
def _normalized_dense(layer, input_shape):
    kernel = layer.matrix("float64").numpy()
    return _matrix(layer, input_shape, kernel, (*spectral_norm.of_matrices(kernel), BOUNDED))


@bound_rule(layers.FixedDense)
def _fixed_dense(layer, input_shape):
    kernel = float64(layer.kernel)
    kind = ORTHOGONAL
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    if not bound <= 1 + NEARLY_ORTHOGONAL:
        kind = BOUNDED
        bound, smallest = spectral_norm.of_matrices(kernel)
    return _matrix(layer, input_shape, kernel, (bound, smallest, kind))


def _matrix(layer, input_shape, kernel, norm):
    """Bounds a layer of ours that is a matrix and a bias; norm: (bound, smallest, kind)."""
    bound, smallest, kind = norm
    method = "distance from orthogonality" if kind == ORTHOGONAL else "matrix"
    evaluation = _dense_evaluation(layer, input_shape, bound, kernel)
    return LayerBound(bound, kind, method, smallest, evaluation=evaluation)


def _dense_evaluation(layer, input_shape, bound, kernel):
    inputs = number_of_values(input_shape)
    outputs = number_of_values(layer.compute_output_shape(input_shape))
    product_with_kernel = linear(
        bound, absolute_norm_of_matrices(kernel), kernel.shape[0], inputs, outputs
    )
    if not layer.use_bias:
        return product_with_kernel
    repeated = math.sqrt(outputs / layer.units)
    return product_with_kernel.then(added(repeated * float(np.linalg.norm(float64(layer.bias)))))
