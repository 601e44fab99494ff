"""Lipschitz constants of the activation functions of Keras."""

import math

import keras

from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound, isometry
from lsrs_tf.lipschitz.rounding import either_precision

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
        f"Known: {', '.join(sorted(CONSTANTS))} of keras.activations."
    )


def of_activation(layer, _):
    """Bounds a `keras.layers.Activation`."""
    constant = of_function(layer.activation, layer)
    if layer.activation is keras.activations.linear:
        return isometry("identity")
    return LayerBound(constant, BOUNDED, "largest slope")


def _slope(layer, name):
    """Returns the size of a number of the layer's configuration, or raises if it is none."""
    slope = either_precision(getattr(layer, name))
    if not math.isfinite(slope):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) needs a finite {name}. "
            f"Received: {name}={getattr(layer, name)!r}"
        )
    return slope


def of_relu(layer, _):
    """Bounds a `keras.layers.ReLU`, which jumps if it has a threshold."""
    if layer.max_value is not None:
        _slope(layer, "max_value")
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' (ReLU) jumps at its threshold, so that it has no Lipschitz "
            f"constant. Received: threshold={layer.threshold}. Use a threshold of 0."
        )
    return LayerBound(max(1.0, _slope(layer, "negative_slope")), BOUNDED, "largest slope")


def of_leaky_relu(layer, _):
    """Bounds a `keras.layers.LeakyReLU`."""
    return LayerBound(max(1.0, _slope(layer, "negative_slope")), BOUNDED, "largest slope")


def of_prelu(layer, input_shape):
    """Bounds a `keras.layers.PReLU`, which must not repeat its input to the size of its slopes."""
    sizes = zip(layer.alpha.shape, input_shape[1:], strict=True)
    if any(slopes not in (1, size) for slopes, size in sizes):
        raise ValueError(
            f"Layer '{layer.name}' (PReLU) has slopes of shape {tuple(layer.alpha.shape)} for "
            f"inputs of another shape. Received: {tuple(input_shape)}. Use one layer for each."
        )
    slope = float(abs(keras.ops.convert_to_numpy(layer.alpha)).max())
    return LayerBound(max(1.0, slope), BOUNDED, "largest slope")


def of_elu(layer, _):
    """Bounds a `keras.layers.ELU`."""
    return LayerBound(max(1.0, _slope(layer, "alpha")), BOUNDED, "largest slope")


def of_softmax(layer, input_shape):
    """Bounds a `keras.layers.Softmax`, which must not run over the images of a batch."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else (layer.axis,)
    if any(axis is None or axis % len(input_shape) == 0 for axis in axes):
        raise ValueError(
            f"Layer '{layer.name}' (Softmax) runs along the batch, so that its outputs belong to "
            f"no single image. Received: axis={layer.axis}. Use another axis."
        )
    return LayerBound(CONSTANTS["softmax"], BOUNDED, "largest slope")
