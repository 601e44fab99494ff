import keras
import numpy as np

from lsrs_tf.layers import LipschitzConv2D


class Flow:
    """What runs through the layers of a model: a real image of zeros, where its size is known.

    Keras' symbolic shapes are not always those that run: a layer may repeat a small input and say
    otherwise, a model may take images of another number of channels than its own. Bounds depend on
    shapes, so that every shape here is that of a real output, compared with the symbolic one.

    Attributes:
        shape: tuple, the shape with the batch dimension, None for what is unknown.
    """

    def __init__(self, shape, value):
        self.shape = shape
        self._value = value

    @classmethod
    def of_shape(cls, shape):
        """Returns the flow into a model whose images have this shape, batch dimension included."""
        shape = (None, *shape[1:])
        known = None not in shape[1:]
        return cls(shape, np.zeros((1, *shape[1:]), np.float32) if known else None)

    @classmethod
    def merged(cls, layer, flows):
        """Returns the flow out of a layer with several inputs."""
        shapes = [flow.shape for flow in flows]
        values = [flow._value for flow in flows]
        if any(value is None for value in values):
            return cls(tuple(layer.compute_output_shape(shapes)), None)
        return cls._checked(layer, layer.compute_output_shape(shapes), layer(values))

    def through(self, layer):
        """Returns the flow out of a layer with one input."""
        symbolic = tuple(layer.compute_output_shape(self.shape))
        if self._value is None:
            return Flow(symbolic, None)
        if isinstance(layer, LipschitzConv2D):
            # These pin the shapes they take, and would cost much to run.
            self._check(layer, layer.input_spec.shape)
            return Flow.of_shape(symbolic)
        return self._checked(layer, symbolic, layer(self._value))

    def check_enters(self, model):
        """Raises if a model is built for other images than these."""
        self._check(model, model.inputs[0].shape)

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

    @classmethod
    def _checked(cls, layer, symbolic, value):
        if tuple(symbolic[1:]) != tuple(value.shape[1:]) or value.shape[0] != 1:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) repeats its input: an image gives "
                f"values of shape {tuple(value.shape)}, where Keras expects {tuple(symbolic)}. No "
                "bound holds for it at this size; build it for the size of its input."
            )
        return cls(tuple(symbolic), keras.ops.zeros_like(value))
