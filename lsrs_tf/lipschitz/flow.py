import math

import keras
import numpy as np

from lsrs_tf.layers import LipschitzConv2D, SDPLipschitzConv2D

# Relative rounding of one layer in float64, for inner products of up to 10,000 values: these are
# off by less than 8 (k + 8) u times the norms of their factors, with absolute values that have
# up to sqrt(k) times the norm, and 8 * 10,008 * 100 * 2^-53 < 1e-9.
_LAYER_ROUNDING = 1e-9


class Flow:
    """What runs through the layers of a model: a real image of zeros, and how large others get.

    Keras' symbolic shapes are not always those that run: a layer may repeat a small input and say
    otherwise, a model may take images of another number of channels than its own. Bounds depend on
    shapes, so that every shape here is that of a real output, compared with the symbolic one.

    Attributes:
        shape: tuple, the shape with the batch dimension, None for what is unknown.
        size: float, bound of the L2 norm of the values here for images with pixels in [0, 1].
        error: float, bound of the L2 norm of what rounding in float64 has made of them.
    """

    def __init__(self, shape, value, size, error):
        self.shape = shape
        self.size = size
        self.error = error
        self._value = value

    @classmethod
    def of_images(cls, shape):
        """Returns the flow into a model whose images have this shape, batch dimension included."""
        if None in shape[1:]:
            return cls((None, *shape[1:]), None, math.inf, math.inf)
        zeros = np.zeros((1, *shape[1:]), np.float32)
        return cls((None, *shape[1:]), zeros, math.sqrt(zeros.size), 0.0)

    @classmethod
    def merged(cls, layer, flows):
        """Returns the flow out of a layer with several inputs."""
        shapes = [flow.shape for flow in flows]
        symbolic = tuple(layer.compute_output_shape(shapes))
        size = sum(flow.size for flow in flows)
        error = sum(flow.error for flow in flows) + _LAYER_ROUNDING * size
        if any(flow._value is None for flow in flows):
            return cls(symbolic, None, size, error)
        _check_output(layer, symbolic, layer([flow._value for flow in flows]).shape)
        return cls(symbolic, np.zeros((1, *symbolic[1:]), np.float32), size, error)

    def through(self, layer, bound):
        """Returns the flow out of a layer with one input and this Lipschitz bound."""
        symbolic = tuple(layer.compute_output_shape(self.shape))
        if self._value is None:
            return Flow(symbolic, None, math.inf, math.inf)
        size = bound * self.size + self._size_at_zero(layer, symbolic)
        error = bound * self.error + _LAYER_ROUNDING * size
        return Flow(symbolic, np.zeros((1, *symbolic[1:]), np.float32), size, error)

    def combined(self, other):
        """Returns the flow out of a convex combination of this one and another of its shape."""
        size = self.size + other.size
        error = max(self.error, other.error) + _LAYER_ROUNDING * size
        return Flow(self.shape, self._value, max(self.size, other.size), error)

    def check_enters(self, model):
        """Raises if a model is built for other images than these."""
        self._check(model, model.inputs[0].shape)

    def _size_at_zero(self, layer, symbolic):
        """Bounds the terms of a layer's output that do not depend on its input."""
        if isinstance(layer, LipschitzConv2D) and type(layer) is not SDPLipschitzConv2D:
            # These pin the shapes they take, and would cost much to run.
            self._check(layer, layer.input_spec.shape)
            bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0
            return math.sqrt(math.prod(symbolic[1:-1])) * float(np.linalg.norm(bias))
        value = layer(self._value)
        _check_output(layer, symbolic, value.shape)
        if type(layer) is keras.layers.BatchNormalization:
            return _size_of_batch_normalization(layer, symbolic)
        return float(np.linalg.norm(keras.ops.convert_to_numpy(value).astype(np.float64)))

    def _check(self, layer, shape):
        sizes = tuple(shape[1:])
        fits = len(sizes) == len(self.shape) - 1 and all(
            size in (None, here) for size, here in zip(sizes, self.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"'{layer.name}' ({type(layer).__name__}) is built for inputs of shape "
                f"{tuple(shape)}, for which its bound would hold. Received: inputs of shape "
                f"{self.shape}. Build it for these."
            )


def _check_output(layer, symbolic, shape):
    if tuple(symbolic[1:]) != tuple(shape[1:]) or shape[0] != 1:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) repeats its input: an image gives "
            f"values of shape {tuple(shape)}, where Keras expects {tuple(symbolic)}. No bound "
            "holds for it at this size; build it for the size of its input."
        )


def _size_of_batch_normalization(layer, symbolic):
    # Its two constant terms may cancel each other, but not what rounding does to them.
    mean, variance = (
        keras.ops.convert_to_numpy(weight).astype(np.float64)
        for weight in (layer.moving_mean, layer.moving_variance)
    )
    factor = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        factor = factor * np.abs(keras.ops.convert_to_numpy(layer.gamma))
    constant = np.abs(mean) * factor
    if layer.center:
        constant = constant + np.abs(keras.ops.convert_to_numpy(layer.beta))
    repeated = math.prod(symbolic[1:]) / constant.size
    return math.sqrt(repeated) * float(np.linalg.norm(constant))
