"""Lipschitz constants of the activation functions of Keras."""

import math

import keras

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import Evaluation, function, gamma
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ISOMETRIC, LayerBound
from lsrs_tf.lipschitz.layer_properties import number_of_values
from lsrs_tf.lipschitz.linear_maps import Unchanged
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, either_precision

# The largest absolute slope of each function, rounded up. Those of `gelu`, `silu` and `mish` are
# above 1. Functions that jump, or whose slope has no bound (`exponential`, say), are not here.
CONSTANTS = {
    "celu": 1.0,
    "elu": 1.0,
    "gelu": 1.12905,
    "hard_sigmoid": 0.16667,
    "hard_silu": 1.5,
    "hard_tanh": 1.0,
    "leaky_relu": 1.0,
    "linear": 1.0,
    "log_sigmoid": 1.0,
    "mish": 1.0891,
    "relu": 1.0,
    "relu6": 1.0,
    "selu": 1.7581,
    "sigmoid": 0.25,
    "silu": 1.09985,
    "soft_shrink": 1.0,
    # The Jacobian diag(p) - pp* has absolute row sums of 2 p (1 - p), at most a half.
    "softmax": 0.5,
    "softplus": 1.0,
    "softsign": 1.0,
    "squareplus": 1.0,
    "tanh": 1.0,
    "tanh_shrink": 1.0,
}
# Functions that only select their input or a constant, so that nothing is rounded.
_EXACT = ("hard_tanh", "linear", "relu", "relu6")
# No function is farther than this from zero at zero.
_LARGEST_AT_ZERO = 1.0
# Functions are off by at most so many roundings of 1 + slope * abs(x). In float64 TensorFlow's
# elementary functions are accurate to a few units in the last place; tests compare all of them.
_ROUNDINGS = 64
# An exponent is off by a rounding of itself, of which the exponential leaves at most exp(-1).
_SOFTMAX_ROUNDINGS = 64


def evaluation_of_function(activation, layer, shape):
    """Returns the `Evaluation` of a layer's activation function.

    Args:
        activation: a function of `keras.activations` that `of_function` knows, or None.
        layer: the layer that uses it, for the message.
        shape: tuple with the batch dimension, the shape of its input.
    """
    slope = of_function(activation, layer)
    if activation is None or activation is keras.activations.linear:
        return Evaluation()
    if activation is keras.activations.softmax:
        return _softmax_evaluation(shape, (-1,))
    exact = any(activation is getattr(keras.activations, name) for name in _EXACT)
    return function(
        slope,
        0.0 if exact else _LARGEST_AT_ZERO,
        number_of_values(shape),
        0 if exact else _ROUNDINGS,
    )


def _softmax_evaluation(shape, axes):
    # Each group of probabilities has a norm of at most 1; the sum is as long as the group.
    length = math.prod(shape[axis] or math.inf for axis in axes)
    root = math.sqrt(number_of_values(shape) / length)
    error = (length + _SOFTMAX_ROUNDINGS) * UNIT_ROUNDOFF * root
    # Over several axes Keras subtracts the logarithm of the sum, which is rounded by its own size:
    # that of the largest value of the group.
    relative = 8 * UNIT_ROUNDOFF if len(axes) > 1 else 0.0
    return Evaluation(
        lipschitz=CONSTANTS["softmax"], offset=root, relative=relative, absolute=error
    )


def of_function(activation, layer):
    """Returns the Lipschitz constant of a layer's activation function.

    Args:
        activation: a function of `keras.activations`, or None.
        layer: the layer that uses it, for the message.

    Raises:
        ValueError: if the function is another one.
    """
    if activation is None:
        return 1.0
    for name, constant in CONSTANTS.items():
        if activation is getattr(keras.activations, name, None):
            return constant
    raise ValueError(
        f"No Lipschitz bound is known for the activation of layer '{layer.name}'. "
        f"Received: {getattr(activation, '__name__', activation)!r}. "
        "Use another of keras.activations, such as relu, elu, tanh or softplus."
    )


@bound_rule(keras.layers.Activation)
def _activation(layer, input_shape):
    constant = of_function(layer.activation, layer)
    evaluation = evaluation_of_function(layer.activation, layer, input_shape)
    if layer.activation is keras.activations.linear:
        return LayerBound(
            1.0, ISOMETRIC, "identity", 1.0, evaluation=evaluation, linear_map=Unchanged()
        )
    return LayerBound(constant, BOUNDED, "largest slope", evaluation=evaluation)


def _slope(layer, name):
    """Returns the size of a number of the layer's configuration, or raises if it is none."""
    slope = either_precision(getattr(layer, name))
    if not math.isfinite(slope):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) needs a finite {name}. "
            f"Received: {name}={getattr(layer, name)!r}"
        )
    return slope


def _with_slope(slope, input_shape):
    """Bounds a function of each value that is 0 at 0."""
    constant = max(1.0, slope)
    evaluation = function(constant, 0.0, number_of_values(input_shape), _ROUNDINGS)
    return LayerBound(constant, BOUNDED, "largest slope", evaluation=evaluation)


@bound_rule(keras.layers.ReLU)
def _relu(layer, input_shape):
    if layer.max_value is not None:
        _slope(layer, "max_value")
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' (ReLU) jumps at its threshold, so that it has no Lipschitz "
            f"constant. Received: threshold={layer.threshold}. Use a threshold of 0."
        )
    slope = _slope(layer, "negative_slope")
    if slope == 0:
        return LayerBound(1.0, BOUNDED, "largest slope", evaluation=Evaluation())
    return _with_slope(slope, input_shape)


@bound_rule(keras.layers.LeakyReLU)
def _leaky_relu(layer, input_shape):
    return _with_slope(_slope(layer, "negative_slope"), input_shape)


@bound_rule(keras.layers.PReLU)
def _prelu(layer, input_shape):
    # It must not repeat its input to the size of its slopes.
    sizes = zip(layer.alpha.shape, input_shape[1:], strict=True)
    if any(slopes not in (1, size) for slopes, size in sizes):
        raise ValueError(
            f"Layer '{layer.name}' (PReLU) has slopes of shape {tuple(layer.alpha.shape)} for "
            f"inputs of another shape. Received: {tuple(input_shape)}. Use one layer for each."
        )
    return _with_slope(float(abs(keras.ops.convert_to_numpy(layer.alpha)).max()), input_shape)


@bound_rule(keras.layers.ELU)
def _elu(layer, input_shape):
    return _with_slope(_slope(layer, "alpha"), input_shape)


@bound_rule(keras.layers.Softmax)
def _softmax(layer, input_shape):
    axes = layer.axis if isinstance(layer.axis, list | tuple) else (layer.axis,)
    if any(axis is None or axis % len(input_shape) == 0 for axis in axes):
        raise ValueError(
            f"Layer '{layer.name}' (Softmax) runs along the batch, so that its outputs belong to "
            f"no single image. Received: axis={layer.axis}. Use another axis."
        )
    evaluation = _softmax_evaluation(input_shape, axes)
    return LayerBound(CONSTANTS["softmax"], BOUNDED, "largest slope", evaluation=evaluation)


@bound_rule(layers.Sparsemax)
def _sparsemax(layer, input_shape):
    classes = input_shape[-1]
    vectors = number_of_values(input_shape) / classes
    # With M the largest absolute value of a vector: a shifted value is off by 2 u M, a sum of k
    # of them by gamma_n 2 k M, so that the threshold, of at most 2 M + scale, is off by less than
    # 2 gamma_(n + 8) (2 M + scale); a value behind it by less than this.
    error = 4 * gamma(classes + 16) * math.sqrt(classes)
    evaluation = Evaluation(
        lipschitz=1.0,
        offset=layer.scale * math.sqrt(vectors),
        relative=error,
        absolute=(error * layer.scale + 2.0**-1000) * math.sqrt(vectors),
    )
    return LayerBound(
        1.0,
        BOUNDED,
        "projection on a convex set",
        evaluation=evaluation,
        interval=lambda low, high: (0.0, layer.scale),
    )
